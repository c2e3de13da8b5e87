"""Floors under trained parameters from which a parameter comes back.

`tf.maximum(t, low)` has gradient 0 below `low`: a parameter below stays there. The values here are
those of `tf.maximum`. Below the floor the gradient is 0 for a loss that wants less, and that of the
floor for a loss that wants more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The least slope of `softplus_above` upward, that of a softplus of 1e-6.
_LEAST_SLOPE_AT = math.log(math.expm1(1e-6))


def at_least(t: Any, low: float) -> tf.Tensor:
    """Returns `max(t, low)`, with a gradient that brings t back from below.

    Example:
      >>> t = tf.Variable([-5., 2.])
      >>> with tf.GradientTape() as tape:
      ...     value = at_least(t, 0.)
      ...     loss = -tf.reduce_sum(value)
      >>> value.numpy().tolist(), tape.gradient(loss, t).numpy().tolist()
      ([0.0, 2.0], [-1.0, -1.0])
    """
    return _raised(lambda t: t, tf.ones_like, low, low)(t)


def within(t: Any, low: float, high: float) -> tf.Tensor:
    """Returns `min(max(t, low), high)`, with a gradient that brings t back from beyond.

    Example:
      >>> within(tf.constant([-1., .25, 7.]), 0., 1.).numpy().tolist()
      [0.0, 0.25, 1.0]
    """
    return -at_least(-at_least(t, low), -high)


def softplus_at_least(t: Any, floor: float) -> tf.Tensor:
    """Returns `max(softplus(t), floor)`, with a gradient that brings t back from below.

    Example:
      >>> softplus_at_least(tf.constant([-90., .5413]), .1).numpy().round(3).tolist()
      [0.10000000149011612, 1.0]
    """
    low = math.log(math.expm1(floor)) if floor > 0 else -math.inf
    return _raised(tf.math.softplus, tf.sigmoid, low, floor)(t)


def exp_at_least(t: Any, floor: float) -> tf.Tensor:
    """Returns `max(exp(t), floor)`, with a gradient that brings t back from below.

    Example:
      >>> exp_at_least(tf.constant([-90., 0.]), .1).numpy().round(3).tolist()
      [0.10000000149011612, 1.0]
    """
    return _raised(tf.exp, tf.exp, math.log(floor) if floor > 0 else -math.inf, floor)(t)


def softplus_above(t: Any, floor: float) -> tf.Tensor:
    """Returns `floor + softplus(t)`, whose slope upward is nowhere less than 1e-6.

    Example:
      >>> softplus_above(tf.constant([-90., .5413]), 1.).numpy().round(3).tolist()
      [1.0, 2.0]
    """

    def run(t: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            steep = tf.maximum(t, _LEAST_SLOPE_AT)
            return upstream * tf.sigmoid(tf.where(upstream < 0, steep, t))

        return floor + tf.math.softplus(t), gradient

    return tf.custom_gradient(run)(tf.convert_to_tensor(t))


def _raised(
    function: Callable[[tf.Tensor], tf.Tensor],
    slope: Callable[[tf.Tensor], tf.Tensor],
    low: float,
    floor: float,
) -> Callable[[Any], tf.Tensor]:
    """Returns `max(function(t), floor)` of an increasing function with `function(low) = floor`."""

    def run(t: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            held = (t < low) & (upstream > 0)
            return tf.where(held, tf.zeros_like(upstream), upstream) * slope(tf.maximum(t, low))

        return tf.maximum(function(t), floor), gradient

    return lambda t: tf.custom_gradient(run)(tf.convert_to_tensor(t))
