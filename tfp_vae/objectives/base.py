"""What every objective is: posterior, prior, z and log-likelihood make a loss for each example."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.divergence import kl_divergence
from tfp_vae.errors import InputError


class Terms(NamedTuple):
    """What an objective makes of one batch, each of shape `[batch]`, in nats.

    Attributes:
      loss: what is minimized.
      nll: `-E_q[log p(x|z)]`.
      kl: `KL[q(z|x) || p(z)]`, without any weight.
    """

    loss: tf.Tensor
    nll: tf.Tensor
    kl: tf.Tensor


class Objective(abc.ABC):
    """How `VAE` turns a forward pass into a loss. A new one is a subclass with `__call__`.

    Attributes:
      num_samples: how many z are drawn for each example.
    """

    num_samples: int = 1

    @abc.abstractmethod
    def __call__(
        self,
        posterior: tfd.Distribution,
        prior: tfd.Distribution,
        z: tf.Tensor,
        log_likelihood: tf.Tensor,
        step: Any,
    ) -> Terms:
        """The terms for one batch.

        Args:
          posterior: q(z|x), batch `[batch]`.
          prior: p(z), batch `[]`.
          z: draws from q, `[num_samples, batch, ...]`.
          log_likelihood: `log p(x|z)`, `[num_samples, batch]`, in nats.
          step: training steps so far, for schedules.
        """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in JSON's types."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        """The inverse of `get_config`."""
        return cls(**{key: schedules.from_config(value) for key, value in config.items()})


def nll_and_kl(
    posterior: tfd.Distribution, prior: tfd.Distribution, z: tf.Tensor, log_likelihood: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`-E_q[log p(x|z)]` and `KL[q || p]` of each example, in nats."""
    kl = kl_divergence(posterior, prior, points=lambda: z)
    if kl.shape.rank == log_likelihood.shape.rank:  # Monte Carlo: one value for each sample
        kl = tf.reduce_mean(kl, axis=0)
    return -tf.reduce_mean(log_likelihood, axis=0), kl


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
