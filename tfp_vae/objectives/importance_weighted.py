"""Bounds by importance sampling, tighter than the ELBO."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives import gradients
from tfp_vae.objectives.base import Objective, Terms, is_zero, nll_and_kl, now
from tfp_vae.objectives.forward import Forward
from tfp_vae.schedules import Scheduled

ESTIMATORS = ("plain", "stl", "dreg", "vimco")


class ImportanceWeighted(Objective):
    """Bounds on log p(x) from the weights `w_mk = p(x, z_mk) / q(z_mk|x)`, in nats.

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
      InputError: a number is below 1, beta is one outside 0..1, or the estimator is no such word or
        not for this K.
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
        nll, kl = nll_and_kl(forward)
        log_weights = forward.log_weights
        bound = self.bound(log_weights, forward.step)
        if forward.gate is not None:
            bound = gradients.surrogate(forward, bound, self._weights(log_weights, forward.step))
        return Terms(-bound, nll, kl)

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        """The bound on log p(x), `[batch]`, of the logarithms of the weights, `[M K, batch]`."""
        inside = tf.reduce_mean(log_mean_exp(self._groups(log_weights), axis=1), axis=0)
        if is_zero(self.beta):
            return inside
        beta = now(self.beta, step, log_weights.dtype)
        return beta * tf.reduce_mean(log_weights, axis=0) + (1 - beta) * inside

    def _weights(self, log_weights: tf.Tensor, step: Any) -> gradients.Weights:
        slopes, curvatures = self._slopes(log_weights, step)
        if self.estimator == "stl":
            return gradients.sticking_the_landing(slopes)
        if self.estimator == "dreg":
            return gradients.doubly_reparameterized(slopes, curvatures)
        return gradients.vimco(
            log_weights, slopes, lambda value: self.bound(value, step), self.num_bounds
        )

    def _slopes(self, log_weights: tf.Tensor, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """dL / d log w and d^2 L / d (log w)^2 of each weight, `[M K, batch]`."""
        share = tf.nn.softmax(self._groups(log_weights), axis=1)  # over K
        beta = now(self.beta, step, log_weights.dtype)
        slopes = beta / self.num_samples + (1 - beta) / self.num_bounds * share
        curvatures = (1 - beta) / self.num_bounds * share * (1 - share)
        shape = [self.num_samples, -1]
        return tf.reshape(slopes, shape), tf.reshape(curvatures, shape)

    def _groups(self, log_weights: tf.Tensor) -> tf.Tensor:
        return tf.reshape(log_weights, [self.num_bounds, self.num_samples_each, -1])


@keras.saving.register_keras_serializable(package="tfp_vae")
class IWAE(ImportanceWeighted):
    """`-log 1/K sum_k p(x, z_k) / q(z_k|x)`: a tighter bound on -log p(x) the more samples.

    Burda et al., arXiv:1509.00519. With one sample it is the Monte Carlo ELBO. `nll` and `kl` are
    those of the ELBO on the same samples.

    Args:
      num_samples: K.
      estimator: of the gradient: "plain", "dreg", or "vimco" (see `ImportanceWeighted`).

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = p = tfd.Normal([0.], 1.)
      >>> forward = ForwardPass(q, p, tf.zeros([2, 1]), tf.math.log([[0.1], [0.3]]))
      >>> round(float(IWAE(2)(forward).loss[0]), 4)
      1.6094
    """

    @checked
    def __init__(self, num_samples: int = 5, estimator: str = "plain") -> None:
        super().__init__(1, num_samples, 0.0, estimator)

    def get_config(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples, "estimator": self.estimator}


@keras.saving.register_keras_serializable(package="tfp_vae")
class MIWAE(ImportanceWeighted):
    """`-1/M sum_m log 1/K sum_k w_mk`: the mean of M bounds of IWAE with K samples each.

    The bound of K samples, with gradients of less variance. M = 1 is IWAE, K = 1 the Monte Carlo
    ELBO of M samples. Rainforth et al., arXiv:1802.04537.

    Args:
      num_bounds: M.
      num_samples_each: K.
      estimator: of the gradient: "plain", "stl" (K = 1), "dreg", or "vimco" (see
        `ImportanceWeighted`).

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = p = tfd.Normal([0.], 1.)
      >>> log_likelihood = tf.math.log([[0.1], [0.3], [0.2], [0.2]])
      >>> forward = ForwardPass(q, p, tf.zeros([4, 1]), log_likelihood)
      >>> round(float(MIWAE(2, 2)(forward).loss[0]), 4)
      1.6094
    """

    @checked
    def __init__(
        self, num_bounds: int = 5, num_samples_each: int = 5, estimator: str = "plain"
    ) -> None:
        super().__init__(num_bounds, num_samples_each, 0.0, estimator)

    def get_config(self) -> dict[str, Any]:
        names = ("num_bounds", "num_samples_each", "estimator")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="tfp_vae")
