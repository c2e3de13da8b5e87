"""The autoencoder whose aggregate posterior a critic holds to the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.base import Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.critic import WithCritic, critic_of_vectors, mean_over_draws
from tfp_vae.objectives.draw_axis import folded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import now, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class Adversarial(WithCritic):
    """`-E_q[log p(x|z)] + beta KL + weight softplus(-D(z))`, with a critic D that is trained too.

    The critic's own loss, `softplus(D(z)) + softplus(-D(z'))` with z' drawn from the prior, makes
    D(z) the log-ratio `log p(z) - log q(z)` of prior and aggregate posterior `q(z) = E_x q(z|x)`.
    The encoder learns to put z where D takes z for a draw from the prior: no KL is needed, and the
    posterior may be a point mass. Each loss reaches the weights of its own player alone. The metric
    `critic` is the critic's loss, 2 log 2 where z and z' look the same. Makhzani et al.,
    arXiv:1511.05644.

    Args:
      critic: a network from z to one number, D(z); None: two dense layers of 64.
      weight: of the encoder's adversarial loss: a number, a variable or a schedule.
      beta: of the KL, likewise.

    Raises:
      InputError: the critic does not take z, or does not give one number.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> undecided = keras.Sequential(
      ...     [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
      >>> p = tfd.MultivariateNormalDiag(tf.zeros(1))
      >>> forward = ForwardPass(p, p, z=tf.zeros([1, 4, 1]), log_likelihood=tf.zeros([1, 4]))
      >>> terms = Adversarial(undecided)(forward)
      >>> [round(float(value[0]), 3) for value in (terms.more["critic"], terms.loss)]
      [1.386, 2.079]
    """

    @checked
    def __init__(
        self,
        critic: keras.Model | None = None,
        weight: Scheduled = 1.0,
        beta: Scheduled = 0.0,
    ) -> None:
        self.critic = critic
        self.weight = weight
        self.beta = beta

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        super().bind(latents)
        self.critic = critic_of_vectors(tuple(next(iter(latents.values()))), self.critic)

    def __call__(self, forward: Forward) -> Terms:
        nll, kl, z = forward.nll, forward.kl, folded(forward.z)
        drawn = folded(forward.only.draws_from_p(seed_of_step(forward, 5)))
        of_encoder, own = self.judges(forward)
        softplus = tf.math.softplus
        mine = mean_over_draws(forward, softplus(-of_encoder(z)))
        its = mean_over_draws(forward, softplus(own(z)) + softplus(-own(drawn)))
        loss = nll + weighted(kl, self.beta, forward.step)
        loss += now(self.weight, forward.step, nll.dtype) * tf.cast(mine, nll.dtype)
        return Terms(loss + tf.cast(its, nll.dtype), nll, kl, {"critic": its})
