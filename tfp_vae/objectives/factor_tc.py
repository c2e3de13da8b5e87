"""The ELBO with a total correlation that a critic estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.critic import WithCritic, critic_of_vectors, mean_over_draws
from tfp_vae.objectives.draw_axis import folded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_zero, now, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class FactorTC(WithCritic):
    """`-E_q[log p(x|z)] + beta KL + weight TC`, the total correlation TC by a critic D.

    `TC = KL[q(z) || prod_j q(z_j)] = E_q[log q(z) - log prod_j q(z_j)]`, of which D(z) is the
    log-ratio: the critic's own loss, `softplus(-D(z)) + softplus(D(z'))`, tells draws z of the
    aggregate posterior from z', whose dimensions are each permuted over the batch on their own.
    Each loss reaches the weights of its own player alone. `tc` is the metric of the mean D(z), in
    nats, and `critic` that of the critic's loss, 2 log 2 where it cannot tell z from z'.

    Args:
      critic: a network from z to one number, D(z); None: two dense layers of 64.
      weight: of the total correlation, gamma in the paper: a number, a variable or a schedule.
      beta: of the KL, likewise.

    Raises:
      InputError: z is not a vector, or the critic does not take z or give one number.

    Source: Kim and Mnih, arXiv:1802.05983.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> undecided = keras.Sequential(
      ...     [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
      >>> p = tfd.MultivariateNormalDiag(tf.zeros(2))
      >>> forward = ForwardPass(p, p, z=tf.zeros([1, 4, 2]), log_likelihood=tf.zeros([1, 4]))
      >>> terms = FactorTC(undecided)(forward)
      >>> [round(float(terms.more[name][0]), 3) for name in ("tc", "critic")]
      [0.0, 1.386]
    """

    metric_names = ("tc", "critic")

    @checked
    def __init__(
        self,
        critic: keras.Model | None = None,
        weight: Scheduled = 10.0,
        beta: Scheduled = 1.0,
    ) -> None:
        self.critic = critic
        self.weight = weight
        self.beta = beta

    @property
    def needs_density(self) -> bool:
        """Not where the KL has no weight."""
        return not is_zero(self.beta)

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        super().bind(latents)
        shape = tuple(next(iter(latents.values())))
        if len(shape) != 1:
            raise InputError("Expected z to be a vector, of whose dimensions there is a TC.", shape)
        self.critic = critic_of_vectors(shape, self.critic)

    def __call__(self, forward: Forward) -> Terms:
        nll, kl, z = forward.nll, forward.kl, folded(forward.z)
        of_players, own = self.judges(forward)
        ratio = mean_over_draws(forward, of_players(z))
        apart = permuted(z, seed_of_step(forward, 6))
        its = tf.math.softplus(-own(z)) + tf.math.softplus(own(apart))
        its = mean_over_draws(forward, its)
        loss = nll + weighted(kl, self.beta, forward.step)
        loss += now(self.weight, forward.step, nll.dtype) * tf.cast(ratio, nll.dtype)
        return Terms(loss + tf.cast(its, nll.dtype), nll, kl, {"tc": ratio, "critic": its})


def permuted(z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, dimensions]` with each dimension in an order of its own over the batch.

    Example:
      >>> z = tf.constant([[1., 10.], [2., 20.], [3., 30.]])
      >>> np.sort(permuted(z, tf.constant([0, 0])), axis=0).tolist()
      [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]
    """
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(z), seed), axis=0)
    return tf.transpose(tf.gather(tf.transpose(z), tf.transpose(order), batch_dims=1))
