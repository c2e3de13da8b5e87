"""The bound of the importance-weighted autoencoder."""

from __future__ import annotations

import keras

from tfp_vae.arguments.rules import checked
from tfp_vae.objectives.importance_weighted import ImportanceWeighted


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
