"""TFP's distributions on the sphere, with a variance, and draws with a finite gradient."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfp_math
from tensorflow_probability import random as tfp_random

from tfp_vae.distributions.implicit_angle import with_concentration_gradient


class AroundMean(abc.ABC):
    """A distribution around a mean direction, with a variance and finite gradients of draws.

    TFP takes `sqrt(1 - w^2)` of the cosine w to the mean direction, without a gradient where w
    rounds to 1.
    """

    dtype: Any
    mean_direction: Any
    concentration: Any

    @abc.abstractmethod
    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns n draws of the angle to the mean direction; the sine is above 0."""

    def _variance(self) -> tf.Tensor:
        return tf.maximum(tf.linalg.diag_part(self._covariance()), 0)  # type: ignore[attr-defined]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        angle_seed, tangent_seed = tfp_random.split_seed(seed, salt="AroundMean")
        cosine, sine = self._cosine_and_sine(n, angle_seed)
        mean = self.mean_direction
        noise = self._noise(n, tangent_seed)
        noise -= mean * tf.reduce_sum(mean * noise, axis=-1, keepdims=True)
        tangent = tf.math.l2_normalize(noise, axis=-1)
        draw = cosine[..., tf.newaxis] * mean + sine[..., tf.newaxis] * tangent
        return tf.math.l2_normalize(draw, axis=-1)

    def _noise(self, n: Any, seed: Any) -> tf.Tensor:
        """Returns n unit normals for each entry of the mean direction."""
        return tfd.Normal(tf.zeros_like(self.mean_direction), 1).sample(n, seed=seed)


class PowerAroundMean(AroundMean, tfd.PowerSpherical):
    """`tfd.PowerSpherical`, with what `AroundMean` adds."""

    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        # (1 + cosine) / 2 is Beta distributed, a / (a + b) of two Gammas, whose logarithms keep all
        # digits. b is half a sum of d - 1 squared Normals.
        a_seed, b_seed = tfp_random.split_seed(seed)
        squares = tf.square(self._noise(n, b_seed)[..., 1:])
        log_b = tf.math.log(tf.maximum(tf.reduce_sum(squares, axis=-1) / 2, 1e-30))
        half = (tf.cast(tf.shape(self.mean_direction)[-1], self.dtype) - 1) / 2
        rate = tf.ones_like(self.concentration)
        w = tfd.ExpGamma(half + self.concentration, rate).sample(n, seed=a_seed) - log_b
        log_sine = (tf.math.log_sigmoid(w) + tf.math.log_sigmoid(-w)) / 2
        return tf.tanh(w / 2), 2 * tf.exp(log_sine)


class FisherAroundMean(AroundMean, tfd.VonMisesFisher):
    """`tfd.VonMisesFisher` with what `AroundMean` adds, and reparameterized in any dimension."""

    @property
    def reparameterization_type(self) -> Any:
        """By the inverse of the distribution function, in closed form or implicitly."""
        return tfd.FULLY_REPARAMETERIZED

    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        dimension = self.mean_direction.shape[-1]
        if dimension == 3:
            v = self._inverted(n, seed)
        else:
            v = self._accepted(n, seed)
            mean = tfp_math.bessel_iv_ratio(
                tf.cast(dimension / 2, self.dtype), tf.stop_gradient(self.concentration)
            )
            v = with_concentration_gradient(v, self.concentration, mean, dimension)
        # 1 - cosine, which keeps its digits.
        return 1 - v, tf.sqrt(tf.maximum(v * (2 - v), 1e-12))

    def _inverted(self, n: Any, seed: Any) -> tf.Tensor:
        """Draws by the inverse of the cdf, in closed form in 3 dimensions."""
        low = tf.fill(tf.shape(self.concentration), tf.constant(1e-8, self.dtype))
        u = tfd.Uniform(low, 1).sample(n, seed=seed)
        return -tf.math.log1p(u * tf.math.expm1(-2 * self.concentration)) / self.concentration

    def _accepted(self, n: Any, seed: Any) -> tf.Tensor:
        """Draws by rejection: Wood, Commun. Stat. Simul. Comput. 23 (1994), 157.

        No gradient passes: XLA compiles none of a loop of any length. Wood's Beta variables, which
        compile for long under XLA, are here (1 + u) / 2, u a coordinate of a uniform direction.
        """
        k = tf.stop_gradient(self.concentration)
        d1 = tf.cast(tf.shape(self.mean_direction)[-1] - 1, self.dtype)
        b = d1 / (2 * k + tf.sqrt(4 * tf.square(k) + tf.square(d1)))
        v0 = 2 * b / (1 + b)

        def propose(v: tf.Tensor, open_: tf.Tensor, seed: Any) -> tuple[Any, Any, Any]:
            noise_seed, accept_seed, seed = tf.unstack(tfp_random.split_seed(seed, n=3))
            u = tf.math.l2_normalize(self._noise(n, noise_seed), axis=-1)[..., 0]
            new = 2 * b * (1 + u) / (1 - u + b * (1 + u))
            excess = k * (v0 - new) + d1 * tf.math.log((v0 + (1 - v0) * new) / (v0 * (2 - v0)))
            uniform = tfd.Uniform(tf.zeros_like(k), 1).sample(n, seed=accept_seed)
            return tf.where(open_, new, v), open_ & (excess < tf.math.log1p(-uniform)), seed

        start = tf.zeros_like(self._noise(n, seed)[..., 0])
        state = (start, tf.ones_like(start, tf.bool), tf.stack(seed))
        return tf.while_loop(lambda v, open_, seed: tf.reduce_any(open_), propose, state)[0]
