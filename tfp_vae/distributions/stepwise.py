"""Sequences of Normals, each of which depends on the values of the steps before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

# From values `[batch, steps, n]` to the Normals of all steps given the values before each.
OfValues: TypeAlias = Callable[[tf.Tensor], tfd.Distribution]
# From noise `[batch, steps, n]` to the values that it makes, step by step.
OfNoise: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


class StepwiseNormal(tfd.Distribution):
    """`prod_t N(z_t; mu_t(z_<t), s_t(z_<t)^2)`: batch `[batch, steps]`, event `[n]`.

    `log_prob(z)` is `[..., batch, steps]`, that of each step given those before: its sum over the
    steps is that of z. `mean` is the path on which each z_t is its own mean.

    Args:
      given: the Normals of all steps, of values.
      drawn: the values that noise makes.
      batch: `[batch, steps]`, a tensor.
      static_batch: likewise, as far as it is known.
      event_size: n.
      dtype: of the values.
    """

    def __init__(
        self,
        given: OfValues,
        drawn: OfNoise,
        batch: tf.Tensor,
        static_batch: tf.TensorShape,
        event_size: int,
        dtype: Any,
    ) -> None:
        self._given, self._drawn = given, drawn
        self._batch, self._static_batch, self._size = batch, static_batch, event_size
        super().__init__(
            dtype=dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            name="StepwiseNormal",
        )

    def of_steps_before(self, z: tf.Tensor) -> tfd.Distribution:
        """Returns the Normals of all steps given the steps before in z, batch `[batch, steps]`."""
        return self._given(z)

    def _batch_shape(self) -> tf.TensorShape:
        return self._static_batch

    def _batch_shape_tensor(self) -> tf.Tensor:
        return self._batch

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self._size])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self._size])

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        shape = tf.concat([[n * self._batch[0], self._batch[1], self._size]], 0)
        pair = tfp_random.sanitize_seed(seed, salt="StepwiseNormal")
        z = self._drawn(tf.random.stateless_normal(shape, pair, dtype=self.dtype))
        return tf.reshape(z, tf.concat([[n], self._batch, [self._size]], 0))

    def _mean(self) -> tf.Tensor:
        return self._drawn(tf.zeros(tf.concat([self._batch, [self._size]], 0), self.dtype))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(z, tf.concat([[-1], tf.shape(z)[-2:]], 0))
        return tf.reshape(self.of_steps_before(flat).log_prob(flat), tf.shape(z)[:-1])
