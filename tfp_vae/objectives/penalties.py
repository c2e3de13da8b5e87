"""The ELBO with a term that looks at all posteriors of a batch together.

The size of the batch, which is another for the last one of an epoch, is not to change what a term
estimates: it is estimated without bias where that can be, and left out of a batch that is too small
to say anything of it.
"""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.errors import InputError
from tfp_vae.objectives import unbiased
from tfp_vae.objectives.base import (
    Objective,
    Terms,
    is_zero,
    nll_and_kl,
    now,
    seed_of_step,
    weighted,
)
from tfp_vae.objectives.forward import Forward
from tfp_vae.schedules import Scheduled

_MOMENTS = "DIP is of moments: expected a posterior over vectors that has them in closed form."


class Penalized(Objective):
    """`-E_q[log p(x|z)] + beta KL + weight * penalty`; a subclass says which in `penalty`.

    Attributes:
      beta: the weight of the KL: a number, a variable or a schedule over training steps.
      weight: of the penalty, likewise.
    """

    sees_whole_batch = True

    @checked
    def __init__(self, beta: Scheduled, weight: Scheduled) -> None:
        self.beta = beta
        self.weight = weight

    @property
    def needs_density(self) -> bool:
        """Not where the KL has no weight."""
        return not is_zero(self.beta)

    def __call__(self, forward: Forward) -> Terms:
        nll, kl = nll_and_kl(forward)
        penalty = self.penalty(forward)
        weight = now(self.weight, forward.step, penalty.dtype)
        return Terms(nll + weighted(kl, self.beta, forward.step) + weight * penalty, nll, kl)

    @abc.abstractmethod
    def penalty(self, forward: Forward) -> tf.Tensor:
        """A scalar for the batch."""

    def get_config(self) -> dict[str, Any]:
        return {key: schedules.to_config(getattr(self, key)) for key in ("beta", "weight")}


@keras.saving.register_keras_serializable(package="tfp_vae")
class DIP(Penalized):
    """The ELBO `+ weight (sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2)`, C a covariance.

    Over the data: of the posterior means (kind 1), or of z, which is that plus the mean of the
    posterior covariances (kind 2): uncorrelated latent dimensions of variance 1. Kumar et al.,
    arXiv:1711.00848.

    C and its square are estimated without bias from the batch, by products over different
    examples: the penalty is then right on average whatever the size of the batch, noisier in a
    small one, and may lie below 0. (The square of the batch's own covariance, as published code has
    it, is too large by about C_ii C_jj / batch for each pair.) It takes four examples: the penalty
    of a smaller batch is 0.

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
        covariance, square = unbiased.covariance_and_square(mean, within)
        diagonal, diagonal_square = tf.linalg.diag_part(covariance), tf.linalg.diag_part(square)
        off = tf.reduce_sum(square) - tf.reduce_sum(diagonal_square)
        from_one = tf.reduce_sum(diagonal_square - 2 * diagonal + 1)
        return _of(off + self.diagonal * from_one, tf.shape(mean)[0], least=4)

    def _moments(self, posterior: tfd.Distribution) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The means `[batch, d]`, and for kind 2 the covariances `[batch, d, d]`."""
        try:
            mean = posterior.mean()
            within = _covariance(posterior) if self.kind == 2 else None
        except NotImplementedError as error:
            raise InputError(_MOMENTS, f"a {posterior.name}") from error
        if mean.shape.rank != 2:
            raise InputError(_MOMENTS, f"a {posterior.name} over {posterior.event_shape}")
        return global_batch(mean), None if within is None else global_batch(within)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "diagonal": self.diagonal, "kind": self.kind}


