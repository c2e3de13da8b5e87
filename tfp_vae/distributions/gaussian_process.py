"""The output of a Gaussian process layer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class GaussianProcessOutput(tfd.TransformedDistribution):
    """A variational Gaussian process `[*event_shape, points]` with its last two axes swapped."""

    @property
    def process(self) -> tfd.VariationalGaussianProcess:
        """The process before its axes were swapped."""
        return self.distribution.distribution

    def variational_loss(self, observations: Any, kl_weight: Any = 1.0) -> tf.Tensor:
        """Returns the negative ELBO of y `[points, *event_shape]` in nats, for each output.

        `-sum_i E_q[log N(y_i; f_i, noise)] + kl_weight KL[q(u) || p(u)]`, in closed form. (TFP's
        own counts the noise twice, which adds half a nat for each point.)
        """
        y = tf.cast(observations, self.dtype)
        if y.shape.rank == 1 and self.process.batch_shape == [1]:
            y = y[:, tf.newaxis]  # as Keras does for its own losses
        noise = tf.convert_to_tensor(self.process.observation_noise_variance)
        variance = self.process.variance() - noise
        expected = tfd.Normal(self.process.mean(), tf.sqrt(noise)).log_prob(
            self.bijector.inverse(y)
        ) - variance / (2 * noise)
        kl = self.surrogate_posterior_kl_divergence_prior()
        return kl_weight * kl - tf.reduce_sum(expected, axis=-1)

    def surrogate_posterior_kl_divergence_prior(self, name: str | None = None) -> tf.Tensor:
        """Returns `KL[q(u) || p(u)]` at the inducing points, for each output, in nats."""
        return self.process.surrogate_posterior_kl_divergence_prior(name=name)

    def _variance(self) -> tf.Tensor:
        return self.bijector.forward(self.process.variance())

    def _stddev(self) -> tf.Tensor:
        return tf.sqrt(self._variance())
