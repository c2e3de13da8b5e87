"""A Gamma for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.origins import positive
from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.density import with_power
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.distribution_lambda import ConvertToTensor
from tfp_vae.layers.base.parametric import (
    IndependentLayer,
    WholeDraws,
    as_shape,
    independent,
    to_event_shape,
)


class _PositiveGamma(tfd.Gamma):
    """Draws that carry their logarithm, do not underflow to 0, and have a finite gradient.

    `Gamma(a) = Gamma(a + 1) U^(1/a)` with U uniform, shape augmentation (Naesseth et al.,
    arXiv:1610.05683).
    TFP's own draws at a small concentration have a gradient of 0 / 0 under XLA.
    """

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        return positive(super()._call_sample_n(sample_shape, seed, **kwargs))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return with_power(super()._log_prob, self.concentration - 1, z)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        """The logarithms of n draws."""
        larger_seed, uniform_seed = tfp_random.split_seed(seed, salt="PositiveGamma")
        a, one = self.concentration, tf.ones_like(self.concentration)
        larger = tfd.Gamma(a + 1, one).sample(n, seed=larger_seed)
        minus_log_u = tfd.Exponential(one).sample(n, seed=uniform_seed)
        return tf.math.log(larger) - minus_log_u / a - tf.math.log(self.rate)


@keras.saving.register_keras_serializable(package="tfp_vae")
class Gamma(IndependentLayer):
    """`prod_i rate_i^a_i x_i^(a_i - 1) exp(-rate_i x_i) / Gamma(a_i)`: positive numbers.

    With n = prod(event_shape): concentrations `a = softplus(t[..., :n])`, then
    `rate = softplus(t[..., n:])`. Shapes: input `[..., 2 n]`, batch `[...]`, event `event_shape`;
    as a tensor a draw, which is reparameterized (implicitly: Figurnov et al., arXiv:1805.08498) and
    at least 2.4e-38 (in float32), unless `convert_to_tensor_fn` says otherwise. A draw carries its
    logarithm as it was before it was raised: `log_prob` is the density there. As a posterior, its
    prior where none is given is Gamma(1, 1), with the KL in closed form.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_concentration: concentrations below it are raised to it; a loss that wants them larger
        trains them all the same.
      min_rate: rates likewise.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.

    Example:
      >>> q = Gamma(1)(tf.constant([[2.9490, .5413]]))  # concentration 3, rate 1
      >>> q.mean().numpy().round(3).tolist(), q.variance().numpy().round(3).tolist()
      ([[3.0]], [[3.0]])
    """

    support = (0.0, float("inf"))
    parameters_per_value = 2

    @checked
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

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(
            inputs,
            self.event_shape,
            self.validate_args,
            min_concentration=self.min_concentration,
            min_rate=self.min_rate,
        )

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        min_concentration: float = 0.05,
        min_rate: float = 1e-4,
    ) -> tfd.Independent:
        """The distribution of a parameter tensor `[..., params_size(event_shape)]`."""
        with tf.name_scope(name or cls.__name__):
            parts = tf.split(tf.convert_to_tensor(params), 2, axis=-1)
            concentration, rate = (to_event_shape(part, event_shape) for part in parts)
            each = _PositiveGamma(
                softplus_at_least(concentration, min_concentration),
                softplus_at_least(rate, min_rate),
                validate_args=validate_args,
            )
            return independent(each, event_shape, WholeDraws, validate_args=validate_args)

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        ones = np.ones(as_shape(event_shape), full_precision())
        return tfd.Independent(tfd.Gamma(ones, ones), reinterpreted_batch_ndims=ones.ndim)

    def get_config(self) -> dict[str, Any]:
        own = {"min_concentration": self.min_concentration, "min_rate": self.min_rate}
        return {**super().get_config(), **own}
