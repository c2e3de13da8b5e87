"""The Poincare ball: a posterior on it, a prior, and the layer that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bijectors import exponential_map as ball
from tfp_vae.bridge.marginals import Prior
from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.multivariate import VectorLayer, of_any_batch

_FARTHEST = 8.0  # distance of a mean from the origin, at curvature 1, where float32 has its digits


def wrapped_normal(
    mu: tf.Tensor, scale: tf.Tensor, curvature: float, validate_args: bool = False
) -> tfd.TransformedDistribution:
    """Returns the distribution of `exp_mu(v / lambda_mu)`, v a Normal around 0."""
    base = tfd.Independent(tfd.Normal(tf.zeros_like(mu), scale), 1)
    f = ball.ExponentialMap(mu, curvature)
    return of_any_batch(tfd.TransformedDistribution(base, f, validate_args=validate_args))


@keras.saving.register_keras_serializable(package="tfp_vae")
class WrappedNormal(VectorLayer):
    """The wrapped normal on the Poincare ball `{z: c |z|^2 < 1}`, of curvature -c.

    `z = exp_mu(v / lambda_mu)` with v from N(0, s^2). `log_prob` is the density in the coordinates
    of the ball, `N(v; 0, s^2) (r / sinh r)^(d - 1) lambda_z^d` with `r = sqrt(c) |v|`; over
    `lambda_z^d` it is the density with respect to the ball's own volume. A KL is the same by
    either. Its prior, where none is given, is the one around the origin with scale 1 in all
    directions; the KL is by Monte Carlo.

    Input `[..., 2 d]`: a vector in the direction of mu, as long as mu is far from the origin (which
    saturates at a distance of 8, of curvature 1), then s before its softplus; batch `[...]`, event
    `[d]`; as a tensor a draw. mu is what stands for the distribution.
    Mathieu et al., arXiv:1901.06033; Nagano et al., arXiv:1902.02992.

    Args:
      event_size: d.
      curvature: c, above 0.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      min_scale: scales below it are raised to it.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_size)`.

    Example:
      >>> q = WrappedNormal(2)(tf.constant([[1., 0., -9., -9.]]))
      >>> round(float(q.bijector.mu[0, 0]), 3), bool(tf.norm(q) < 1)
      (0.46, True)
    """

    @checked
    def __init__(
        self,
        event_size: int,
        curvature: float = 1.0,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        min_scale: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.curvature, self.min_scale = float(curvature), min_scale

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        v, scale = tf.split(tf.convert_to_tensor(inputs), 2, axis=-1)
        mu = self.point(v)
        scale = softplus_at_least(scale, self.min_scale)
        return wrapped_normal(mu, scale, self.curvature, self.validate_args)

    def point(self, v: tf.Tensor) -> tf.Tensor:
        """Returns the point of the ball in the direction of v, at the distance |v|."""
        size, most = ball.norm(v), _FARTHEST / self.curvature**0.5
        return ball.from_origin(v / size * most * tf.tanh(size / most), self.curvature)

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return getattr(distribution, "tensor_distribution", distribution).bijector.mu

    def default_prior(self, event_shape: Sequence[int]) -> Prior:
        return WrappedNormalPrior(event_shape[-1], self.curvature)

    @staticmethod
    @checked
    def params_size(event_size: int, name: str | None = None) -> int:
        """A tangent vector, and a scale for each of its entries."""
        del name
        return 2 * int(event_size)


@keras.saving.register_keras_serializable(package="tfp_vae")
class WrappedNormalPrior(Prior):
    """The wrapped normal around the origin of the Poincare ball, of one scale.

    `z = exp_0(v / 2)` with v from N(0, scale^2 I): event `[dimension]`. Its density is as of
    `layers.WrappedNormal`. Mathieu et al., arXiv:1901.06033.

    Args:
      dimension: of z.
      curvature: c, above 0; the ball's curvature is -c.
      scale: of v.
      **kwargs: as for any Keras layer.

    Example:
      >>> WrappedNormalPrior(2).distribution().event_shape.as_list()
      [2]
    """

    @checked
    def __init__(
        self, dimension: int, curvature: float = 1.0, scale: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dimension, self.curvature, self.scale = int(dimension), float(curvature), scale

    def distribution(self) -> tfd.Distribution:
        origin = tf.zeros([self.dimension], full_precision())
        return wrapped_normal(origin, tf.cast(self.scale, origin.dtype), self.curvature)

    def get_config(self) -> dict[str, Any]:
        own = {"dimension": self.dimension, "curvature": self.curvature, "scale": self.scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfp_vae")
class Gyroplanes(keras.layers.Layer):
    """Signed distances of a point of the Poincare ball to hyperplanes: a decoder's first layer.

    `f_k(z) = 2 |a_k| / sqrt(c) asinh(2 sqrt(c) y'a_k / ((1 - c |y|^2) |a_k|))`, `y = (-p_k) (+) z`:
    the distance to the plane through p_k that is orthogonal to a_k, times `2 |a_k|`. As c goes to 0
    it is `4 a_k'(z - p_k)`, a dense layer. p_k is learned as `exp_0(b_k / 2)`. Input `[..., d]`,
    output `[..., units]`. Ganea et al., arXiv:1805.09112; Mathieu et al., arXiv:1901.06033.

    Args:
      units: how many planes there are.
      curvature: c, above 0.
      **kwargs: as for any Keras layer.

    Example:
      >>> Gyroplanes(5)(tf.constant([[0.1, 0.2]])).shape
      TensorShape([1, 5])
    """

    @checked
    def __init__(self, units: int, curvature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.curvature = int(units), float(curvature)

    def build(self, input_shape: Any) -> None:
        shape = (self.units, input_shape[-1])
        self.normals = self.add_weight(shape=shape, initializer="glorot_uniform", name="normals")
        self.offsets = self.add_weight(shape=shape, initializer="zeros", name="offsets")
        super().build(input_shape)

    def call(self, z: Any) -> tf.Tensor:
        """Returns the distances, `[..., units]`."""
        z = tf.convert_to_tensor(z)
        normals = tf.cast(tf.convert_to_tensor(self.normals), z.dtype)
        points = ball.from_origin(
            tf.cast(tf.convert_to_tensor(self.offsets), z.dtype), self.curvature
        )
        y = ball.within(ball.add(-points, z[..., tf.newaxis, :], self.curvature), self.curvature)
        root, size = self.curvature**0.5, ball.norm(normals)[..., 0]
        # lambda_y, which is 2 / (1 - c |y|^2)
        factor = tf.exp(ball.log_conformal_factor(y, self.curvature))
        sine = root * factor * tf.reduce_sum(y * normals, axis=-1) / size
        return 2 * size / root * tf.asinh(sine)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "curvature": self.curvature}
