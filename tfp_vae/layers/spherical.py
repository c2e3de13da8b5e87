"""Directions: distributions on the unit sphere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.floors import softplus_above
from tfp_vae.distributions.spherical import FisherAroundMean, PowerAroundMean
from tfp_vae.errors import InputError
from tfp_vae.layers.multivariate import VectorLayer


class SphericalLayer(VectorLayer):
    """A distribution on the unit sphere of d dimensions around a mean direction.

    Shapes: input `[..., d + 1]`: a vector with the direction mu (the first axis where it is 0),
    then `kappa = softplus(t[..., d]) + 1`, away from the uniform distribution, as in the sources;
    batch `[...]`, event `[d]`; as a tensor a draw, of norm 1. A posterior's default prior is
    `tfd.SphericalUniform(d)`, with the KL in closed form.

    Args:
      event_size: d, at least 2.

    Raises:
      InputError: event_size is below 2.
    """

    support = (-1.0, 1.0)
    family: ClassVar[Callable[..., tfd.Distribution]]

    def __init__(self, event_size: int, *args: Any, **kwargs: Any) -> None:
        if event_size < 2:
            raise InputError("Expected an event_size of at least 2: a sphere.", event_size)
        super().__init__(event_size, *args, **kwargs)

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        return tfd.SphericalUniform(event_shape[-1], dtype=tf.as_dtype(full_precision()))

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return tf.math.l2_normalize(distribution.mean(), axis=-1)  # a direction, as z is

    @classmethod
    def each(cls, params: tf.Tensor, event_size: int, validate_args: bool) -> tfd.Distribution:
        mean = _direction(params[..., :event_size])
        concentration = softplus_above(params[..., event_size], 1)
        return cls.family(mean, concentration, validate_args=validate_args)

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        return int(event_size) + 1


def _direction(t: tf.Tensor) -> tf.Tensor:
    square = tf.reduce_sum(tf.square(t), axis=-1, keepdims=True)
    first_axis = tf.one_hot(0, t.shape[-1], dtype=t.dtype)
    safe = tf.where(square > t.dtype.as_numpy_dtype(1e-30), t, first_axis)
    return safe / tf.norm(safe, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="tfp_vae")
class VonMisesFisher(SphericalLayer):
    """`C_d(kappa) exp(kappa mu' x)` with |x| = 1: a Normal's counterpart on the sphere.

    `C_d(k) = k^(d/2 - 1) / ((2 pi)^(d/2) I_{d/2 - 1}(k))`. Draws are by rejection (in 3 dimensions
    by the inverse of the distribution function), and reparameterized in any dimension: the
    concentration's gradient through them is the implicit one.

    Source: Davidson et al., arXiv:1804.00891.

    Example:
      >>> q = VonMisesFisher(3)(tf.constant([[0., 0., 5., 10.]]))
      >>> round(float(q.mean()[0, 2]), 3), round(float(tf.norm(q)), 3)
      (0.909, 1.0)
    """

    family = FisherAroundMean


@keras.saving.register_keras_serializable(package="tfp_vae")
class PowerSpherical(SphericalLayer):
    """`(1 + mu' x)^kappa / N_d(kappa)` with |x| = 1: reparameterized in any dimension.

    `N_d(k) = 2^(a + b) pi^b Gamma(a) / Gamma(a + b)`, `a = (d - 1) / 2 + k`, `b = (d - 1) / 2`.

    Source: De Cao and Aziz, arXiv:2006.04437.

    Example:
      >>> q = PowerSpherical(3)(tf.constant([[0., 0., 5., 10.]]))
      >>> round(float(q.mean()[0, 2]), 3), round(float(tf.norm(q)), 3)
      (0.846, 1.0)
    """

    family = PowerAroundMean
