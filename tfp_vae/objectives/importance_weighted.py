"""Bounds by importance sampling, tighter than the ELBO."""

from __future__ import annotations

import abc
import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms, nll_and_kl
from tfp_vae.schedules import Scheduled


class ImportanceWeighted(Objective):
    """A bound of the weights `w_k = p(x, z_k) / q(z_k|x)`; a subclass says which in `bound`.

    `nll` and `kl` are those of the ELBO on the same samples.
    """

    def __call__(
        self,
        posterior: tfd.Distribution,
        prior: tfd.Distribution,
        z: tf.Tensor,
        log_likelihood: tf.Tensor,
        step: Any,
    ) -> Terms:
        log_weights = log_likelihood + prior.log_prob(z) - posterior.log_prob(z)
        nll, kl = nll_and_kl(posterior, prior, z, log_likelihood)
        return Terms(-self.bound(log_weights, step), nll, kl)

    @abc.abstractmethod
    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        """The bound on log p(x), `[batch]`, of the logarithms of the weights, `[K, batch]`."""


@keras.saving.register_keras_serializable(package="tfp_vae")
class IWAE(ImportanceWeighted):
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
        self.num_samples = at_least_one(num_samples=num_samples)

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        return log_mean_exp(log_weights)

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples}


@keras.saving.register_keras_serializable(package="tfp_vae")
class MIWAE(ImportanceWeighted):
    """`-1/M sum_m log 1/K sum_k w_mk`: the mean of M bounds of IWAE with K samples each.

    The bound of K samples, with gradients of less variance. M = 1 is IWAE, K = 1 the Monte Carlo
    ELBO of M samples. Rainforth et al., arXiv:1802.04537.

    Args:
      num_bounds: M.
      num_samples_each: K.

    Example:
      >>> q = p = tfd.Normal([0.], 1.)
      >>> log_likelihood = tf.math.log([[0.1], [0.3], [0.2], [0.2]])
      >>> round(float(MIWAE(2, 2)(q, p, tf.zeros([4, 1]), log_likelihood, step=0).loss[0]), 4)
      1.6094
    """

    def __init__(self, num_bounds: int = 5, num_samples_each: int = 5) -> None:
        self.num_bounds = at_least_one(num_bounds=num_bounds)
        self.num_samples_each = at_least_one(num_samples_each=num_samples_each)
        self.num_samples = num_bounds * num_samples_each

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        groups = tf.reshape(log_weights, [self.num_bounds, self.num_samples_each, -1])
        return tf.reduce_mean(log_mean_exp(groups, axis=1), axis=0)

    def get_config(self) -> dict[str, Any]:
        return {"num_bounds": self.num_bounds, "num_samples_each": self.num_samples_each}


@keras.saving.register_keras_serializable(package="tfp_vae")
class CIWAE(ImportanceWeighted):
    """`-(beta 1/K sum_k log w_k + (1 - beta) log 1/K sum_k w_k)`: between the ELBO and IWAE.

    Rainforth et al., arXiv:1802.04537.

    Args:
      num_samples: K.
      beta: the share of the ELBO, 0 to 1: a number, or a schedule over training steps.

    Example:
      >>> q = p = tfd.Normal([0.], 1.)
      >>> log_likelihood = tf.math.log([[0.1], [0.3]])
      >>> iwae, elbo = -np.log(0.2), -np.log([0.1, 0.3]).mean()
      >>> loss = CIWAE(2, 0.25)(q, p, tf.zeros([2, 1]), log_likelihood, step=0).loss
      >>> bool(abs(float(loss[0]) - (0.25 * elbo + 0.75 * iwae)) < 1e-6)
      True
    """

    def __init__(self, num_samples: int = 5, beta: Scheduled = 0.5) -> None:
        self.num_samples = at_least_one(num_samples=num_samples)
        self.beta = beta

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        beta = tf.cast(schedules.value_at(self.beta, step), log_weights.dtype)
        elbo = tf.reduce_mean(log_weights, axis=0)
        return beta * elbo + (1 - beta) * log_mean_exp(log_weights)

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples, "beta": schedules.to_config(self.beta)}


def log_mean_exp(log_weights: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """`log 1/K sum_k exp(log_weights[k])` over an axis of static size."""
    return tf.reduce_logsumexp(log_weights, axis=axis) - math.log(log_weights.shape[axis])


def at_least_one(**number: int) -> int:
    """The number, if it is at least 1; `InputError` with its name otherwise."""
    ((name, value),) = number.items()
    if value < 1:
        raise InputError(f"Expected {name} >= 1.", value)
    return int(value)
