"""Objectives: how posterior, prior, z and log-likelihood make a loss for each example."""

from __future__ import annotations

import abc
import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.divergence import kl_divergence
from tfp_vae.schedules import Scheduled


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


@keras.saving.register_keras_serializable(package="tfp_vae")
class ELBO(Objective):
    """`-E_q[log p(x|z)] + beta KL[q(z|x) || p(z)]`: at beta = 1 the negative ELBO.

    Kingma and Welling, arXiv:1312.6114; beta other than 1: Higgins et al., beta-VAE (ICLR 2017).
    The KL is in closed form where TFP registers one, else by Monte Carlo at the decoder's z.

    Args:
      beta: the weight of the KL: a number, a variable, or a schedule over training steps, such as
        `tfp_vae.schedules.warm_up(1000)`.

    Example:
      >>> q, p = tfd.Normal([1.], 1.), tfd.Normal(0., 1.)
      >>> ELBO(beta=2.)(q, p, tf.zeros([1, 1]), tf.fill([1, 1], -3.), step=0).loss.numpy().tolist()
      [4.0]
    """

    def __init__(self, beta: Scheduled = 1.0) -> None:
        self.beta = beta

    def __call__(
        self,
        posterior: tfd.Distribution,
        prior: tfd.Distribution,
        z: tf.Tensor,
        log_likelihood: tf.Tensor,
        step: Any,
    ) -> Terms:
        nll, kl = _nll_and_kl(posterior, prior, z, log_likelihood)
        beta = tf.cast(schedules.value_at(self.beta, step), kl.dtype)
        return Terms(nll + beta * kl, nll, kl)

    def get_config(self) -> dict[str, Any]:
        return {"beta": schedules.to_config(self.beta)}


@keras.saving.register_keras_serializable(package="tfp_vae")
class IWAE(Objective):
    """`-log 1/K sum_k p(x, z_k) / q(z_k|x)`: a tighter bound on -log p(x) the more samples.

    Burda et al., arXiv:1509.00519. With one sample it is the Monte Carlo ELBO. `nll` and `kl` are
    those of the ELBO on the same samples.

    Args:
      num_samples: K.

    Example:
      >>> q = p = tfd.Normal([0.], 1.)
      >>> log_likelihood = tf.math.log([[0.1], [0.3]])
      >>> round(float(IWAE(2)(q, p, tf.zeros([2, 1]), log_likelihood, step=0).loss[0]), 4)
      1.6094
    """

    def __init__(self, num_samples: int = 5) -> None:
        if num_samples < 1:
            raise ValueError(f"Expected num_samples >= 1. Received: {num_samples}")
        self.num_samples = num_samples

    def __call__(
        self,
        posterior: tfd.Distribution,
        prior: tfd.Distribution,
        z: tf.Tensor,
        log_likelihood: tf.Tensor,
        step: Any,
    ) -> Terms:
        log_weights = log_likelihood + prior.log_prob(z) - posterior.log_prob(z)
        bound = log_mean_exp(log_weights)
        return Terms(-bound, *_nll_and_kl(posterior, prior, z, log_likelihood))

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples}


def log_mean_exp(log_weights: tf.Tensor) -> tf.Tensor:
    """`log 1/K sum_k exp(log_weights[k])` over the first axis."""
    return tf.reduce_logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def _nll_and_kl(
    posterior: tfd.Distribution, prior: tfd.Distribution, z: tf.Tensor, log_likelihood: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    kl = kl_divergence(posterior, prior, points=lambda: z)
    if kl.shape.rank == log_likelihood.shape.rank:  # Monte Carlo: one value for each sample
        kl = tf.reduce_mean(kl, axis=0)
    return -tf.reduce_mean(log_likelihood, axis=0), kl
