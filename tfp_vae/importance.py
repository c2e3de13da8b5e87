"""Likelihoods of data under several draws of z: the weights of importance sampling."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import fused, shapes, sparse
from tfp_vae.density import log_density
from tfp_vae.errors import InputError
from tfp_vae.wiring import rows, tile

# Rows that go through the decoder at once: large enough for efficient matrix products, small enough
# that memory stays bounded whatever the number of samples.
_ROWS = 4096


def log_likelihood(
    likelihood: tfd.Distribution, x: Any, num_samples: int | tf.Tensor, by_xla: bool = False
) -> tf.Tensor:
    """`log p(x|z)`, `[num_samples, n]`, of a likelihood whose batch is `[num_samples * n]`.

    The data are tiled, since a likelihood cannot be reshaped (`tfd.BatchReshape` needs static
    shapes); a single x is broadcast. `by_xla`: in one loop, if it is one that `fused` knows.
    """
    x = tf.cast(x, likelihood.dtype)
    shapes.likelihood_fits(likelihood, x)
    if by_xla and fused.can_fuse(likelihood):
        return fused.log_likelihood(likelihood, x, num_samples)
    if x.shape[0] != 1 and not (isinstance(num_samples, int) and num_samples == 1):
        x = tile(x, num_samples)
    values = likelihood.log_prob(x)
    return tf.reshape(values, [num_samples, -1])


def log_weights(
    vae: Any,
    x: tf.Tensor,
    conditions: Any,
    posterior: tfd.Distribution,
    num_samples: Any,
    by_xla: bool = False,
) -> tf.Tensor:
    """`log p(x|z_k) + log p(z_k) - log q(z_k|x)`, `[num_samples, n]`, z_k drawn from q."""
    shapes.posterior_fits(posterior)
    prior = vae.prior.distribution()
    shapes.prior_fits(prior, posterior)
    z = posterior.sample(num_samples)
    flat = tf.reshape(z, tf.concat([[-1], tf.shape(z)[2:]], axis=0))
    flat.set_shape([None, *z.shape[2:]])
    tiled = {name: tile(tf.convert_to_tensor(c), num_samples) for name, c in conditions.items()}
    log_p_x = log_likelihood(vae.decode(flat, tiled), x, num_samples, by_xla)
    shapes.dtypes_fit(log_p_x, posterior)
    return log_p_x + log_density(prior, z) - posterior.log_prob(z)


def estimate_batch(
    vae: Any,
    data: tuple[Any, ...],
    num_samples: tf.Tensor,
    by_xla: bool = False,
) -> tf.Tensor:
    """`log 1/K sum_k w_k` for one batch, the samples taken in chunks and summed as they come.

    The data are x, its conditions, and what the likelihood is over where that is not x.
    """
    x, conditions, *target = data
    posterior = vae.encode(x if not conditions else {"x": x, **conditions})
    if not getattr(vae.posterior_layer, "is_random", True):
        num_samples = tf.ones_like(num_samples)  # a mean of weights that are all the same
    count = tf.shape(x)[0]
    chunk = tf.maximum(_ROWS // tf.maximum(count, 1), 1)
    chunk = -(-num_samples // -(-num_samples // chunk))  # all of about the same size

    def step(done: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.minimum(chunk, num_samples - done)
        weights = log_weights(vae, target[0] if target else x, conditions, posterior, size, by_xla)
        return done + size, _log_add_exp(total, tf.reduce_logsumexp(weights, axis=0))

    start = tf.fill([count], tf.constant(-float("inf"), posterior.dtype))
    _, total = tf.while_loop(
        lambda done, total: done < num_samples,
        step,
        (0, start),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
    )
    return total - tf.math.log(tf.cast(num_samples, total.dtype))


def estimate(run_batch: Any, data: tuple[Any, ...], num_samples: int, batch_size: int) -> tf.Tensor:
    """`run_batch((x, conditions, ...), num_samples)` over the batches of the data, joined."""
    if num_samples < 1 or batch_size < 1:
        raise InputError(
            "Expected num_samples >= 1 and batch_size >= 1.",
            f"num_samples={num_samples}, batch_size={batch_size}",
        )
    samples = tf.constant(num_samples, tf.int32)
    batches = (rows(data, i, batch_size) for i in range(0, sparse.count(data), batch_size))
    return tf.concat([run_batch(batch, samples) for batch in batches], axis=0)


def _log_add_exp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(tf.stack([a, b]), axis=0)
