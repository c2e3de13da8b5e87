"""Bernoulli, Poisson, and the continuous Bernoulli: one parameter for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.fast import Bernoulli
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer
from tfp_vae.layers.categorical import dtype_name


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentBernoulli(IndependentLayer):
    """`prod_i p_i^x_i (1 - p_i)^(1 - x_i)` with `p = sigmoid(t)`; x in {0, 1}.

    Shapes: input `[..., n]`, n = prod(event_shape), the logits; batch `[...]`, event `event_shape`;
    as a tensor a draw of zeros and ones (without a gradient), unless `convert_to_tensor_fn` says
    "mean", "logits" or otherwise.

    Source: Kingma and Welling, arXiv:1312.6114, appendix C.1.

    Example:
      >>> p = IndependentBernoulli((2, 2), "mean")(tf.zeros([1, 4]))
      >>> p.event_shape.as_list(), round(float(p.log_prob(tf.ones([1, 2, 2]))[0]), 4)
      ([2, 2], -2.7726)
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        sample_dtype: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.sample_dtype = dtype_name(sample_dtype)

    @classmethod
    def new(  # type: ignore[override]  # tfp.layers has dtype before validate_args
        cls,
        params: Any,
        event_shape: Any = (),
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Returns the distribution of a tensor of logits `[..., params_size(event_shape)]`."""
        return cls._new(params, event_shape, validate_args, name, dtype=dtype)

    @classmethod
    def each(cls, logits: tf.Tensor, validate_args: bool, dtype: Any) -> tfd.Distribution:
        dtype = tf.as_dtype(dtype or logits.dtype)
        return Bernoulli(logits=logits, dtype=dtype, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentPoisson(IndependentLayer):
    """`prod_i rate_i^x_i exp(-rate_i) / x_i!` with `rate = exp(t)`; x in 0, 1, 2, ...: counts.

    Shapes: input `[..., n]`, n = prod(event_shape), the logarithms of the rates; batch `[...]`,
    event `event_shape`; as a tensor a draw (without a gradient).

    Source: `tfp.layers.IndependentPoisson`.

    Example:
      >>> p = IndependentPoisson(2, "mean")(tf.constant([[0., 1.0986]]))
      >>> p.numpy().round(3).tolist()
      [[1.0, 3.0]]
    """

    support = (0.0, float("inf"))
    is_of_integers = True

    @classmethod
    def each(cls, log_rate: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        return tfd.Poisson(log_rate=log_rate, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class ContinuousBernoulli(IndependentLayer):
    """`prod_i C(p_i) p_i^x_i (1 - p_i)^(1 - x_i)`, p = sigmoid(t); x in [0, 1]: grey pixels.

    A density over the interval, with its normalizing constant C. Shapes: input `[..., n]`, n =
    prod(event_shape), the logits; batch `[...]`, event `event_shape`; as a tensor a draw.

    Source: Loaiza-Ganem and Cunningham, arXiv:1907.06845.

    Example:
      >>> p = ContinuousBernoulli(1)(tf.constant([[0.]]))  # uniform
      >>> round(abs(float(p.log_prob([[0.3]])[0])), 4)
      0.0
    """

    support = (0.0, 1.0)

    @classmethod
    def each(cls, logits: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        return tfd.ContinuousBernoulli(
            logits=logits, dtype=logits.dtype, validate_args=validate_args
        )
