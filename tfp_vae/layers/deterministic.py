"""No noise at all: a point mass, for autoencoders."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.base.parametric import IndependentLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class Deterministic(IndependentLayer):
    """All probability at `x = t`: log_prob is 0 there and -inf elsewhere.

    For an encoder or a decoder without noise, fitted by a distance, such as `loss="mse"`. The
    log_prob has no gradient, so the layer is no likelihood for `tfp_vae.VAE`.

    Shapes: input `[..., n]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a tensor
    t itself, with its gradient.

    Source: `tfd.Deterministic`.

    Example:
      >>> p = Deterministic(2)(tf.constant([[1., 2.]]))
      >>> p.numpy().tolist(), p.log_prob([[1., 2.]]).numpy().tolist()
      ([[1.0, 2.0]], [0.0])
    """

    is_random = False
    has_density = False
    fast_under_xla = True

    @classmethod
    def each(cls, loc: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        return tfd.Deterministic(loc, validate_args=validate_args)
