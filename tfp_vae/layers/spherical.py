"""Directions: distributions on the unit sphere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfp_vae.errors import InputError
from tfp_vae.layers.multivariate import VectorLayer


class AroundMean:
    """What TFP's two distributions around a mean direction lack.

    A variance, and draws whose gradient stays finite: TFP takes `sqrt(1 - w^2)` of the cosine w to
    the mean direction, which has no gradient where w rounds to 1.
    """

    dtype: Any
    mean_direction: Any
    concentration: Any

    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Of the angle to the mean direction, n draws; the sine above 0."""
        raise NotImplementedError

    def _variance(self) -> tf.Tensor:
        return tf.maximum(tf.linalg.diag_part(self._covariance()), 0)  # type: ignore[attr-defined]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        angle_seed, tangent_seed = tfp_random.split_seed(seed, salt="AroundMean")
        cosine, sine = self._cosine_and_sine(n, angle_seed)
        mean = self.mean_direction
        noise = tfd.Normal(tf.zeros_like(mean), 1).sample(n, seed=tangent_seed)
        noise -= mean * tf.reduce_sum(mean * noise, axis=-1, keepdims=True)
        tangent = tf.math.l2_normalize(noise, axis=-1)
        draw = cosine[..., tf.newaxis] * mean + sine[..., tf.newaxis] * tangent
        return tf.math.l2_normalize(draw, axis=-1)


class PowerAroundMean(AroundMean, tfd.PowerSpherical):
    """`tfd.PowerSpherical`, with what `AroundMean` adds."""

    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        # (1 + cosine) / 2 is Beta distributed, a / (a + b) of two Gammas: from their logarithms it
        # and its complement both keep their digits.
        half = (tf.cast(tf.shape(self.mean_direction)[-1], self.dtype) - 1) / 2
        a_seed, b_seed = tfp_random.split_seed(seed)
        ones = tf.ones_like(self.concentration)
        a = tfd.ExpGamma(half + self.concentration, ones).sample(n, seed=a_seed)
        b = tfd.ExpGamma(half * ones, ones).sample(n, seed=b_seed)
        log_sine = (tf.math.log_sigmoid(a - b) + tf.math.log_sigmoid(b - a)) / 2
        return tf.tanh((a - b) / 2), 2 * tf.exp(log_sine)


class FisherAroundMean(AroundMean, tfd.VonMisesFisher):
    """`tfd.VonMisesFisher`, with what `AroundMean` adds; TFP's own draws but in 3 dimensions."""

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        inverted = self.mean_direction.shape[-1] == 3
        return (AroundMean if inverted else tfd.VonMisesFisher)._sample_n(self, n, seed)

    def _cosine_and_sine(self, n: Any, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        # The inverse of the cdf, as 1 - cosine, which keeps its digits.
        low = tf.fill(tf.shape(self.concentration), tf.constant(1e-8, self.dtype))
        u = tfd.Uniform(low, 1).sample(n, seed=seed)
        v = -tf.math.log1p(u * tf.math.expm1(-2 * self.concentration)) / self.concentration
        return 1 - v, tf.sqrt(tf.maximum(v * (2 - v), 1e-12))


class SphericalLayer(VectorLayer):
    """A distribution on the unit sphere of d dimensions around a mean direction.

    `mu = t[..., :d] / |t[..., :d]|`, the first axis where that is 0; the concentration is
    `kappa = softplus(t[..., d]) + 1`, which keeps away from the uniform distribution, as the sources
    do. Input `[..., d + 1]`, batch `[...]`, event `[d]`; as a tensor a draw, a vector of norm 1,
    unless `convert_to_tensor_fn` says otherwise. As a posterior its prior is
    `tfd.SphericalUniform(d)`, for which TFP has the KL in closed form.

    Args:
      event_size: d, at least 2.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`.

    Raises:
      InputError: event_size is below 2, or the last axis of the input is not
        `params_size(event_size)`.
    """

    support = (-1.0, 1.0)
    family: ClassVar[Callable[..., tfd.Distribution]]

    def __init__(self, event_size: int, *args: Any, **kwargs: Any) -> None:
        if event_size < 2:
            raise InputError("Expected an event_size of at least 2: a sphere.", event_size)
        super().__init__(event_size, *args, **kwargs)

    @classmethod
    def new(
        cls,
        params: Any,
        event_size: int,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Distribution:
        """The distribution of a parameter tensor `[..., params_size(event_size)]`."""
        with tf.name_scope(name or cls.__name__):
            params = tf.convert_to_tensor(params)
            mean = _direction(params[..., :event_size])
            concentration = tf.math.softplus(params[..., event_size]) + 1
            return cls.family(mean, concentration, validate_args=validate_args)

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """A direction and a concentration."""
        del name
        return int(event_size) + 1


def _direction(t: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(t), axis=-1, keepdims=True)
    first_axis = tf.one_hot(0, t.shape[-1], dtype=t.dtype)
    safe = tf.where(square > t.dtype.as_numpy_dtype(1e-30), t, first_axis)
    return safe / tf.norm(safe, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="tfp_vae")
class VonMisesFisher(SphericalLayer):
    """`C_d(kappa) exp(kappa mu' x)` with |x| = 1: a Normal's counterpart on the sphere.

    `C_d(k) = k^(d/2 - 1) / ((2 pi)^(d/2) I_{d/2 - 1}(k))`. Draws are reparameterized in 3 dimensions
    only (elsewhere the direction gets a gradient, the concentration none that is right):
    `PowerSpherical` always is. Parameters, shapes and arguments: see `SphericalLayer`. Davidson et
    al., arXiv:1804.00891.

    Example:
      >>> q = VonMisesFisher(3)(tf.constant([[0., 0., 5., 10.]]))
      >>> q.mean().numpy().round(3).tolist(), float(tf.norm(q).numpy().round(3))
      ([[0.0, 0.0, 0.909]], 1.0)
    """

    family = FisherAroundMean


@keras.saving.register_keras_serializable(package="tfp_vae")
class PowerSpherical(SphericalLayer):
    """`(1 + mu' x)^kappa / N_d(kappa)` with |x| = 1: reparameterized in any dimension.

    `N_d(k) = 2^(a + b) pi^b Gamma(a) / Gamma(a + b)`, `a = (d - 1) / 2 + k`, `b = (d - 1) / 2`.
    Parameters, shapes and arguments: see `SphericalLayer`. De Cao and Aziz, arXiv:2006.04437.

    Example:
      >>> q = PowerSpherical(3)(tf.constant([[0., 0., 5., 10.]]))
      >>> q.mean().numpy().round(3).tolist(), float(tf.norm(q).numpy().round(3))
      ([[0.0, 0.0, 0.846]], 1.0)
    """

    family = PowerAroundMean
