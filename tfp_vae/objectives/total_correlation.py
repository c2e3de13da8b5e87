"""The KL in three parts, each with a weight of its own."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.origins import moved
from tfp_vae.bridge.replicas import global_batch, own_rows
from tfp_vae.distributions.density import log_density
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.dimensions import independent_base
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import now
from tfp_vae.schedules import Scheduled


class Parts(NamedTuple):
    """The mean KL from q to p by Monte Carlo, in three parts, `[batch]` each, in nats.

    Attributes:
      mutual_information: `E log q(z|x) - log q(z)`: of z and the example's number.
      total_correlation: `E log q(z) - sum_j log q(z_j)`: of the latent dimensions.
      dimension_wise: `E sum_j log q(z_j) - log p(z)`: of each dimension to its prior.
    """

    mutual_information: tf.Tensor
    total_correlation: tf.Tensor
    dimension_wise: tf.Tensor


@keras.saving.register_keras_serializable(package="tfp_vae")
class BetaTC(Objective):
    """`-E_q[log p(x|z)] + alpha MI + beta TC + gamma DW`: disentangled by the total correlation.

    The three add up to the KL (see `Parts`). They need the aggregated posterior
    `q(z) = 1/N sum_n q(z|x_n)`, estimated from the batch: `log q(z_i) = logsumexp_j(log W_ij +
    log q(z_i|x_j))`. With "stratified" weights W_ii = 1/N, one other x_j has (N - M) / (N M) and
    the rest 1/M, M = batch - 1: an unbiased estimate of q(z). With "weighted" ones all W are
    1 / (N batch). In nats. Chen et al., arXiv:1802.04942.

    The parts, though not their sum, depend on the size of the batch: the logarithm of an estimate
    is below that of q(z) on average, the more so the smaller the batch; and "weighted" weights
    leave out a factor of about N, so that TC is (d - 1) log N too large for d dimensions. For a
    batch of one example q(z) is taken to be q(z|x): MI and TC are 0, and DW is the KL. A batch of
    more than N examples counts as all data.

    Args:
      num_examples: N, the size of the training set.
      alpha: the weight of MI: a number, a variable or a schedule.
      beta: of TC.
      gamma: of DW.
      sampling: "stratified" or "weighted".

    Raises:
      InputError: `sampling` is another word, N is less than 2, or posterior or prior are not
        independent over the latent dimensions.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = tfd.Independent(tfd.Normal(tf.constant([[1.], [-1.]]), 0.1), 1)
      >>> p = tfd.Independent(tfd.Normal([0.], 1.), 1)
      >>> forward = ForwardPass(q, p, z=q.mean()[tf.newaxis], log_likelihood=tf.zeros([1, 2]))
      >>> parts = BetaTC(num_examples=2).parts(forward)
      >>> [round(float(nats), 3) for nats in parts.mutual_information]  # which of two: log 2
      [0.693, 0.693]
    """

    sees_whole_batch = True

    @checked
    def __init__(
        self,
        num_examples: int,
        alpha: Scheduled = 1.0,
        beta: Scheduled = 6.0,
        gamma: Scheduled = 1.0,
        sampling: str = "stratified",
    ) -> None:
        if num_examples < 2:
            raise InputError("Expected num_examples >= 2: the training set's size.", num_examples)
        if sampling not in ("stratified", "weighted"):
            raise InputError("Expected sampling to be 'stratified' or 'weighted'.", sampling)
        self.num_examples = int(num_examples)
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.sampling = sampling

    def __call__(self, forward: Forward) -> Terms:
        loss, kl = forward.nll, forward.kl
        weights = (self.alpha, self.beta, self.gamma)
        for weight, part in zip(weights, self.parts(forward), strict=True):
            loss += now(weight, forward.step, part.dtype) * part
        return Terms(loss, forward.nll, kl)

    def parts(self, forward: Forward) -> Parts:
        """Returns the three parts of the KL at z, `[samples, batch, dimensions]`."""
        q, p, z = independent_base(forward.posterior), independent_base(forward.prior), forward.z
        each_z = moved(lambda t: global_batch(t, axis=1)[:, :, tf.newaxis], z)
        pairs = global_batch(log_density(q, each_z), axis=2)
        own, batch = tf.shape(z)[1], tf.shape(pairs)[1]
        pairs = own_rows(pairs, own, axis=1)  # [samples, z of i, x of j, dimensions]
        log_w = own_rows(self._log_weights(batch, z.dtype), own)
        log_q_zx = forward.log_posterior()
        log_q_z = tf.reduce_logsumexp(log_w + tf.reduce_sum(pairs, axis=-1), axis=-1)
        each = tf.reduce_logsumexp(log_w[..., tf.newaxis] + pairs, axis=-2)
        log_prod = tf.reduce_sum(each, axis=-1)
        log_p = tf.reduce_sum(log_density(p, z), axis=-1)
        parts = (log_q_zx - log_q_z, log_q_z - log_prod, log_prod - log_p)
        return Parts(*(tf.reduce_mean(part, axis=0) for part in parts))

    def _log_weights(self, batch: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Returns the logarithms of W, `[batch, batch]`."""
        size = tf.cast(batch, dtype)
        n = tf.maximum(tf.cast(self.num_examples, dtype), size)
        n = tf.where(batch > 1, n, tf.ones_like(n))  # one alone is all that is known of q(z)
        if self.sampling == "weighted":
            return tf.fill([batch, batch], -tf.math.log(n * size))
        m = tf.maximum(size - 1, 1)
        own = tf.eye(batch, dtype=dtype)
        other = tf.roll(own, 1, axis=1) * (1 - own)
        w = own / n + other * (n - m) / (n * m) + (1 - own - other) / m
        return tf.math.log(w)
