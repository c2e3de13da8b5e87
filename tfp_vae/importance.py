"""Likelihoods of data under several draws of z: the weights of importance sampling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import fused, shapes, sparse
from tfp_vae.density import log_density
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
    seed: Any = None,
) -> tf.Tensor:
    """`log p(x|z_k) + log p(z_k) - log q(z_k|x)`, `[num_samples, n]`, z_k drawn from q."""
    shapes.posterior_fits(posterior)
    prior = vae.prior.distribution()
    shapes.prior_fits(prior, posterior)
    z = posterior.sample(num_samples, seed=seed)
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
    seed: Any = None,
    by_xla: bool = False,
) -> tf.Tensor:
    """`log 1/K sum_k w_k` for one batch, the samples taken in chunks and summed as they come.

    The draws follow from `seed`; None takes the posterior's own, for one thread at a time. The data
    are x, its conditions, and what the likelihood is over where that is not x.
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
        its = None if seed is None else tf.random.experimental.stateless_fold_in(seed, done)
        over = target[0] if target else x
        weights = log_weights(vae, over, conditions, posterior, size, by_xla, its)
        return done + size, _log_add_exp(total, tf.reduce_logsumexp(weights, axis=0))

    start = tf.fill([count], tf.constant(-float("inf"), posterior.dtype))
    _, total = tf.while_loop(
        lambda done, total: done < num_samples,
        step,
        (0, start),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
    )
    return total - tf.math.log(tf.cast(num_samples, total.dtype))


def estimate(
    run_batch: Any,
    data: tuple[Any, ...],
    num_samples: int,
    batch_size: int,
    next_seed: Callable[[], tf.Tensor],
    few_sizes: bool = False,
) -> tf.Tensor:
    """`run_batch((x, conditions, ...), num_samples, seed)` over the batches of the data, joined.

    `few_sizes`: batches are filled up to the next power of two, `batch_size` at most, for XLA,
    which compiles anew for each size.
    """
    samples, count = tf.constant(num_samples, tf.int32), sparse.count(data)
    found = []
    for first in range(0, count, batch_size):
        batch, size = rows(data, first, batch_size), min(batch_size, count - first)
        if few_sizes:
            batch = keras.tree.map_structure(functools.partial(_filled, size, batch_size), batch)
        found.append(run_batch(batch, samples, next_seed())[:size])
    return tf.concat(found, axis=0)


def _filled(size: int, most: int, values: Any) -> tf.Tensor:
    """Its first row again until there are as many rows as the next power of two, or the most."""
    whole = min(most, 1 << (size - 1).bit_length())
    return tf.gather(values, [*range(size), *[0] * (whole - size)])


def _log_add_exp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(tf.stack([a, b]), axis=0)
