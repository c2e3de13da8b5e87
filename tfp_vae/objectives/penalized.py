"""The ELBO with a term that looks at all posteriors of a batch together.

The size of the batch, which is another for the last one of an epoch, is not to change what a term
estimates. So the estimate is without bias where that can be, and is left out of a batch that is too
small to say anything of it.
"""

from __future__ import annotations

import abc

import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_zero, now, weighted
from tfp_vae.schedules import Scheduled


class Penalized(Objective):
    """`-E_q[log p(x|z)] + beta KL + weight * penalty`; a subclass says which in `penalty`.

    Attributes:
      beta: the weight of the KL: a number, a variable or a schedule over training steps.
      weight: of the penalty, likewise.
    """

    sees_whole_batch = True

    @checked
    def __init__(self, beta: Scheduled, weight: Scheduled) -> None:
        self.beta = beta
        self.weight = weight

    @property
    def needs_density(self) -> bool:
        """False where the KL has no weight."""
        return not is_zero(self.beta)

    def __call__(self, forward: Forward) -> Terms:
        nll, kl = forward.nll, forward.kl
        penalty = self.penalty(forward)
        weight = now(self.weight, forward.step, penalty.dtype)
        return Terms(nll + weighted(kl, self.beta, forward.step) + weight * penalty, nll, kl)

    @abc.abstractmethod
    def penalty(self, forward: Forward) -> tf.Tensor:
        """Returns a scalar for the batch."""


def at_least(least: int, batch: tf.Tensor, penalty: tf.Tensor) -> tf.Tensor:
    """Returns the penalty, or 0 without a gradient of a batch with fewer examples than `least`."""
    return tf.where(batch < least, tf.zeros_like(penalty), penalty)


def from_prior(forward: Forward, z: tf.Tensor, number: int = 0) -> tf.Tensor:
    """Returns as many draws from the prior as there are of z, the same on all replicas."""
    seed = seed_of_step(forward, number, of_all=True)
    return forward.only.draws_from_p(seed, beside=z)


def as_rows(z: tf.Tensor) -> tf.Tensor:
    """Returns `[samples, batch, ...]` as `[samples * batch, dimensions]`."""
    return tf.reshape(z, [-1, z.shape[2:].num_elements()])