@keras.saving.register_keras_serializable(package="tfp_vae")
class MMD(Penalized):
    """The ELBO `+ weight MMD^2` of the batch's z and draws from the prior.

    `MMD^2 = E k(z, z') - 2 E k(z, p) + E k(p, p')`, estimated without bias, z and z' of different
    examples: 0 on average where the two agree, and then also below it; the fewer examples a batch
    has, the noisier. One of one example has no such pair: its penalty is 0. The kernel "rbf" is
    `exp(-|a - b|^2 / (2 d))`, "imq" `sum_s c_s / (c_s + |a - b|^2)` with `c_s = 2 d s`, s from 0.1
    to 10, d the latent size. With beta = 0 the Wasserstein autoencoder, Tolstikhin et al.,
    arXiv:1711.01558; with another beta InfoVAE, Zhao et al., arXiv:1706.02262.

    Args:
      weight: of MMD^2: a number, a variable or a schedule.
      kernel: "rbf" or "imq".
      beta: the weight of the KL.

    Raises:
      InputError: the kernel is another word.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> z = tf.random.stateless_normal([1, 500, 2], [0, 1])
      >>> prior = tfd.MultivariateNormalDiag(tf.zeros(2))
      >>> q = tfd.MultivariateNormalDiag(z[0])
      >>> near, far = (ForwardPass(q, prior, z + by, tf.zeros([1, 500])) for by in (0., 3.))
      >>> float(MMD().penalty(far)) > 0.5, abs(float(MMD().penalty(near))) < 0.02
      (True, True)
    """

    @checked
    def __init__(
        self, weight: Scheduled = 100.0, kernel: str = "imq", beta: Scheduled = 0.0
    ) -> None:
        super().__init__(beta, weight)
        if kernel not in ("rbf", "imq"):
            raise InputError("Expected kernel to be 'rbf' or 'imq'.", kernel)
        self.kernel = kernel

    def penalty(self, forward: Forward) -> tf.Tensor:
        drawn = global_batch(forward.z, axis=1)
        z, p = _flat(drawn), _flat(_from_prior(forward, drawn))
        cross = tf.reduce_mean(self._k(z, p))
        value = self._within(z, drawn.shape[0]) + self._within(p) - 2 * cross
        return _of(value, tf.shape(drawn)[1], least=2)

    def _within(self, a: tf.Tensor, draws: int = 1) -> tf.Tensor:
        """The mean of k over pairs of rows of two different examples, with `draws` rows each."""
        k, rows = self._k(a, a), tf.shape(a)[0]
        each = tf.reshape(k, [draws, rows // draws, draws, rows // draws])
        own = tf.einsum("sbtb->", each)
        n = tf.cast(rows, a.dtype)
        return (tf.reduce_sum(k) - own) / tf.maximum(n * (n - draws), 1)

    def _k(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        square = tf.reduce_sum(tf.math.squared_difference(a[:, tf.newaxis], b), axis=-1)
        d = tf.cast(tf.shape(a)[-1], a.dtype)
        if self.kernel == "rbf":
            return tf.exp(-square / (2 * d))
        scales = [2 * d * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return tf.add_n([c / (c + square) for c in scales])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel": self.kernel}


@keras.saving.register_keras_serializable(package="tfp_vae")
class SlicedWasserstein(Penalized):
    """The ELBO `+ weight SW^2` of the batch's z and draws from the prior.

    `SW^2` is the squared Wasserstein distance in one dimension, of sorted projections, averaged
    over random directions. Kolouri et al., arXiv:1804.01947. Two batches of one distribution are
    apart too, the more the fewer rows they have: the distance of two batches of the prior is taken
    off. So the mean is 0 where z is distributed as the prior, at any batch size (elsewhere it
    depends on that), and the gradient is the published one. Of a batch of one example it is 0.

    Args:
      weight: of SW^2: a number, a variable or a schedule.
      num_projections: how many directions.
      beta: the weight of the KL.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> z = tf.random.stateless_normal([1, 500, 1], [0, 1])
      >>> prior = tfd.MultivariateNormalDiag(tf.zeros(1))
      >>> far = ForwardPass(prior, prior, z + 3., tf.zeros([1, 500]))
      >>> abs(float(SlicedWasserstein().penalty(far)) - 9.) < 0.5
      True
    """

    @checked
    def __init__(
        self, weight: Scheduled = 10.0, num_projections: int = 50, beta: Scheduled = 0.0
    ) -> None:
        super().__init__(beta, weight)
        if num_projections < 1:
            raise InputError("Expected num_projections >= 1.", num_projections)
        self.num_projections = int(num_projections)

    def penalty(self, forward: Forward) -> tf.Tensor:
        drawn = global_batch(forward.z, axis=1)
        z, p, again = map(_flat, (drawn, *(_from_prior(forward, drawn, i) for i in (0, 4))))
        shape = [tf.shape(z)[-1], self.num_projections]
        seed = seed_of_step(forward, 1, of_all=True)
        normal = tf.random.stateless_normal(shape, seed, dtype=z.dtype)
        directions = tf.math.l2_normalize(normal, axis=0)
        one, two, three = (tf.sort(tf.matmul(a, directions), axis=0) for a in (z, p, again))
        apart = tf.math.squared_difference
        value = tf.reduce_mean(apart(one, two) - tf.stop_gradient(apart(two, three)))
        return _of(value, tf.shape(drawn)[1], least=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_projections": self.num_projections}


def _of(penalty: tf.Tensor, batch: tf.Tensor, least: int) -> tf.Tensor:
    """The penalty, or 0 without a gradient where the batch has fewer examples than it takes."""
    return tf.where(batch < least, tf.zeros_like(penalty), penalty)


def _covariance(distribution: tfd.Distribution) -> tf.Tensor:
    """`[batch, d, d]`; TFP has none for an Independent."""
    inner = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(inner, tfd.Independent):
        return tf.linalg.diag(inner.variance())
    return inner.covariance()


def _from_prior(forward: Forward, z: tf.Tensor, number: int = 0) -> tf.Tensor:
    """As many draws as there are of z, the same on all replicas."""
    seed = seed_of_step(forward, number, of_all=True)
    return forward.only.draws_from_p(seed, beside=z)


def _flat(z: tf.Tensor) -> tf.Tensor:
    """`[samples, batch, ...]` as rows."""
    size = z.shape[2:].num_elements()
    return tf.reshape(z, [-1, size])
