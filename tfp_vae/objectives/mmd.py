"""The ELBO with the kernel distance of a batch's z to the prior."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.penalized import Penalized, as_rows, at_least, from_prior
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class MMD(Penalized):
    """The ELBO `+ weight MMD^2` of the batch's z and draws from the prior.

    `MMD^2 = E k(z, z') - 2 E k(z, p) + E k(p, p')`, estimated without bias, z and z' of different
    examples: 0 on average where the two agree. The penalty of a batch of one example is 0. The
    kernel "rbf" is `exp(-|a - b|^2 / (2 d))`, "imq" `sum_s c_s / (c_s + |a - b|^2)` with
    `c_s = 2 d s`, s from 0.1 to 10, d the latent size. With beta = 0 the Wasserstein autoencoder,
    Tolstikhin et al., arXiv:1711.01558; with another beta InfoVAE, Zhao et al., arXiv:1706.02262.

    Args:
      weight: of MMD^2: a number, a variable or a schedule.
      kernel: "rbf" or "imq".
      beta: the weight of the KL.

    Raises:
      InputError: the kernel is another word.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> z = tf.random.stateless_normal([1, 500, 2], [0, 1])
      >>> prior = tfd.MultivariateNormalDiag(tf.zeros(2))
      >>> q = tfd.MultivariateNormalDiag(z[0])
      >>> near, far = (ForwardPass(q, prior, z + by, tf.zeros([1, 500])) for by in (0., 3.))
      >>> float(MMD().penalty(far)) > 0.5, abs(float(MMD().penalty(near))) < 0.02
      (True, True)
    """

    @checked
    def __init__(
        self, weight: Scheduled = 100.0, kernel: str = "imq", beta: Scheduled = 0.0
    ) -> None:
        super().__init__(beta, weight)
        if kernel not in ("rbf", "imq"):
            raise InputError("Expected kernel to be 'rbf' or 'imq'.", kernel)
        self.kernel = kernel

    def penalty(self, forward: Forward) -> tf.Tensor:
        drawn = global_batch(forward.z, axis=1)
        z, p = as_rows(drawn), as_rows(from_prior(forward, drawn))
        cross = tf.reduce_mean(self._k(z, p))
        value = self._within(z, drawn.shape[0]) + self._within(p) - 2 * cross
        return at_least(2, tf.shape(drawn)[1], value)

    def _within(self, a: tf.Tensor, draws: int = 1) -> tf.Tensor:
        """Returns the mean of k over pairs of rows of different examples, `draws` rows each."""
        k, rows = self._k(a, a), tf.shape(a)[0]
        each = tf.reshape(k, [draws, rows // draws, draws, rows // draws])
        own = tf.einsum("sbtb->", each)
        n = tf.cast(rows, a.dtype)
        return (tf.reduce_sum(k) - own) / tf.maximum(n * (n - draws), 1)

    def _k(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        square = tf.reduce_sum(tf.math.squared_difference(a[:, tf.newaxis], b), axis=-1)
        d = tf.cast(tf.shape(a)[-1], a.dtype)
        if self.kernel == "rbf":
            return tf.exp(-square / (2 * d))
        scales = [2 * d * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return tf.add_n([c / (c + square) for c in scales])
