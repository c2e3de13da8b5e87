"""The ELBO with a term that makes latent dimensions uncorrelated, of variance 1."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.penalized import Penalized, at_least
from tfp_vae.objectives.unbiased_covariance import covariance_and_square
from tfp_vae.schedules import Scheduled

_MOMENTS = "DIP is of moments: expected a posterior over vectors that has them in closed form."


@keras.saving.register_keras_serializable(package="tfp_vae")
class DIP(Penalized):
    """The ELBO `+ weight (sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2)`, C a covariance.

    C is over the data: of the posterior means (kind 1), or of z (kind 2), where the mean of the
    posterior covariances is added. Kumar et al., arXiv:1711.00848.

    C and its square are estimated without bias from the batch, by products over different
    examples: the penalty is right on average whatever the size of the batch, and may lie below 0.
    (The square of the batch's own covariance, as in published code, is too large by about
    C_ii C_jj / batch for each pair.) The penalty of a batch of less than four examples is 0.

    Args:
      weight: of the off-diagonal part: a number, a variable or a schedule.
      diagonal: of the diagonal part, relative to `weight`.
      kind: 1 or 2.
      beta: the weight of the KL.

    Raises:
      InputError: `kind` is neither, or the posterior is not over vectors, with a mean (kind 2: and
        a covariance) in closed form.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> loc = tf.constant([[1., 1.], [1., 1.], [-1., -1.], [-1., -1.]])
      >>> q = tfd.Independent(tfd.Normal(loc, 1.), 1)
      >>> forward = ForwardPass(q, None, z=loc[tf.newaxis], log_likelihood=tf.zeros([1, 4]))
      >>> round(float(DIP(kind=1, diagonal=0.).penalty(forward)), 3)  # C_12^2 twice, each 8/3
      5.333
    """

    @checked
    def __init__(
        self,
        weight: Scheduled = 10.0,
        diagonal: float = 10.0,
        kind: int = 2,
        beta: Scheduled = 1.0,
    ) -> None:
        super().__init__(beta, weight)
        if kind not in (1, 2):
            raise InputError("Expected kind to be 1 or 2.", kind)
        self.diagonal = diagonal
        self.kind = kind

    def penalty(self, forward: Forward) -> tf.Tensor:
        mean, within = self._moments(forward.posterior)
        covariance, square = covariance_and_square(mean, within)
        diagonal, diagonal_square = tf.linalg.diag_part(covariance), tf.linalg.diag_part(square)
        off = tf.reduce_sum(square) - tf.reduce_sum(diagonal_square)
        from_one = tf.reduce_sum(diagonal_square - 2 * diagonal + 1)
        return at_least(4, tf.shape(mean)[0], off + self.diagonal * from_one)

    def _moments(self, posterior: tfd.Distribution) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the means `[batch, d]`, and for kind 2 the covariances `[batch, d, d]`."""
        try:
            mean = posterior.mean()
            within = _covariance(posterior) if self.kind == 2 else None
        except NotImplementedError as error:
            raise InputError(_MOMENTS, f"a {posterior.name}") from error
        if mean.shape.rank != 2:
            raise InputError(_MOMENTS, f"a {posterior.name} over {posterior.event_shape}")
        return global_batch(mean), None if within is None else global_batch(within)


def _covariance(distribution: tfd.Distribution) -> tf.Tensor:
    """Returns `[batch, d, d]`, also of a `tfd.Independent`, for which TFP has none."""
    inner = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(inner, tfd.Independent):
        return tf.linalg.diag(inner.variance())
    return inner.covariance()
