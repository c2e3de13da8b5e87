"""A Gamma for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfp_vae.bridge.origins import positive
from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.density import with_power
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, WholeDraws, as_shape


class _PositiveGamma(tfd.Gamma):
    """A Gamma whose draws carry their logarithm, do not underflow, and have a finite gradient.

    `Gamma(a) = Gamma(a + 1) U^(1/a)` with U uniform (Naesseth et al., arXiv:1610.05683). TFP's
    draws at a small concentration have a gradient of 0 / 0 under XLA.
    """

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        return positive(super()._call_sample_n(sample_shape, seed, **kwargs))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return with_power(super()._log_prob, self.concentration - 1, z)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        """Returns the logarithms of n draws."""
        larger_seed, uniform_seed = tfp_random.split_seed(seed, salt="PositiveGamma")
        a, one = self.concentration, tf.ones_like(self.concentration)
        larger = tfd.Gamma(a + 1, one).sample(n, seed=larger_seed)
        minus_log_u = tfd.Exponential(one).sample(n, seed=uniform_seed)
        return tf.math.log(larger) - minus_log_u / a - tf.math.log(self.rate)


@keras.saving.register_keras_serializable(package="tfp_vae")
class Gamma(IndependentLayer):
    """`prod_i rate_i^a_i x_i^(a_i - 1) exp(-rate_i x_i) / Gamma(a_i)`: positive numbers.

    With n = prod(event_shape): concentrations `a = softplus(t[..., :n])`, then `rate =
    softplus(t[..., n:])`. Shapes: input `[..., 2 n]`, batch `[...]`, event `event_shape`; as a
    tensor a draw, which is reparameterized (implicitly: Figurnov et al., arXiv:1805.08498) and at
    least 2.4e-38 (in float32). A draw carries its logarithm from before it was raised: `log_prob`
    is the density there. A posterior's default prior is Gamma(1, 1), with the KL in closed form.

    Args:
      min_concentration: concentrations below it are raised to it; a loss that wants larger ones
        trains them all the same.
      min_rate: rates likewise.

    Example:
      >>> q = Gamma(1)(tf.constant([[2.9490, .5413]]))  # concentration 3, rate 1
      >>> q.mean().numpy().round(3).tolist(), q.variance().numpy().round(3).tolist()
      ([[3.0]], [[3.0]])
    """

    support = (0.0, float("inf"))
    parameters_per_value = 2
    outer = WholeDraws

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_concentration: float = 0.05,
        min_rate: float = 1e-4,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.min_concentration = min_concentration
        self.min_rate = min_rate

    @classmethod
    def new(  # type: ignore[override]  # an option more
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        min_concentration: float = 0.05,
        min_rate: float = 1e-4,
    ) -> tfd.Independent:
        """Returns the distribution of a tensor `[..., params_size(event_shape)]`."""
        return cls._new(
            params,
            event_shape,
            validate_args,
            name,
            min_concentration=min_concentration,
            min_rate=min_rate,
        )

    @classmethod
    def each(
        cls,
        concentration: tf.Tensor,
        rate: tf.Tensor,
        validate_args: bool,
        min_concentration: float = 0.05,
        min_rate: float = 1e-4,
    ) -> tfd.Distribution:
        return _PositiveGamma(
            softplus_at_least(concentration, min_concentration),
            softplus_at_least(rate, min_rate),
            validate_args=validate_args,
        )

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        ones = np.ones(as_shape(event_shape), full_precision())
        return tfd.Independent(tfd.Gamma(ones, ones), reinterpreted_batch_ndims=ones.ndim)
