"""Weights of the gradient that flows back through draws of z, draw by draw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


class Gate:
    """The identity of z, whose gradient an objective may weigh after the decoder ran.

    `weights` multiply all that flows back through z, once, draw by draw: so the gradient of the
    encoder differs from that of the decoder. Where layers behind z have added to the losses,
    `weighed_apart` weighs the gradient of the objective's loss alone.
    """

    def __init__(self) -> None:
        self.weights: tf.Tensor | None = None  # [num_samples, batch]
        self._tape = tf.GradientTape(watch_accessed_variables=False)
        self._passed: list[tuple[tf.Tensor, tf.Tensor]] = []  # z, its logarithm or its blocks

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Returns z, `[num_samples, batch, ...]`, itself."""

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            if self.weights is None:
                return upstream
            return upstream * self._beside(upstream)

        passed = tf.custom_gradient(lambda value: (tf.identity(value), gradient))(z)
        self._passed.append((z, passed))
        return passed

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Records what `weighed_apart` needs of all that is done with z."""
        with self._tape:
            self._tape.watch([passed for _, passed in self._passed])
            yield

    def weighed_apart(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns 0, with the gradient that the loss through z lacks to be weighed.

        Afterwards the gate passes the gradient of other losses on as it is.

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
        """Returns the weights, with an axis of 1 for each further axis of z."""
        ones = [1] * (z.shape.rank - 2)
        shape = tf.concat([tf.shape(z)[:2], tf.constant(ones, tf.int32)], axis=0)
        return tf.cast(tf.reshape(self.weights, shape), z.dtype)


def recorded(gate: Gate | None) -> contextlib.AbstractContextManager:
    """Records all that is done with values that went through a gate, where there is a gate."""
    return contextlib.nullcontext() if gate is None else gate.recording()
