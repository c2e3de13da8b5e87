"""A metric over z that is learned: what is short lies near to the posteriors of the data."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import math as tfm

from tfp_vae.bridge.replicas import after_pass, global_batch
from tfp_vae.errors import InputError


class Metric(NamedTuple):
    """`G(z)^-1 = sum_i L_i L_i' exp(-|z - c_i|^2 / T^2) + lambda I`, of z `[..., d]`.

    Attributes:
      centroids: c, `[n, d]`.
      squares: `L_i L_i'`, `[n, d, d]`.
      width: T.
      least: lambda.

    Example:
      >>> metric = Metric(tf.zeros([1, 2]), tf.eye(2)[tf.newaxis], 1.0, 0.5)
      >>> metric.inverse(tf.zeros([2])).numpy().tolist()
      [[1.5, 0.0], [0.0, 1.5]]
    """

    centroids: tf.Tensor
    squares: tf.Tensor
    width: float
    least: float

    def shares(self, z: tf.Tensor) -> tf.Tensor:
        """Returns `exp(-|z - c_i|^2 / T^2)`, `[..., n]`, without a tensor `[..., n, d]`."""
        squares = [tf.reduce_sum(tf.square(each), axis=-1) for each in (z, self.centroids)]
        product = tf.tensordot(z, self.centroids, [[-1], [1]])
        square = squares[0][..., tf.newaxis] + squares[1] - 2 * product
        return tf.exp(-tf.maximum(square, 0) / self.width**2)

    def inverse(self, z: tf.Tensor) -> tf.Tensor:
        """Returns `G(z)^-1`, `[..., d, d]`."""
        least = self.least * tf.eye(z.shape[-1], dtype=z.dtype)
        return tf.tensordot(self.shares(z), self.squares, 1) + least

    def velocity(self, z: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        """Returns `G(z)^-1 m`, `[..., d]`."""
        return tf.linalg.matvec(self.inverse(z), momentum)

    def momentum(self, z: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Returns a draw from N(0, G(z)), made of unit normals."""
        root = tf.linalg.cholesky(self.inverse(z))
        return tf.linalg.triangular_solve(root, noise[..., tf.newaxis], adjoint=True)[..., 0]

    def energy(self, z: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        """Returns `m' G(z)^-1 m / 2 + log det G(z) / 2`, `[...]`."""
        root = tf.linalg.cholesky(self.inverse(z))
        white = tf.linalg.matvec(root, momentum, transpose_a=True)
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root)), axis=-1)
        return tf.reduce_sum(tf.square(white), axis=-1) / 2 - log_det

    def slope(self, z: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of the energy with respect to z, `[..., d]`.

        It is `sum_i s_i tr((G - m m') L_i L_i') (z - c_i) / T^2`, `s_i = exp(-|z - c_i|^2 / T^2)`.
        """
        root = tf.linalg.cholesky(self.inverse(z))
        own = tf.linalg.cholesky_solve(root, tf.eye(z.shape[-1], dtype=z.dtype) + 0 * root)
        own -= momentum[..., tf.newaxis] * momentum[..., tf.newaxis, :]
        pulls = self.shares(z) * tf.tensordot(own, self.squares, [[-2, -1], [1, 2]])
        total = tf.reduce_sum(pulls, axis=-1, keepdims=True)
        return (total * z - tf.tensordot(pulls, self.centroids, 1)) / self.width**2


class LearnedMetric(keras.layers.Layer):
    """L of each example by a network, and the centroids and L L' of examples seen last.

    Args:
      shapes: of the observed variables by name.
      size: of z.
      network: from all values of x, as one vector, to the `d (d + 1) / 2` entries of L, before the
        exponential of its diagonal; None: one hidden layer of 64.
      count: how many examples are kept.

    Raises:
      InputError: the network does not take x or does not give L, or x has no one size.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int | None]],
        size: int,
        network: keras.Model | None,
        count: int,
    ) -> None:
        super().__init__(name="learned_metric")
        if any(None in shape for shape in shapes.values()):
            raise InputError("Expected x of one size, not sequences.", dict(shapes))
        total = sum(int(tf.TensorShape(shape).num_elements()) for shape in shapes.values())
        entries = size * (size + 1) // 2
        if network is None:
            hidden = keras.layers.Dense(64, activation="silu")
            start = keras.initializers.RandomNormal(stddev=0.01)  # L begins near I
            last = keras.layers.Dense(entries, kernel_initializer=start)
            network = keras.Sequential([keras.Input((total,)), hidden, last], name="metric")
        if network.input_shape != (None, total) or network.output_shape != (None, entries):
            raise InputError(
                f"Expected a metric from {total} values of x to {entries} of L.",
                f"from {network.input_shape} to {network.output_shape}",
            )
        self.network, self.size = network, size
        make = functools.partial(self.add_weight, initializer="zeros", trainable=False)
        self.centroids = make(shape=(count, size), name="centroids")
        self.squares = make(shape=(count, size, size), name="squares")
        self.built = True

    def of_batch(
        self, x: Sequence[tf.Tensor], means: tf.Tensor, training: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns centroids and L L' of a batch, of all replicas; in training they are kept."""
        flat = [keras.layers.Flatten()(tf.cast(each, means.dtype)) for each in x]
        entries = self.network(tf.concat(flat, axis=-1), training=training)
        lower = tfm.fill_triangular(tf.cast(entries, means.dtype))
        eye = tf.eye(self.size, dtype=lower.dtype)
        lower = lower * (1 - eye) + eye * tf.exp(lower)
        c, squares = global_batch(means), global_batch(tf.matmul(lower, lower, transpose_b=True))
        kept = (tf.stop_gradient(c), tf.stop_gradient(squares))
        after_pass(functools.partial(self._keep, *kept))
        return c, squares

    def _keep(self, centroids: tf.Tensor, squares: tf.Tensor) -> None:
        """Puts a batch before the examples that are kept, of which the oldest go."""
        for kept, new in ((self.centroids, centroids), (self.squares, squares)):
            rows = tf.concat([tf.cast(new, kept.dtype), kept], axis=0)
            kept.assign(tf.ensure_shape(rows[: kept.shape[0]], kept.shape))
