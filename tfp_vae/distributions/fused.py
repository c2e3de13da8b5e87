"""log p(x|z) of many draws of z in one compiled loop, which reads the logits once.

Otherwise most of the time of an estimate of log p(x), beside the decoder's matrix products, goes
into one pass through memory for each operation on each pixel.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.distributions.fast import Bernoulli, bernoulli_terms

_FACTORS = 16  # of a product, each at most 2, that one logarithm is taken of


def can_fuse(likelihood: tfd.Distribution) -> bool:
    """Returns whether `log_likelihood` applies: independent Bernoulli variables, one event."""
    if isinstance(likelihood, TensorCoercible):
        likelihood = likelihood.tensor_distribution
    return (
        isinstance(likelihood, tfd.Independent)
        and isinstance(likelihood.distribution, Bernoulli)
        and not (likelihood.validate_args or likelihood.distribution.validate_args)
        and likelihood.batch_shape.rank == 1
        and likelihood.event_shape.is_fully_defined()
        and likelihood.distribution.dtype.is_floating
        and likelihood.distribution.logits is not None
    )


def log_likelihood(likelihood: Any, x: tf.Tensor, num_samples: Any) -> tf.Tensor:
    """Returns `log p(x|z)`, `[num_samples, n]`, of a likelihood of batch `[num_samples * n]`.

    XLA compiles the loop for each shape.
    """
    size = likelihood.event_shape.num_elements()
    logits = tf.reshape(likelihood.distribution.logits, [num_samples, -1, size])
    return _compiled(logits, tf.reshape(x, [-1, size]))


@tf.function(jit_compile=True, autograph=False)
def _compiled(logits: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    return bernoulli(logits, bits)


def bernoulli(logits: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns `sum_i (x_i - 1/2) t_i - |t_i| / 2 - log(1 + exp(-|t_i|))` over the last axis.

    Several pixels share the logarithm of the product of their `1 + exp(-|t|)`.
    """
    size = logits.shape[-1]
    factors = next(n for n in range(_FACTORS, 0, -1) if size % n == 0)
    product, rest = 1.0, 0.0
    for t, x in zip(tf.split(logits, factors, -1), tf.split(bits, factors, -1), strict=True):
        linear, factor = bernoulli_terms(x, t)
        product *= factor
        rest += linear
    return tf.reduce_sum(rest - tf.math.log(product), axis=-1)