class CIWAE(ImportanceWeighted):
    """`-(beta 1/K sum_k log w_k + (1 - beta) log 1/K sum_k w_k)`: between the ELBO and IWAE.

    Rainforth et al., arXiv:1802.04537.

    Args:
      num_samples: K.
      beta: the share of the ELBO, 0 to 1: a number, a variable or a schedule over training steps.
      estimator: of the gradient: "plain", "dreg", or "vimco" (see `ImportanceWeighted`).

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = p = tfd.Normal([0.], 1.)
      >>> forward = ForwardPass(q, p, tf.zeros([2, 1]), tf.math.log([[0.1], [0.3]]))
      >>> iwae, elbo = -np.log(0.2), -np.log([0.1, 0.3]).mean()
      >>> loss = CIWAE(2, 0.25)(forward).loss
      >>> bool(abs(float(loss[0]) - (0.25 * elbo + 0.75 * iwae)) < 1e-6)
      True
    """

    @checked
    def __init__(
        self, num_samples: int = 5, beta: Scheduled = 0.5, estimator: str = "plain"
    ) -> None:
        super().__init__(1, num_samples, beta, estimator)

    def get_config(self) -> dict[str, Any]:
        beta = schedules.to_config(self.beta)
        return {"num_samples": self.num_samples, "beta": beta, "estimator": self.estimator}


@keras.saving.register_keras_serializable(package="tfp_vae")
class PIWAE(ImportanceWeighted):
    """The decoder follows IWAE with M K samples, the encoder MIWAE with M bounds of K.

    More samples in a bound make a better target for the decoder, and a noisier gradient for the
    encoder: each gets its own, from one pass. The loss is IWAE's. Rainforth et al.,
    arXiv:1802.04537. A prior that is trained goes with the decoder.

    Args:
      num_bounds: M.
      num_samples_each: K.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = p = tfd.Normal([0.], 1.)
      >>> forward = ForwardPass(q, p, tf.zeros([4, 1]), tf.math.log([[.1], [.3], [.2], [.2]]))
      >>> round(float(PIWAE(2, 2)(forward).loss[0]), 4)
      1.6094
    """

    @checked
    def __init__(self, num_bounds: int = 5, num_samples_each: int = 5) -> None:
        super().__init__(num_bounds, num_samples_each, 0.0, "plain")
        self.weighs_gradients = True

    def bound(self, log_weights: tf.Tensor, step: Any) -> tf.Tensor:
        return log_mean_exp(log_weights)

    def _weights(self, log_weights: tf.Tensor, step: Any) -> gradients.Weights:
        slopes, _ = self._slopes(log_weights, step)
        return gradients.Weights(tf.nn.softmax(log_weights, axis=0), slopes, slopes)

    def get_config(self) -> dict[str, Any]:
        return {"num_bounds": self.num_bounds, "num_samples_each": self.num_samples_each}


def log_mean_exp(log_weights: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """`log 1/K sum_k exp(log_weights[k])` over an axis of static size."""
    return tf.reduce_logsumexp(log_weights, axis=axis) - math.log(log_weights.shape[axis])
