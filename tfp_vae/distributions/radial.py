"""Tangent vectors of the hyperbolic space whose length is that of a Riemannian normal."""

from __future__ import annotations

import functools
import math
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.construction import settings
from tfp_vae.distributions.pathwise import nodes_between, with_slope

_REACH = 8.0  # standard deviations around the mode, behind which nothing is left


class RadialNormal(tfd.Distribution):
    """`p(v) = exp(-|v|^2 / (2 s^2)) (sinh(k |v|) / (k |v|))^(d - 1) / Z`, `k = sqrt(c)`.

    The direction of v is uniform. `exp_mu(v / lambda_mu)` has the density
    `exp(-distance(z, mu)^2 / (2 s^2)) / Z` with respect to the volume of the space of curvature -c:
    the Riemannian normal of Mathieu et al., arXiv:1901.06033, section 3.1.

    `Z = S_(d-1) k^-d I(k s)`, S the surface of the unit sphere, `I(s) = int_0^oo exp(-x^2 / (2
    s^2)) sinh(x)^(d-1) dx`. The paper's sum for I, of d terms with erf, has opposite signs and no
    digit left in float32 where s is small; the integrand is log-concave, so that a quadrature
    around its mode is exact to rounding. Lengths are drawn by rejection, in any dimension at one
    rate; their gradient is the implicit one.

    Args:
      scale: s, `[...]`, the batch.
      dimension: d.
      curvature: c, above 0.

    Example:
      >>> p = RadialNormal(tf.constant([0.5, 1.0]), 3, 1.0)
      >>> p.batch_shape.as_list(), p.event_shape.as_list()
      ([2], [3])
    """

    def __init__(
        self,
        scale: Any,
        dimension: int,
        curvature: float = 1.0,
        validate_args: bool = False,
        name: str = "RadialNormal",
    ) -> None:
        parameters = dict(locals())
        self.scale = tf.convert_to_tensor(scale)
        self.dimension, self.curvature = dimension, curvature
        super().__init__(**settings(parameters, self.scale.dtype, reparameterized=True))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"scale": tfp_util.ParameterProperties()}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.dimension])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self.dimension], tf.int32)

    def _log_prob(self, v: tf.Tensor) -> tf.Tensor:
        d, root = self.dimension, self.curvature**0.5
        r = root * tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(v), axis=-1), 1e-18))
        log_surface = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
        log_z = log_integral(root * self.scale, d - 1) + (log_surface - d * math.log(root))
        return -tf.square(r / (root * self.scale)) / 2 + (d - 1) * log_sinh_ratio(r) - log_z

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        length_seed, direction_seed = tfp_random.split_seed(seed, salt="RadialNormal")
        scale = self.curvature**0.5 * self.scale
        shape = tf.concat([[n], tf.shape(scale)], axis=0)
        whole = tf.concat([shape, [self.dimension]], axis=0)
        noise = tf.random.stateless_normal(whole, direction_seed, dtype=self.dtype)
        power = self.dimension - 1
        r = accepted(tf.stop_gradient(scale), power, shape, length_seed)
        r = with_slope(r, scale, functools.partial(_slope, r, power=power))
        return tf.math.l2_normalize(noise, axis=-1) * r[..., tf.newaxis] / self.curvature**0.5


def log_sinh_ratio(r: tf.Tensor) -> tf.Tensor:
    """Returns `log(sinh(r) / r)`, which keeps its digits at both ends."""
    return r + tf.math.log(-tf.math.expm1(-2 * r) / (2 * r))


def log_integral(scale: tf.Tensor, power: int) -> tf.Tensor:
    """Returns `log int_0^oo exp(-x^2 / (2 s^2)) sinh(x)^power dx`.

    Example:
      >>> round(float(log_integral(tf.constant(1.0), 1)), 4)  # log(sqrt(pi e / 2) erf(sqrt(1 / 2)))
      0.3440
    """
    s, weights = _nodes(tf.stop_gradient(scale), power)
    log_each = _log_height(s, scale[..., tf.newaxis], power) + tf.math.log(weights)
    return tf.reduce_logsumexp(log_each, axis=-1) + tf.square(power * scale) / 2


