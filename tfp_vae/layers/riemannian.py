"""The Poincare ball: the normal by the distances on it, as a posterior and as a prior."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.marginals import Prior
from tfp_vae.distributions.radial import RadialNormal
from tfp_vae.layers.poincare import WrappedNormal, WrappedNormalPrior, mapped


def riemannian_normal(
    mu: tf.Tensor, scale: tf.Tensor, curvature: float, validate_args: bool = False
) -> tfd.TransformedDistribution:
    """Returns the density `exp(-distance(z, mu)^2 / (2 s^2)) / Z` over the ball's volume."""
    base = RadialNormal(scale, mu.shape[-1], curvature)
    return mapped(base, mu, curvature, validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class RiemannianNormal(WrappedNormal):
    """The Riemannian normal on the Poincare ball: `exp(-distance(z, mu)^2 / (2 s^2)) / Z`.

    Of all distributions with one mean squared distance from mu, it has the most entropy. `log_prob`
    is the density in the coordinates of the ball, as of `WrappedNormal`, whose measure and KL are
    likewise; `Z` and the draws are those of `RadialNormal`. Typical distances from mu are about
    `(d - 1) s^2` where s is above 1: float32 has its digits up to 10 or so from the origin, at
    curvature 1, and thus for few dimensions.

    Input `[..., d + 1]`: a vector for mu as of `WrappedNormal`, then s before its softplus; batch
    `[...]`, event `[d]`; as a tensor a draw. mu is what stands for the distribution.
    Mathieu et al., arXiv:1901.06033.

    Example:
      >>> q = RiemannianNormal(2)(tf.constant([[1., 0., -9.]]))
      >>> round(float(q.bijector.mu[0, 0]), 3), bool(tf.norm(q) < 1)
      (0.46, True)
    """

    def around(self, mu: tf.Tensor, scale: tf.Tensor) -> tfd.Distribution:
        return riemannian_normal(mu, scale[..., 0], self.curvature, self.validate_args)

    def default_prior(self, event_shape: Sequence[int]) -> Prior:
        return RiemannianNormalPrior(event_shape[-1], self.curvature)

    @staticmethod
    @checked
    def params_size(event_size: int, name: str | None = None) -> int:
        """A tangent vector, and one scale."""
        del name
        return int(event_size) + 1


@keras.saving.register_keras_serializable(package="tfp_vae")
class RiemannianNormalPrior(WrappedNormalPrior):
    """The Riemannian normal around the origin of the Poincare ball.

    `exp(-distance(z, 0)^2 / (2 scale^2)) / Z`: event `[dimension]`. Its density is as of
    `layers.RiemannianNormal`. Mathieu et al., arXiv:1901.06033.

    Args:
      dimension: of z.
      curvature: c, above 0; the ball's curvature is -c.
      scale: of the distance.
      **kwargs: as for any Keras layer.

    Example:
      >>> RiemannianNormalPrior(2).distribution().event_shape.as_list()
      [2]
    """

    around = staticmethod(riemannian_normal)
