"""A posterior of planar maps."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_vae.arguments.rules import checked
from tfp_vae.bijectors.planar import Planar
from tfp_vae.layers.flow import FlowLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class PlanarFlow(FlowLayer):
    """`z = f_K(... f_1(loc + scale * eps))` with planar maps `f(z) = z + v tanh(w'z + b)`.

    A posterior that bends: `log q(z) = log N(z_0; loc, scale^2) - sum_k log |det f_k'|`, at no more
    than O(K d) a draw. All parameters come from the input. Draws are reparameterized; `log_prob`
    holds for any z. There is no closed form of mean or KL: what stands for the posterior, in
    `VAE.reconstruct`, is the image of the base's mean.

    Shapes: input `[..., 2 d + K (2 d + 1)]`: d locations, d scales before their softplus, then for
    each map u `[d]`, of which v is made so that the map has an inverse, w `[d]` and b; batch
    `[...]`, event `[d]`; as a tensor a draw, unless `convert_to_tensor_fn` says otherwise.

    Args:
      event_size: d.
      num_flows: K, at least 1.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_scale: scales of the base below it are raised to it.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`, by
        Monte Carlo.

    Raises:
      InputError: there is not at least one flow, or the last axis of the input is not
        `params_size(event_size, num_flows)`.

    Source: Rezende and Mohamed, arXiv:1505.05770.

    Example:
      >>> q = PlanarFlow(2, 4, seed=1)(tf.ones([1, PlanarFlow.params_size(2, 4)]))
      >>> z = q.sample(3)
      >>> bool(tf.reduce_all(abs(q.log_prob(z) - q.log_prob(z.numpy())) < 1e-4))
      True
    """

    def maps(self, params: tf.Tensor) -> list[tfb.Bijector]:
        each = tf.split(params, self.num_flows, axis=-1)
        parts = [tf.split(own, [self.event_size, self.event_size, 1], axis=-1) for own in each]
        return [Planar(u, w, b[..., 0], validate_args=self.validate_args) for u, w, b in parts]

    @staticmethod
    @checked
    def params_size(event_size: int, num_flows: int, name: str | None = None) -> int:  # type: ignore[override]
        """The base's two for each dimension, then u, w and b of each map."""
        del name
        return 2 * int(event_size) + int(num_flows) * (2 * int(event_size) + 1)

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.event_size, self.num_flows)