def accepted(scale: tf.Tensor, power: int, shape: tf.Tensor, seed: Any) -> tf.Tensor:
    """Draws x of the density `exp(-x^2 / (2 s^2)) sinh(x)^power`, without a gradient.

    By rejection, one in four, for any log-concave density f with the mode m: f is below
    `f(m) min(1, exp(1 - f(m) |x - m|))`. Devroye, Non-Uniform Random Variate Generation (1986),
    VII.2.
    """
    mode = _mode(scale, power)
    top = _log_height(mode, scale, power)
    area = tf.exp(log_integral(scale, power) - tf.square(power * scale) / 2 - top)  # 1 / f(m)

    def propose(x: tf.Tensor, open_: tf.Tensor, seed: Any) -> tuple[Any, Any, Any]:
        seeds = tf.unstack(tfp_random.split_seed(seed, n=4))
        far, side, chance = (
            tf.random.stateless_uniform(shape, each, dtype=scale.dtype) for each in seeds[:3]
        )
        y = tf.where(far < 0.5, 2 * far, 1 - tf.math.log(2 - 2 * far))
        new = mode + tf.where(side < 0.5, -y, y) * area
        inside = tf.maximum(new, 1e-20)
        excess = _log_height(inside, scale, power) - top - tf.minimum(1 - y, 0)
        good = (new > 0) & (tf.math.log1p(-chance) < excess)
        return tf.where(open_ & good, new, x), open_ & ~good, seeds[3]

    start = tf.zeros(shape, scale.dtype)
    state = (start, tf.ones(shape, tf.bool), tf.convert_to_tensor(seed))
    return tf.while_loop(lambda x, open_, seed: tf.reduce_any(open_), propose, state)[0]


def _log_height(x: tf.Tensor, scale: tf.Tensor, power: int) -> tf.Tensor:
    """`log(exp(-x^2 / (2 s^2)) sinh(x)^power) - (power s)^2 / 2`: without its largest numbers."""
    if not power:
        return -tf.square(x / scale) / 2
    apart = -tf.square(x / scale - power * scale) / 2
    return apart + power * tf.math.log(-tf.math.expm1(-2 * x) / 2)


def _mode(scale: tf.Tensor, power: int) -> tf.Tensor:
    """The x with `x tanh(x) = power s^2`, by Newton's steps from above on a convex function."""
    a = power * tf.square(scale)
    x = (a + tf.sqrt(tf.square(a) + 4 * a)) / 2
    for _ in range(6):
        t = tf.tanh(x)
        x -= tf.math.divide_no_nan(x * t - a, t + x * (1 - tf.square(t)))
    return x


def _nodes(scale: tf.Tensor, power: int) -> tuple[Any, Any]:
    mode = _mode(scale, power)
    return nodes_between(tf.maximum(mode - _REACH * scale, 0), mode + _REACH * scale, 64)


def _slope(x: tf.Tensor, scale: tf.Tensor, power: int) -> tf.Tensor:
    """`dx / ds = int_0^x (E[y^2] - y^2) h(y) dy / (s^3 h(x))`, on the side where h falls."""
    y, weights = _nodes(scale, power)
    wide = scale[..., tf.newaxis]
    share = tf.nn.softmax(_log_height(y, wide, power) + tf.math.log(weights))
    mean = tf.reduce_sum(share * tf.square(y), axis=-1, keepdims=True)
    end = tf.where(x > _mode(scale, power), x + _REACH * scale, tf.maximum(x - _REACH * scale, 0))
    y, weights = nodes_between(x, end)
    ratio = _log_height(y, wide, power) - _log_height(x, scale, power)[..., tf.newaxis]
    values = (tf.square(y) - mean) * tf.exp(ratio)
    return tf.reduce_sum(weights * values, axis=-1) / scale**3
