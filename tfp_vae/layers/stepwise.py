"""A posterior of sequences whose steps depend on the values drawn before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.masks import mask_of
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.distributions.stepwise import StepwiseNormal
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.steps import PreviousStep


@keras.saving.register_keras_serializable(package="tfp_vae")
class RecurrentNormal(DistributionLayer):
    """`q(z_t | x, z_<t) = N(z_t; mu_t, s_t^2)`, whose recurrent state has seen the z before.

    With a recurrent layer f, `h_t = f(x_{t-1}, z_{t-1}, h_{t-1})` and `mu_t, s_t` of a dense layer
    of x_t and h_t. Draws go step by step, and are reparameterized; the density of a sequence is a
    sum over its steps. A prior that has the same h_t, `f(PreviousStep()([x, z]))`, shares the
    layer f: so a VRNN's. Chung et al., arXiv:1506.02216.

    Input `[batch, steps, size]`; batch `[batch, steps]`, event `[event_size]`; as a tensor a draw.
    Steps that a mask hides leave h as it is.

    Args:
      event_size: of one z_t.
      recurrent: a `keras.layers.GRU`, `LSTM` or `SimpleRNN` with `return_sequences=True`.
      hidden_units: of the dense layers between x_t, h_t and the parameters.
      convert_to_tensor_fn: see `DistributionLambda`.
      seed: see `DistributionLambda`.
      min_scale: s_t is at least this.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: `recurrent` is no recurrent layer, or does not give a state for each step.

    Example:
      >>> f = keras.layers.GRU(4, return_sequences=True)
      >>> q = RecurrentNormal(2, f)(tf.ones([3, 5, 1]))
      >>> q.batch_shape.as_list(), q.log_prob(q.sample()).shape.as_list()
      ([3, 5], [3, 5])
    """

    @checked
    def __init__(
        self,
        event_size: int,
        recurrent: Any,
        hidden_units: Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        min_scale: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        if not (isinstance(recurrent, keras.layers.RNN) and recurrent.return_sequences):
            raise InputError(
                "Expected a recurrent layer with return_sequences=True, such as GRU.", recurrent
            )
        self.event_size, self.min_scale = int(event_size), min_scale
        self.recurrent, self.hidden_units = recurrent, [int(n) for n in hidden_units]
        dense = keras.layers.Dense
        self.head = [
            *(dense(n, activation="silu", dtype=self.dtype_policy) for n in self.hidden_units),
            dense(2 * self.event_size, dtype=self.dtype_policy),
        ]

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        steps, size = input_shape[1], input_shape[2]
        if not self.recurrent.built:
            self.recurrent.build((None, steps, size + self.event_size))
        size += self.recurrent.units
        for layer in self.head:
            layer.build((None, size))
            size = layer.units

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        x, mask = tf.convert_to_tensor(inputs), mask_of(inputs)
        shape = tf.shape(x)

        def tiled(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
            ones = tf.ones([values.shape.rank - 1], tf.int32)
            return tf.tile(values, tf.concat([[rows // tf.maximum(shape[0], 1)], ones], 0))

        def given(z: tf.Tensor) -> tfd.Distribution:
            own = tiled(x, tf.shape(z)[0])
            hidden = None if mask is None else tiled(tf.convert_to_tensor(mask), tf.shape(z)[0])
            both = PreviousStep()(tf.concat([own, tf.cast(z, own.dtype)], -1))
            h = self.recurrent(both, mask=hidden)
            return self._normal(tf.concat([own, tf.cast(h, own.dtype)], -1))

        def drawn(noise: tf.Tensor) -> tf.Tensor:
            own = tiled(x, tf.shape(noise)[0])
            hidden = tf.ones(tf.shape(noise)[:2], tf.bool)
            if mask is not None:
                hidden = tiled(tf.cast(tf.convert_to_tensor(mask), tf.bool), tf.shape(noise)[0])
            return self._in_turn(own, hidden, noise)

        return StepwiseNormal(given, drawn, shape[:2], x.shape[:2], self.event_size, x.dtype)

    def _in_turn(self, x: tf.Tensor, counts: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Returns the z that noise makes, one step after the other."""
        first = self.recurrent.get_initial_state(tf.shape(x)[0])
        states = [tf.cast(state, x.dtype) for state in first]
        late = PreviousStep()

        def step(before: Any, now: Any) -> Any:
            z, states = before
            x_t, x_before, counts_t, noise_t = now
            h, new = self.recurrent.cell(tf.concat([x_before, z], -1), states)
            keep = counts_t[:, tf.newaxis]
            states = [tf.where(keep, a, b) for a, b in zip(new, states, strict=True)]
            h = states[0]
            normal = self._normal(tf.concat([x_t, h], -1))
            return normal.mean() + normal.stddev() * noise_t, states

        by_step = [_steps_first(t) for t in (x, late(x), counts, noise)]
        found, _ = tf.scan(step, by_step, (tf.zeros_like(by_step[3][0]), states))
        return _steps_first(found)

    def _normal(self, t: tf.Tensor) -> tfd.Distribution:
        for layer in self.head:
            t = layer(t)
        loc, scale = tf.split(tf.cast(t, self.compute_dtype), 2, axis=-1)
        normal = tfd.Normal(loc, softplus_at_least(scale, self.min_scale))
        return tfd.Independent(normal, reinterpreted_batch_ndims=1)


def _steps_first(t: tf.Tensor) -> tf.Tensor:
    """Returns `[steps, batch, ...]` of `[batch, steps, ...]`, and the reverse."""
    return tf.transpose(t, [1, 0, *range(2, t.shape.rank)])
