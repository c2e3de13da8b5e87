"""What is not known of data, given what is known, by importance sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge import sparse
from tfp_vae.distributions import unknown
from tfp_vae.distributions.blockwise import parts
from tfp_vae.distributions.containers import Independent
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.choosers import drawing
from tfp_vae.objectives.draw_axis import unfolded
from tfp_vae.wiring import rows as rows_of
from tfp_vae.wiring import tile


@dataclasses.dataclass(frozen=True)
class Imputation:
    """The rows of one observed variable with their unknown entries, whose law is p(x | known).

    Known entries are as they were given, in all of these.

    Attributes:
      mean: `E[x | known]`, `[n, ...]`.
      mode: of categories and bits the most probable one, else the mean, `[n, ...]`.
      stddev: of the unknown entries, 0 where known, `[n, ...]`.
      quantiles: by level, `[n, ...]` each.
      draws: completed copies, drawn from p(x | known), `[num_draws, n, ...]`.
      effective_samples: `1 / sum_k w_k^2` of the normalized weights, `[n]`: of few effective draws
        all of these numbers are rough.
    """

    mean: np.ndarray
    mode: np.ndarray
    stddev: np.ndarray
    quantiles: Mapping[float, np.ndarray]
    draws: np.ndarray
    effective_samples: np.ndarray


def impute_batch(
    graph: Variables,
    data: Mapping[str, Any],
    seed: Any,
    num_samples: int,
    num_draws: int,
    levels: Sequence[float],
) -> dict[str, dict[str, Any]]:
    """Returns what `Imputation` has, of each observed variable by name, for one batch.

    Draw k of the latent variables has the weight `w_k = p(x_known, z_k) / q(z_k | x_known)`, and an
    expectation under p(x | known) is the weighted mean of those under p(x | z_k, known): Rezende et
    al., arXiv:1401.4082, appendix F; Mattei and Frellsen, arXiv:1812.02633.
    """
    fold = tf.random.experimental.stateless_fold_in
    outset = graph.infer(data)
    forward = graph.forward(outset, num_samples, False, drawing(num_samples, seed))
    logits = forward.log_weights
    shares = tf.nn.softmax(logits, axis=0)
    found = {}
    for place, (name, term) in enumerate(forward.observed.items()):
        own = fold(seed, 1000 + place)
        p, x = term.p, tf.convert_to_tensor(data[name])
        x, known = unknown.apart(x)
        rows = (x, known)
        if term.p_is_drawn:
            rows = tile(x, num_samples), tile(known, num_samples)
        given = unknown.completed(p, *rows)
        value = unknown.completed(p, *rows, seed=fold(own, 0))
        if term.p_is_drawn:
            given, value = unfolded(given, num_samples), unfolded(value, num_samples)
        else:
            given, value = given[tf.newaxis], value[tf.newaxis]
            logits, shares = logits[:1], tf.ones_like(shares[:1])
        wide = _wide(shares, given)
        mean = tf.where(known, x, tf.reduce_sum(wide * given, axis=0))
        around = tf.reduce_sum(wide * (value - mean) ** 2, axis=0)
        draws = [_drawn(p, rows, logits, fold(own, 1 + n)) for n in range(num_draws)]
        found[name] = {
            "mean": mean,
            "mode": tf.where(known, x, _mode(p, mean, shares)),
            "stddev": tf.where(known, tf.zeros_like(mean), tf.sqrt(around)),
            "quantiles": {level: _quantile(value, wide, level) for level in levels},
            "draws": tf.stack(draws) if draws else mean[tf.newaxis][:0],
            "effective_samples": 1 / tf.reduce_sum(shares**2, axis=0),
        }
    return found


def impute(
    run_batch: Callable[..., Any], data: Mapping[str, Any], batch_size: int, seed: Any
) -> dict[str, Imputation]:
    """Returns `run_batch(data, seed)`, see `impute_batch`, over batches of the data, joined."""
    batches = []
    for number, first in enumerate(range(0, sparse.count(data), batch_size)):
        own = tf.random.experimental.stateless_fold_in(seed, number)
        batches.append(run_batch(rows_of(data, first, batch_size), own))
    return {name: _joined([batch[name] for batch in batches]) for name in batches[0]}


def _joined(batches: Sequence[Mapping[str, Any]]) -> Imputation:
    def joined(arrays: Sequence[Any], axis: int = 0) -> np.ndarray:
        return np.concatenate([np.asarray(array) for array in arrays], axis=axis)

    def of(name: str, axis: int = 0) -> np.ndarray:
        return joined([batch[name] for batch in batches], axis)

    levels = batches[0]["quantiles"]
    quantiles = {q: joined([batch["quantiles"][q] for batch in batches]) for q in levels}
    single = {n: of(n) for n in ("mean", "mode", "stddev", "effective_samples")}
    return Imputation(**single, quantiles=quantiles, draws=of("draws", axis=1))


def _wide(shares: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    rest = [1] * (like.shape.rank - 2)
    return tf.cast(tf.reshape(shares, tf.concat([tf.shape(shares), rest], 0)), like.dtype)


def _drawn(p: Any, given: Any, logits: tf.Tensor, seed: Any) -> tf.Tensor:
    """Returns one completed copy of the batch: a draw of which z, and of x given that z."""
    first, second = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    count, batch = tf.unstack(tf.shape(logits))
    value = unknown.completed(p, given[0], given[1], second)
    value = tf.reshape(value, tf.concat([[count, batch], tf.shape(value)[1:]], 0))
    chosen = tf.random.stateless_categorical(tf.transpose(logits), 1, first)[:, 0]
    return tf.gather_nd(value, tf.stack([tf.cast(chosen, tf.int32), tf.range(batch)], axis=1))


def _quantile(value: tf.Tensor, shares: tf.Tensor, level: float) -> tf.Tensor:
    """Returns the lowest value up to which the shares add up to the level."""
    last = [*range(1, value.shape.rank), 0]
    value = tf.transpose(value, last)
    shares = tf.broadcast_to(tf.transpose(shares, last), tf.shape(value))
    order = tf.argsort(value)
    value = tf.gather(value, order, batch_dims=value.shape.rank - 1)
    total = tf.cumsum(tf.gather(shares, order, batch_dims=value.shape.rank - 1), axis=-1)
    below = tf.reduce_sum(tf.cast(total < level, tf.int32), axis=-1)
    place = tf.minimum(below, tf.shape(value)[-1] - 1)  # the total is 1 but for rounding
    return tf.gather(value, place, batch_dims=value.shape.rank - 1)


def _mode(p: Any, mean: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Returns the most probable category of each entry, where the entries are categories."""
    p = getattr(p, "tensor_distribution", p)
    if len(parts(p)) > 1:
        blocks = tf.split(mean, [part.event_shape[-1] for part in parts(p)], axis=-1)
        pairs = zip(parts(p), blocks, strict=True)
        return tf.concat([_mode(part, block, shares) for part, block in pairs], axis=-1)
    if not unknown.are_categories(p):
        return mean
    while isinstance(p, Independent):
        p = p.distribution
    if p.event_shape.rank == 1:  # one-hot vectors: the mean is the vector of probabilities
        return tf.one_hot(tf.argmax(mean, axis=-1), tf.shape(mean)[-1], dtype=mean.dtype)
    if isinstance(p, tfd.Bernoulli):
        return tf.cast(mean > 0.5, mean.dtype)
    probs = p.probs_parameter()
    count = tf.shape(shares)[0]
    probs = tf.reshape(probs, tf.concat([[count, -1], tf.shape(probs)[1:]], 0))
    return tf.cast(tf.argmax(tf.reduce_sum(_wide(shares, probs) * probs, 0), axis=-1), mean.dtype)
