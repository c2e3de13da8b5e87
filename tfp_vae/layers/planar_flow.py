"""A posterior of planar maps."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_vae.bijectors.planar import Planar
from tfp_vae.layers.flow import FlowLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class PlanarFlow(FlowLayer):
    """`z = f_K(... f_1(loc + scale * eps))` with planar maps `f(z) = z + v tanh(w'z + b)`.

    `log q(z) = log N(z_0; loc, scale^2) - sum_k log |det f_k'|`, at O(K d) a draw. All parameters
    come from the input. Draws are reparameterized; `log_prob` holds for any z. There is no closed
    form of mean or KL: the image of the base's mean stands for the posterior.

    Shapes: input `[..., 2 d + K (2 d + 1)]`: d locations, d scales before their softplus, then for
    each map u `[d]`, w `[d]` and b, with v made of u so that the map has an inverse; batch `[...]`,
    event `[d]`; as a tensor a draw.

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
    def params_size(event_size: int, num_flows: int, name: str | None = None) -> int:
        return 2 * int(event_size) + int(num_flows) * (2 * int(event_size) + 1)
