"""The loss of a deterministic autoencoder whose decoder is kept smooth."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_zero, now
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class RegularizedAE(Objective):
    """`-log p(x|z) + z_weight |z|^2 / 2 + l2 |theta|^2 + gradient_penalty |dD(z)/dz|^2`.

    For an encoder that ends in `layers.Deterministic`: no noise, no KL. theta are the decoder's
    trained weights, D(z) is the mean of p(x|z). The squared norm of the Jacobian of D is estimated
    without bias by `|d<v, D(z)>/dz|^2` at one random Normal v. All weights 0: a plain autoencoder.
    A prior to draw from is fitted afterwards, by `vae.fit_prior`. Ghosh et al., arXiv:1903.12436.

    Args:
      z_weight: a number, a variable or a schedule over training steps.
      l2: likewise; 0: none.
      gradient_penalty: likewise; 0: none.

    Raises:
      InputError: a weight is negative.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> z = tf.constant([[[3., 4.]]])
      >>> q = tfd.Independent(tfd.Deterministic(z[0]), 1)
      >>> forward = ForwardPass(q, None, z, log_likelihood=tf.zeros([1, 1]))
      >>> RegularizedAE(z_weight=2.)(forward).loss.numpy().tolist()
      [25.0]
    """

    @checked
    def __init__(
        self,
        z_weight: Scheduled = 1e-3,
        l2: Scheduled = 0.0,
        gradient_penalty: Scheduled = 0.0,
    ) -> None:
        self.z_weight = z_weight
        self.l2 = l2
        self.gradient_penalty = gradient_penalty

    @property
    def needs_density(self) -> bool:
        """False: the encoder has no noise."""
        return False

    def __call__(self, forward: Forward) -> Terms:
        nll = forward.nll
        z = tf.reshape(forward.z, [*tf.unstack(tf.shape(forward.z)[:2]), -1])
        square = tf.reduce_mean(tf.reduce_sum(tf.square(z), axis=-1), axis=0)
        loss = nll + now(self.z_weight, forward.step, nll.dtype) * square / 2
        if not is_zero(self.l2):
            weights = [tf.nn.l2_loss(w) * 2 for w in forward.decoder.trainable_weights]
            loss += now(self.l2, forward.step, nll.dtype) * sum(weights)  # of a frozen one: 0
        if not is_zero(self.gradient_penalty):
            penalty = now(self.gradient_penalty, forward.step, nll.dtype)
            loss += penalty * squared_jacobian(forward)
        has_kl = forward.has_density and forward.prior is not None
        return Terms(loss, nll, forward.kl if has_kl else None)


def squared_jacobian(forward: Forward) -> tf.Tensor:
    """Returns an unbiased estimate of `|dD(z)/dz|^2`, `[batch]`, at the first draw of z."""
    assert forward.decode is not None
    z = forward.z[0]
    with tf.GradientTape() as tape:
        tape.watch(z)
        mean = forward.decode(z).mean()
        seed = seed_of_step(forward, 2)
        v = tf.random.stateless_normal(tf.shape(mean), seed, dtype=mean.dtype)
        projected = tf.reduce_sum(mean * v)
    slope = tf.reshape(tape.gradient(projected, z), [tf.shape(z)[0], -1])
    return tf.reduce_sum(tf.square(slope), axis=-1)
