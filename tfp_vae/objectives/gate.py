"""The gradient that flows back through draws of z, weighed draw by draw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


class Gate:
    """The identity, whose gradient an objective may weigh when it knows all that came of z.

    An objective that wants other gradients for the encoder than for the decoder sets `weights`
    after the decoder ran; they multiply what flows back through z, once, draw by draw. That is all
    that came of z: where layers behind z have added to the losses, `weighed_apart` weighs the
    gradient of the objective's loss alone.
    """

    def __init__(self) -> None:
        self.weights: tf.Tensor | None = None  # [num_samples, batch]
        self._tape = tf.GradientTape(watch_accessed_variables=False)
        self._passed: list[tuple[tf.Tensor, tf.Tensor]] = []  # z, its logarithm or its blocks

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """z, `[num_samples, batch, ...]`, itself."""

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            if self.weights is None:
                return upstream
            return upstream * self._beside(upstream)

        passed = tf.custom_gradient(lambda value: (tf.identity(value), gradient))(z)
        self._passed.append((z, passed))
        return passed

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Within it all is noted that `weighed_apart` needs of what is done with z."""
        with self._tape:
            self._tape.watch([passed for _, passed in self._passed])
            yield

    def weighed_apart(self, loss: tf.Tensor) -> tf.Tensor:
        """0, with what the gradient of the loss through z lacks to be weighed.

        From then on the gate is the identity, for what layers behind z have added to the losses.

        Args:
          loss: the objective's, a scalar, made within `recording`.
        """
        slopes = self._tape.gradient(loss, [passed for _, passed in self._passed])
        total = tf.zeros_like(loss)
        for (given, _), slope in zip(self._passed, slopes, strict=True):
            if slope is not None:
                lacking = tf.stop_gradient((self._beside(slope) - 1) * slope)
                total += tf.reduce_sum(lacking * (given - tf.stop_gradient(given)))
        self.weights = None
        return total

    def _beside(self, z: tf.Tensor) -> tf.Tensor:
        """The weights, with axes of 1 for those of z."""
        ones = [1] * (z.shape.rank - 2)
        shape = tf.concat([tf.shape(z)[:2], tf.constant(ones, tf.int32)], axis=0)
        return tf.cast(tf.reshape(self.weights, shape), z.dtype)


def recorded(gate: Gate | None) -> contextlib.AbstractContextManager:
    """Within it all is noted that is done with values that went through a gate."""
    return contextlib.nullcontext() if gate is None else gate.recording()
