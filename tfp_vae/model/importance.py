"""Likelihoods of data under several draws of z: the weights of importance sampling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.choosers import drawing
from tfp_vae.wiring import rows

# Rows that go through the decoder at once: large enough for efficient matrix products, small enough
# that memory stays bounded whatever the number of samples.
_ROWS = 4096


def estimate_batch(
    graph: Variables,
    data: tuple[dict[str, Any], dict[str, Any]],
    num_samples: tf.Tensor,
    seed: Any = None,
    by_xla: bool = False,
) -> tf.Tensor:
    """Returns `log 1/K sum_k w_k` for one batch; the samples are drawn and summed in chunks.

    Args:
      graph: the variables.
      data: what the networks take, by name, and the observed values that are others.
      num_samples: K.
      seed: the draws follow from it; None: from the posteriors' own, for one thread at a time.
      by_xla: densities of data are compiled.
    """
    given, targets = data
    outset = graph.infer(given)
    layers = [posterior.layer for posterior in graph.posteriors.values()]
    if not any(getattr(layer, "is_random", True) for layer in layers):
        num_samples = tf.ones_like(num_samples)  # a mean of weights that are all the same
    count = tf.shape(next(iter(given.values())))[0]
    chunk = tf.maximum(_ROWS // tf.maximum(count, 1), 1)
    chunk = -(-num_samples // -(-num_samples // chunk))  # all of about the same size

    def step(done: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.minimum(chunk, num_samples - done)
        its = None if seed is None else tf.random.experimental.stateless_fold_in(seed, done)
        forward = graph.forward(outset, size, False, drawing(size, its), by_xla=by_xla)
        forward = forward.observing(targets)
        forward.fits()
        weights = tf.reduce_logsumexp(forward.log_weights, axis=0)
        return done + size, _log_add_exp(total, weights)

    dtype = outset.emitted["q", next(iter(graph.posteriors))].distribution.dtype
    start = tf.fill([count], tf.constant(-float("inf"), dtype))
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
    """Returns `run_batch(data, num_samples, seed)` over batches of the data, joined.

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
    """Repeats the first row until the number of rows is the next power of two, or the most."""
    whole = min(most, 1 << (size - 1).bit_length())
    return tf.gather(values, [*range(size), *[0] * (whole - size)])


def _log_add_exp(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(tf.stack([a, b]), axis=0)
