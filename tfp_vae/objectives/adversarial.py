"""The autoencoder whose aggregate posterior a critic holds to the prior."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.draw_axis import folded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.frozen import frozen
from tfp_vae.objectives.weights import is_zero, now, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class Adversarial(Objective):
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

    metric_names = ("critic",)
    sees_whole_batch = True

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

    @property
    def needs_density(self) -> bool:
        """False where the KL has no weight."""
        return not is_zero(self.beta)

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        return {} if self.critic is None else {"critic": self.critic}

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        super().bind(latents)
        shape = tuple(next(iter(latents.values())))
        if None in shape:
            raise InputError("Expected z of one size, for a critic; sequences have none.", shape)
        if self.critic is None:
            hidden = [keras.layers.Dense(64, activation="silu") for _ in range(2)]
            start = [keras.Input(shape), keras.layers.Flatten()]
            self.critic = keras.Sequential([*start, *hidden, keras.layers.Dense(1)], name="critic")
        if self.critic.input_shape != (None, *shape) or self.critic.output_shape != (None, 1):
            raise InputError(
                f"Expected a critic from z of shape {shape} to one number.",
                f"from {self.critic.input_shape} to {self.critic.output_shape}",
            )

    def __call__(self, forward: Forward) -> Terms:
        assert self.critic is not None
        nll, kl, z = forward.nll, forward.kl, folded(forward.z)
        drawn = folded(forward.only.draws_from_p(seed_of_step(forward, 5)))
        critic = functools.partial(self.critic, training=forward.training)
        of_encoder = tf.math.softplus(-frozen(self.critic, training=forward.training)(z))
        of_critic = tf.math.softplus(critic(tf.stop_gradient(z)))
        of_critic += tf.math.softplus(-critic(tf.stop_gradient(drawn)))
        shape = tf.shape(forward.z)[:2]
        mine, its = (
            tf.reduce_mean(tf.reshape(each, shape), axis=0) for each in (of_encoder, of_critic)
        )
        loss = nll + weighted(kl, self.beta, forward.step)
        loss += now(self.weight, forward.step, nll.dtype) * tf.cast(mine, nll.dtype)
        return Terms(loss + tf.cast(its, nll.dtype), nll, kl, {"critic": its})
