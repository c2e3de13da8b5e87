"""The Poincare ball: a posterior on it, and its prior."""

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
    return mapped(base, mu, curvature, validate_args)


def mapped(
    base: tfd.Distribution, mu: tf.Tensor, curvature: float, validate_args: bool
) -> tfd.TransformedDistribution:
    """Returns the distribution of `exp_mu(v / lambda_mu)`, v from `base`."""
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
        v, scale = tf.split(tf.convert_to_tensor(inputs), [self.event_size, -1], axis=-1)
        return self.around(self.point(v), softplus_at_least(scale, self.min_scale))

    def around(self, mu: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
        """Returns the distribution around points of the ball, of scales on the last axis."""
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

    around = staticmethod(wrapped_normal)

    def distribution(self) -> tfd.Distribution:
        origin = tf.zeros([self.dimension], full_precision())
        return self.around(origin, tf.cast(self.scale, origin.dtype), self.curvature)

    def get_config(self) -> dict[str, Any]:
        own = {"dimension": self.dimension, "curvature": self.curvature, "scale": self.scale}
        return {**super().get_config(), **own}
