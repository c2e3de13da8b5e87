"""One planar map: a bijector that bends space along one direction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.floors import softplus_at_least

_SHIFT = math.log(math.e - 1)  # softplus of it is 1


class Planar(tfb.Bijector):
    """`f(z) = z + v tanh(w'z + b)`, with v made of u so that `w'v > -1` and f has an inverse.

    `v = u + (m(w'u) - w'u) w / |w|^2` with m from the reals onto (-1, inf): Rezende and Mohamed,
    arXiv:1505.05770, appendix A.1. There m(0) is -0.31, and v is large where w is small; here
    `m(t) = softplus(t + log(e - 1)) - 1`: m(0) = 0, and f is the identity at u = 0.
    `log |det f'| = log(1 + w'v sech^2(w'z + b))`. The inverse solves one increasing equation for
    `w'z` by bisection; its gradient is exact.

    Args:
      u, w: `[..., d]`.
      b: `[...]`.
      min_slope: `1 + w'v` is at least this.

    Example:
      >>> f = Planar(u=tf.constant([1., 0.]), w=tf.constant([2., -1.]), b=tf.constant(0.5))
      >>> z = tf.constant([0.3, -1.2])
      >>> bool(tf.reduce_all(abs(f.inverse(tf.identity(f.forward(z))) - z) < 1e-5))
      True
    """

    def __init__(
        self,
        u: Any,
        w: Any,
        b: Any,
        min_slope: float = 1e-4,
        validate_args: bool = False,
        name: str = "planar",
    ) -> None:
        parameters = dict(locals())
        self.u, self.w, self.b = u, w, b
        self.min_slope = min_slope
        super().__init__(
            forward_min_event_ndims=1,
            dtype=u.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        vector, scalar = (tfp_util.ParameterProperties(event_ndims=n) for n in (1, 0))
        return {"u": vector, "w": vector, "b": scalar}

    def _direction_and_slope(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns v and `1 + w'v`, which keeps its digits where it is small."""
        square = tf.reduce_sum(tf.square(self.w), axis=-1)
        inner = tf.reduce_sum(self.w * self.u, axis=-1)
        least = float(np.finfo(self.u.dtype.as_numpy_dtype).tiny) ** 0.5
        bent = square > least  # else f is a translation, and any v will do
        slope = softplus_at_least(inner + _SHIFT, self.min_slope)
        slope = tf.where(bent, slope, tf.ones_like(slope))
        along = (slope - 1 - inner) / tf.where(bent, square, tf.ones_like(square))
        return self.u + tf.where(bent, along, 0)[..., tf.newaxis] * self.w, slope

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        direction, _ = self._direction_and_slope()
        return z + direction * tf.tanh(self._position(z) + self.b)[..., tf.newaxis]

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        direction, slope = self._direction_and_slope()
        a = _solve(slope, self.b, self._position(y))
        return y - direction * tf.tanh(a + self.b)[..., tf.newaxis]

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        _, slope = self._direction_and_slope()
        return tf.math.log(_derivative(slope, tf.tanh(self._position(z) + self.b)))

    def _position(self, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self.w * z, axis=-1)


def _derivative(slope: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    """Returns `1 + c (1 - h^2)` with `c = slope - 1`, as a sum of nonnegative terms."""
    return slope * (1 - h) * (1 + h) + tf.square(h)


def _solve(slope: tf.Tensor, b: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Solves `a + (slope - 1) tanh(a + b) = y` for a.

    The dtype's digits fix the number of bisections, for XLA. The bisections carry no gradient; one
    Newton step at the solution carries the exact one.
    """
    slope, b, y = slope + tf.zeros_like(y), b + tf.zeros_like(y), y + tf.zeros_like(slope + b)
    steps = np.finfo(y.dtype.as_numpy_dtype).nmant + 4

    def excess(a: tf.Tensor) -> tf.Tensor:
        return a + (slope - 1) * tf.tanh(a + b) - y

    def halve(middle: tf.Tensor, half: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        half = half / 2
        return middle + tf.where(excess(middle) < 0, half, -half), half

    start = (tf.stop_gradient(y), tf.stop_gradient(abs(slope - 1)))
    a, _ = tf.while_loop(lambda *_: True, halve, start, maximum_iterations=steps)
    a = tf.stop_gradient(a)
    newton = -excess(a) / tf.stop_gradient(_derivative(slope, tf.tanh(a + b)))
    return a + newton - tf.stop_gradient(newton)
