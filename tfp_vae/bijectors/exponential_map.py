"""The exponential map of the Poincare ball, and what else is told of its geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.radial import log_sinh_ratio


class ExponentialMap(tfb.Bijector):
    """`exp_mu(v / lambda_mu)`: from tangent vectors v to the ball `{z: c |z|^2 < 1}`.

    With the metric `lambda_z^2 I`, `lambda_z = 2 / (1 - c |z|^2)`, v goes to the point in its
    direction whose distance from mu is |v|: `z = mu (+) tanh(sqrt(c) |v| / 2) v / (sqrt(c) |v|)`,
    (+) the addition of Moebius. `log |det dz/dv| = (d - 1) log(sinh(r) / r) - d log lambda_z`, with
    `r = sqrt(c) |v|`. Mathieu et al., arXiv:1901.06033.

    Points nearer than 1e-5 (in float32) of its radius to the edge of the ball are moved there.

    Args:
      mu: a point of the ball, `[..., d]`.
      curvature: c, above 0; the ball's curvature is -c.

    Example:
      >>> f = ExponentialMap(tf.constant([0.3, -0.2]), 1.0)
      >>> z = f.forward(tf.constant([0.5, 1.0]))
      >>> round(float(distance(tf.constant([0.3, -0.2]), z, 1.0)), 3)  # |v|
      1.118
    """

    def __init__(
        self,
        mu: Any,
        curvature: float = 1.0,
        validate_args: bool = False,
        name: str = "exponential_map",
    ) -> None:
        parameters = dict(locals())
        self.mu, self.curvature = mu, curvature
        super().__init__(
            forward_min_event_ndims=1,
            dtype=mu.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"mu": tfp_util.ParameterProperties(event_ndims=1)}

    def _forward(self, v: tf.Tensor) -> tf.Tensor:
        return within(add(self.mu, from_origin(v, self.curvature), self.curvature), self.curvature)

    def _inverse(self, z: tf.Tensor) -> tf.Tensor:
        from_mu = within(add(-self.mu, z, self.curvature), self.curvature)
        return to_origin(from_mu, self.curvature)

    def _forward_log_det_jacobian(self, v: tf.Tensor) -> tf.Tensor:
        d = tf.cast(tf.shape(v)[-1], v.dtype)
        log_scale = log_conformal_factor(self._forward(v), self.curvature)
        r = self.curvature**0.5 * norm(v)[..., 0]
        return (d - 1) * log_sinh_ratio(r) - d * log_scale


def norm(v: tf.Tensor) -> tf.Tensor:
    """Returns |v| along the last axis, which stays; at 0 a small number, without a slope."""
    square = tf.reduce_sum(tf.square(v), axis=-1, keepdims=True)
    return tf.sqrt(tf.maximum(square, np.finfo(v.dtype.as_numpy_dtype).tiny ** 0.5))


def within(z: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns z, or the point just inside the ball in its direction where z is not inside."""
    digits = np.finfo(z.dtype.as_numpy_dtype).eps
    most = (1 - 80 * float(digits)) / curvature**0.5
    size = norm(z)
    return tf.where(size > most, z / size * most, z)


def add(a: tf.Tensor, b: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns a (+) b, the addition of Moebius: from the origin to b, translated to a.

    Example:
      >>> a, b = tf.constant([0.3, 0.1]), tf.constant([-0.2, 0.4])
      >>> bool(tf.reduce_all(abs(add(-a, add(a, b, 1.0), 1.0) - b) < 1e-6))
      True
    """
    inner = tf.reduce_sum(a * b, axis=-1, keepdims=True)
    square_a = tf.reduce_sum(tf.square(a), axis=-1, keepdims=True)
    square_b = tf.reduce_sum(tf.square(b), axis=-1, keepdims=True)
    c = curvature
    top = (1 + 2 * c * inner + c * square_b) * a + (1 - c * square_a) * b
    return top / (1 + 2 * c * inner + c**2 * square_a * square_b)


def from_origin(v: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns `exp_0(v / 2)`: the point in the direction of v, at the distance |v| from 0."""
    root, size = curvature**0.5, norm(v)
    return tf.tanh(root * size / 2) * v / (root * size)


def to_origin(z: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns the inverse of `from_origin`: the logarithmic map at 0, as long as the distance."""
    root, size = curvature**0.5, norm(z)
    return 2 * tf.atanh(root * size) * z / (root * size)


def distance(a: tf.Tensor, b: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns the length of the shortest way from a to b, without the last axis."""
    return norm(to_origin(within(add(-a, b, curvature), curvature), curvature))[..., 0]


def log_conformal_factor(z: tf.Tensor, curvature: float) -> tf.Tensor:
    """Returns `log lambda_z = log(2 / (1 - c |z|^2))`, without the last axis."""
    root, size = curvature**0.5, norm(z)[..., 0]
    return float(np.log(2)) - tf.math.log1p(-root * size) - tf.math.log1p(root * size)
