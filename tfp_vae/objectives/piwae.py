"""One importance-weighted bound for the decoder, and others for the encoder."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.gradient_estimators import Weights
from tfp_vae.objectives.importance_weighted import ImportanceWeighted, log_mean_exp


@keras.saving.register_keras_serializable(package="tfp_vae")
class PIWAE(ImportanceWeighted):
    """The decoder follows IWAE with M K samples, the encoder MIWAE with M bounds of K.

    More samples in a bound make a better target for the decoder, and a noisier gradient for the
    encoder: each gets its own, from one pass. The loss is IWAE's. Rainforth et al.,
    arXiv:1802.04537. A prior that is trained goes with the decoder.

    Args:
      num_bounds: M.
      num_samples_each: K.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = p = tfd.Normal([0.], 1.)
      >>> forward = ForwardPass(q, p, tf.zeros([4, 1]), tf.math.log([[.1], [.3], [.2], [.2]]))
      >>> round(float(PIWAE(2, 2)(forward).loss[0]), 4)
      1.6094
    """

    @checked
    def __init__(self, num_bounds: int = 5, num_samples_each: int = 5) -> None:
        super().__init__(num_bounds, num_samples_each, 0.0, "plain")
        self.weighs_gradients = True

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        return log_mean_exp(log_weights)

    def gradient_weights(self, log_weights: tf.Tensor, step: Any) -> Weights:
        slopes, _ = self.slopes(log_weights, step)
        return Weights(tf.nn.softmax(log_weights, axis=0), slopes, slopes)
