"""Implicit gradients of draws in one dimension, by quadrature of what lies behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def nodes_between(start: tf.Tensor, end: tf.Tensor, count: int = 32) -> tuple[Any, Any]:
    """Returns `count` points from start to end on a new last axis, and their weights: Gauss's.

    Example:
      >>> s, weights = nodes_between(tf.constant(0.0), tf.constant(2.0))
      >>> round(float(tf.reduce_sum(weights * s**2)), 4)  # 8 / 3
      2.6667
    """
    x, w = np.polynomial.legendre.leggauss(count)
    half = (end - start)[..., tf.newaxis] / 2
    s = start[..., tf.newaxis] + half * tf.constant(1 + x, start.dtype)
    return s, half * tf.constant(w, start.dtype)


def with_slope(
    draws: tf.Tensor, parameter: tf.Tensor, slope: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Returns draws, with `slope(parameter)` for their derivative with respect to the parameter.

    By the implicit derivative `-(dF/d parameter) / f` of the distribution function F and its
    density f, draws by any method have the gradient of those by the inverse of F. Figurnov et al.,
    arXiv:1805.08498.

    Example:
      >>> scale = tf.Variable([2.0])
      >>> with tf.GradientTape() as tape:
      ...     x = with_slope(tf.constant([[3.0]]), scale, lambda scale: 3.0 / scale)
      >>> tape.gradient(x, scale).numpy().tolist()
      [1.5]
    """

    @tf.custom_gradient
    def moved(parameter: tf.Tensor) -> tuple[tf.Tensor, object]:
        return tf.identity(draws), lambda upstream: upstream * slope(parameter)

    return moved(tf.broadcast_to(parameter, tf.shape(draws)))
