"""Bounds by importance sampling, tighter than the ELBO."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives import gradient_estimators
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_zero, now
from tfp_vae.schedules import Scheduled

ESTIMATORS = ("plain", "stl", "dreg", "vimco")


class ImportanceWeighted(Objective):
    """A bound on log p(x) from the weights `w_mk = p(x, z_mk) / q(z_mk|x)`, in nats.

    `beta 1/MK sum_mk log w_mk + (1 - beta) 1/M sum_m log 1/K sum_k w_mk`: a subclass leaves some of
    M, K and beta to its user. `nll` and `kl` are those of the ELBO on the same samples.

    Args:
      num_bounds: M.
      num_samples_each: K.
      beta: a number in 0..1, a variable or a schedule.
      estimator: of the gradient. "plain": that of the bound itself. "stl": sticking the landing,
        without the score, for K = 1 (Roeder et al., arXiv:1703.09194). "dreg": doubly
        reparameterized, the same for any K (Tucker et al., arXiv:1810.04152). Both have the mean of
        "plain", and less variance. "vimco": for z that carry no gradient, as from a
        `OneHotCategorical` (Mnih and Rezende, arXiv:1602.06725), K at least 2.

    Raises:
      InputError: a number is below 1, beta is outside 0..1, or the estimator is no such word or not
        for this K.
    """

    takes_several = True

    @checked
    def __init__(
        self, num_bounds: int, num_samples_each: int, beta: Scheduled, estimator: str
    ) -> None:
        self.num_bounds = int(num_bounds)
        self.num_samples_each = int(num_samples_each)
        self.num_samples = self.num_bounds * self.num_samples_each
        self.beta = beta
        self.estimator = estimator
        if isinstance(beta, (int, float)) and not 0 <= beta <= 1:
            raise InputError("Expected beta, the share of the ELBO, in 0..1.", beta)
        if estimator not in ESTIMATORS:
            raise InputError(f"Expected estimator to be one of {ESTIMATORS}.", repr(estimator))
        if estimator == "stl" and self.num_samples_each > 1:
            raise InputError(
                "Sticking the landing has the right mean with one sample in each logarithm, as in "
                "MIWAE(M, 1): expected estimator='dreg' for more.",
                f"estimator='stl' with {self.num_samples_each} samples",
            )
        if estimator == "vimco" and self.num_samples_each < 2:
            raise InputError("VIMCO compares samples: expected at least 2.", self.num_samples_each)
        self.needs_gradient = estimator != "vimco"
        self.weighs_gradients = estimator != "plain"

    def __call__(self, forward: Forward) -> Terms:
        nll, kl, log_weights = forward.nll, forward.kl, forward.log_weights
        bound = self.bound(log_weights, forward.step)
        if forward.gate is not None:
            weights = self.gradient_weights(log_weights, forward.step)
            bound = gradient_estimators.surrogate(forward, bound, weights)
        return Terms(-bound, nll, kl)

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        """Returns the bound on log p(x), `[batch]`, of the log-weights, `[M K, batch]`."""
        inside = tf.reduce_mean(log_mean_exp(self._groups(log_weights), axis=1), axis=0)
        if is_zero(self.beta):
            return inside
        beta = now(self.beta, step, log_weights.dtype)
        return beta * tf.reduce_mean(log_weights, axis=0) + (1 - beta) * inside

    def gradient_weights(self, log_weights: tf.Tensor, step: Any) -> gradient_estimators.Weights:
        """Returns what multiplies each part of the gradient, by the estimator."""
        slopes, curvatures = self.slopes(log_weights, step)
        if self.estimator == "stl":
            return gradient_estimators.sticking_the_landing(slopes)
        if self.estimator == "dreg":
            return gradient_estimators.doubly_reparameterized(slopes, curvatures)
        return gradient_estimators.vimco(
            log_weights, slopes, lambda value: self.bound(value, step), self.num_bounds
        )

    def slopes(self, log_weights: tf.Tensor, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns dL / d log w and d^2 L / d (log w)^2 of each weight, `[M K, batch]`."""
        share = tf.nn.softmax(self._groups(log_weights), axis=1)  # over K
        beta = now(self.beta, step, log_weights.dtype)
        slopes = beta / self.num_samples + (1 - beta) / self.num_bounds * share
        curvatures = (1 - beta) / self.num_bounds * share * (1 - share)
        shape = [self.num_samples, -1]
        return tf.reshape(slopes, shape), tf.reshape(curvatures, shape)

    def _groups(self, log_weights: tf.Tensor) -> tf.Tensor:
        return tf.reshape(log_weights, [self.num_bounds, self.num_samples_each, -1])


def log_mean_exp(log_weights: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Returns `log 1/K sum_k exp(log_weights[k])` over an axis of static size."""
    return tf.reduce_logsumexp(log_weights, axis=axis) - math.log(log_weights.shape[axis])
