"""The mean of several importance-weighted bounds."""

from __future__ import annotations

import keras

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.importance_weighted import ImportanceWeighted


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
