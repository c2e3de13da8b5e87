"""What every objective is: posterior, prior, z and log-likelihood make a loss for each example."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.divergence import kl_divergence
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import ForwardPass
from tfp_vae.replicas import global_batch, of_replica


class Terms(NamedTuple):
    """What an objective makes of one batch, each of shape `[batch]`, in nats.

    Attributes:
      loss: what is minimized.
      nll: `-E_q[log p(x|z)]`.
      kl: `KL[q(z|x) || p(z)]`, without any weight; None where the posterior has no density.
    """

    loss: tf.Tensor
    nll: tf.Tensor
    kl: tf.Tensor | None


class Objective(abc.ABC):
    """How `VAE` turns a forward pass into a loss. A new one is a subclass with `__call__`.

    Attributes:
      num_samples: how many z are drawn for each example.
      needs_gradient: whether it needs draws of z that carry a gradient.
      weighs_gradients: whether z goes through a `Gate` while training.
      sees_whole_batch: whether an example's loss depends on the others of its batch, and so the
        loss on the size of batches, or at least its noise.
    """

    num_samples: int = 1
    needs_gradient: bool = True
    weighs_gradients: bool = False
    sees_whole_batch: bool = False

    @property
    def needs_density(self) -> bool:
        """Whether it needs `log q(z|x)`, which a point mass (`layers.Deterministic`) has not."""
        return True

    @abc.abstractmethod
    def __call__(self, forward: ForwardPass) -> Terms:
        """The terms for one batch."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in JSON's types."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        """The inverse of `get_config`."""
        return cls(**{key: schedules.from_config(value) for key, value in config.items()})


def nll_and_kl(forward: ForwardPass) -> tuple[tf.Tensor, tf.Tensor | None]:
    """`-E_q[log p(x|z)]` and `KL[q || p]` of each example, in nats."""
    nll = -tf.reduce_mean(forward.log_likelihood, axis=0)
    return nll, kl_of(forward) if forward.has_density else None


def kl_of(forward: ForwardPass) -> tf.Tensor:
    """`KL[q || p]` of each example: in closed form, else the mean over the draws of z."""
    kl = kl_divergence(
        forward.posterior, forward.prior, lambda: forward.z, log_q=forward.log_posterior
    )
    return mean_over_draws(kl, forward)


def mean_over_draws(kl: tf.Tensor, forward: ForwardPass) -> tf.Tensor:
    """A KL of each example, which by Monte Carlo is there for each draw of z too; else itself."""
    drawn = kl.shape.rank == forward.log_likelihood.shape.rank
    return tf.reduce_mean(kl, axis=0) if drawn else kl


def draws_of_its_own(forward: ForwardPass, number: int) -> tf.Tensor:
    """Draws from q like z, and independent of it: other ones for each step and number."""
    seed = seed_of_step(forward, number)
    return forward.posterior.sample(forward.z.shape[0], seed=seed)


def seed_of_step(forward: ForwardPass, number: int, of_all: bool = False) -> tf.Tensor:
    """Other draws at each step and on each replica, the same when a run is repeated or resumed.

    `of_all`: the same on all replicas.
    """
    seed = tf.stack([tf.cast(forward.step, tf.int32), number])
    return seed if of_all else of_replica(seed)


def batch_mean(values: tf.Tensor, forward: ForwardPass) -> tf.Tensor:
    """The mean over the examples of all replicas, weighed as the loss is: 0 counts nothing."""
    values = global_batch(values)
    if forward.weights is None:
        return tf.reduce_mean(values, axis=0)
    weights = tf.cast(global_batch(forward.weights), values.dtype)
    total = tf.tensordot(weights, values, [[0], [0]])
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights))


def weighted(kl: tf.Tensor | None, weight: Any, step: Any) -> tf.Tensor | float:
    """`weight * kl` at a step, where there is a KL."""
    return 0.0 if kl is None else now(weight, step, kl.dtype) * kl


def now(value: Any, step: Any, dtype: Any) -> tf.Tensor:
    """A number or schedule at a step."""
    return tf.cast(schedules.value_at(value, step), dtype)


def is_zero(value: Any) -> bool:
    """Whether it is the number 0, at each step."""
    return isinstance(value, (int, float)) and value == 0


def independent_base(distribution: tfd.Distribution) -> tfd.Distribution:
    """The distributions of the single latent dimensions, `[..., dimensions]`.

    Raises:
      InputError: the dimensions are not independent, or not one axis.
    """
    distribution = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.loc, distribution.stddev())
    if isinstance(distribution, tfd.Independent) and distribution.event_shape.rank == 1:
        return distribution.distribution
    raise InputError(
        "Expected a posterior and a prior over vectors whose dimensions are independent, such as "
        "IndependentNormal and a unit normal.",
        f"a {distribution.name}, event shape {distribution.event_shape}",
    )
