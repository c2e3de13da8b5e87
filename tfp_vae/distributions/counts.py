"""Distributions of counts that TFP lacks, or has without draws under XLA."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.construction import settings


class GammaPoisson(tfd.NegativeBinomial):
    """`tfd.NegativeBinomial` with draws that work under XLA.

    TFP draws by TensorFlow's kernels of Gamma and Poisson, which XLA lacks; TFP's own samplers
    compile. The Gamma is drawn as its logarithm, which does not underflow at a small total count.
    """

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        gamma_seed, poisson_seed = tfp_random.split_seed(seed, salt="GammaPoisson")
        logits = self.logits_parameter()
        gamma = tfd.ExpGamma(self.total_count, log_rate=-logits).sample(n, seed=gamma_seed)
        return tfd.Poisson(log_rate=gamma).sample(seed=poisson_seed)


class ZeroInflated(tfd.Distribution):
    """0 with probability sigmoid(logit), else a draw of `counts`, for each value.

    `tfd.Inflated` takes `[t, -t]` for the logits of the two cases: a probability of sigmoid(2 t).

    Example:
      >>> p = ZeroInflated(tf.constant(0.), tfd.Poisson(2.))
      >>> float(p.mean()), round(float(p.prob(0.)), 3)  # 1/2 + 1/2 exp(-2)
      (1.0, 0.568)
    """

    def __init__(
        self,
        logit: Any,
        counts: tfd.Distribution,
        validate_args: bool = False,
        name: str = "ZeroInflated",
    ) -> None:
        parameters = dict(locals())
        self.logit = tf.convert_to_tensor(logit, counts.dtype)
        self.counts = counts
        super().__init__(**settings(parameters, counts.dtype))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {
            "logit": tfp_util.ParameterProperties(),
            "counts": tfp_util.BatchedComponentProperties(),
        }

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        extra, other = tf.math.log_sigmoid(self.logit), tf.math.log_sigmoid(-self.logit)
        counted = other + self.counts.log_prob(x)
        both = tf.reduce_logsumexp(tf.stack([extra + tf.zeros_like(counted), counted]), axis=0)
        return tf.where(x == 0, both, counted)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        count_seed, zero_seed = tfp_random.split_seed(seed, salt="ZeroInflated")
        count = self.counts.sample(n, seed=count_seed)
        extra = tfd.Bernoulli(self.logit, dtype=tf.bool).sample(n, seed=zero_seed)
        return tf.where(extra, tf.zeros_like(count), count)

    def _mean(self) -> tf.Tensor:
        return tf.sigmoid(-self.logit) * self.counts.mean()

    def _variance(self) -> tf.Tensor:
        p, mean = tf.sigmoid(-self.logit), self.counts.mean()
        return p * (self.counts.variance() + (1 - p) * tf.square(mean))
