"""The bound between the ELBO and that of the importance-weighted autoencoder."""

from __future__ import annotations

import keras

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.importance_weighted import ImportanceWeighted
from tfp_vae.schedules import Scheduled


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
