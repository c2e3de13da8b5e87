"""Counts with more variance than a Poisson's: negative binomial, also with extra zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.counts import GammaPoisson, ZeroInflated
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class NegativeBinomial(IndependentLayer):
    """`prod_i NB(x_i; mean_i, r_i)`: counts whose variance is `mean + mean^2 / r`.

    `NB(x) = Gamma(x + r) / (x! Gamma(r)) (r / (r + mean))^r (mean / (r + mean))^x`, x in 0, 1, ...:
    a Poisson with a Gamma distributed rate, and a Poisson itself as r grows. With
    n = prod(event_shape): `mean = exp(t[..., :n])`, as the rate of `IndependentPoisson`, and the
    total count `r = softplus(t[..., n:])`.

    Shapes: input `[..., 2 n]`, batch `[...]`, event `event_shape`; as a tensor a draw (without a
    gradient). Draws work under XLA; those of `tfd.NegativeBinomial` do not.

    Args:
      min_total_count: total counts below it are raised to it.

    Source: Lopez et al. (scVI), doi:10.1038/s41592-018-0229-2.

    Example:
      >>> p = NegativeBinomial(1)(tf.constant([[np.log(3.), .5413]]))  # mean 3, total count 1
      >>> p.mean().numpy().round(3).tolist(), p.variance().numpy().round(2).tolist()
      ([[3.0]], [[12.0]])
    """

    support = (0.0, float("inf"))
    is_of_integers = True
    parameters_per_value = 2

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_total_count: float = 1e-4,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.min_total_count = min_total_count

    @classmethod
    def new(  # type: ignore[override]  # an option more
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        min_total_count: float = 1e-4,
    ) -> tfd.Independent:
        """Returns the distribution of a tensor `[..., params_size(event_shape)]`."""
        return cls._new(params, event_shape, validate_args, name, min_total_count=min_total_count)

    @classmethod
    def each(
        cls, *parameters: tf.Tensor, validate_args: bool, min_total_count: float = 1e-4
    ) -> tfd.Distribution:
        log_mean, total_count = parameters
        total_count = softplus_at_least(total_count, min_total_count)
        return GammaPoisson(
            total_count,
            logits=log_mean - tf.math.log(total_count),
            require_integer_total_count=False,
            validate_args=validate_args,
        )


@keras.saving.register_keras_serializable(package="tfp_vae")
class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """`prod_i pi_i [x_i = 0] + (1 - pi_i) NB(x_i; mean_i, r_i)`: counts with zeros on top.

    With n = prod(event_shape): `pi = sigmoid(t[..., :n])`, the probability of an extra zero, then
    `mean = exp(t[..., n:2n])` and the total count `r = softplus(t[..., 2n:])` of a
    `NegativeBinomial`. Shapes: input `[..., 3 n]`, batch `[...]`, event `event_shape`; as a tensor
    a draw. Lopez et al. (scVI), doi:10.1038/s41592-018-0229-2.

    Example:
      >>> p = ZeroInflatedNegativeBinomial(1)(tf.constant([[0., np.log(3.), .5413]]))
      >>> p.mean().numpy().round(3).tolist()  # half of NegativeBinomial's
      [[1.5]]
    """

    parameters_per_value = 3

    @classmethod
    def each(
        cls, *parameters: tf.Tensor, validate_args: bool, min_total_count: float = 1e-4
    ) -> tfd.Distribution:
        logit, *others = parameters
        counts = super().each(*others, validate_args=validate_args, min_total_count=min_total_count)
        return ZeroInflated(logit, counts, validate_args=validate_args)
