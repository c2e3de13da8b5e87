"""Maximum likelihood for each column of bits, counts, categories and levels; for directions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.counts import ZeroInflated
from tfp_vae.evaluation.columns import Columns, minimum
from tfp_vae.evaluation.log_probs import LogProb, by_column, of

_ONE_MORE = ((1.0, 1.0),)  # a row of ones: counts that were not there keep a probability


def bernoulli(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Takes the means as probabilities, with one white and one black image added.

    Bytes are pixels times 255, unless they are zeros and ones alone.
    """
    total = x.sum(axis=0, dtype=np.float64) / (255 if x.dtype == np.uint8 and x.max() > 1 else 1)
    p = (total + 1) / (len(x) + 2)
    return lambda new: new * np.log(p) + (1 - new) * np.log1p(-p)


def poisson(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Takes the means as rates, with one row of ones added."""
    return of(tfd.Poisson(Columns(x, _ONE_MORE).mean().reshape(x.shape[1:])))


def _counts(mean: tf.Tensor, p: tf.Tensor) -> tfd.Distribution:
    r = tf.exp(tf.clip_by_value(p[:, 1], -9.0, 14.0))
    return tfd.NegativeBinomial(
        r, logits=p[:, 0] + mean - tf.math.log(r), require_integer_total_count=False
    )


def negative_binomial(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits a mean and a total count, with one row of ones added."""
    columns = Columns(x, _ONE_MORE)
    make = functools.partial(_counts, np.log(columns.mean()))
    start = np.stack([np.zeros_like(columns.mean()), _log_total_count(columns)], axis=1)
    return by_column(columns.fit(start, make), make, x)


def zero_inflated(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits a probability of extra zeros too; the better of two starts for each column."""
    columns = Columns(x, _ONE_MORE)
    mean = np.log(columns.mean())
    zeros = (columns.weights * (columns.values == 0)).sum(axis=0)

    def make(p: tf.Tensor) -> tfd.Distribution:
        logit = tf.clip_by_value(p[:, 2], -40.0, 40.0)
        return ZeroInflated(logit, _counts(mean, p))

    def start(share: float) -> np.ndarray:  # of the zeros that are extra
        extra = np.clip(share * zeros, 1e-3, 0.99)
        more = [-np.log1p(-extra), _log_total_count(columns) + share, np.log(extra / (1 - extra))]
        return np.stack(more, axis=1)

    def reached(p: np.ndarray) -> np.ndarray:
        log_prob = make(tf.constant(p)).log_prob(columns.values).numpy()
        return np.nan_to_num((columns.weights * log_prob).sum(axis=0), nan=-np.inf)

    one, other = (columns.fit(start(share), make) for share in (0.01, 0.9))
    better = reached(one) >= reached(other)
    return by_column(np.where(better[:, np.newaxis], one, other), make, x)


def _log_total_count(columns: Columns) -> np.ndarray:
    mean = columns.mean()
    return np.log(np.clip(mean**2 / np.maximum(columns.variance() - mean, 1e-3 * mean), 1e-2, 1e3))


def levels(x: np.ndarray, each: Any, scale: Any) -> LogProb | None:
    """Counts each level, with one row added that is spread over all levels.

    Returns None where x has other values than these levels.
    """
    if isinstance(each, tfd.Categorical):
        low, count = 0, int(each.logits_parameter().shape[-1])
    else:
        low = int(np.min(each.low))
        count = int(np.max(each.high)) - low + 1
    flat = x.reshape(len(x), -1)
    if flat.min() < low or flat.max() >= low + count:
        return None
    width = flat.shape[1]
    place = (flat.astype(np.int64) - low) * width + np.arange(width)
    seen = np.bincount(place.ravel(), minlength=count * width).reshape(count, width)
    log_p = np.log((seen + 1 / count) / (len(x) + 1))

    def log_prob(new: np.ndarray) -> np.ndarray:
        rows = new.reshape(len(new), -1).astype(np.int64) - low
        inside = (rows >= 0) & (rows < count)
        found = log_p[np.where(inside, rows, 0), np.arange(width)]
        return np.where(inside, found, -np.inf).reshape(new.shape)

    return log_prob


def one_hot(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Counts each category, with one row added that is spread over all of them."""
    p = (x.sum(axis=0, dtype=np.float64) + 1 / x.shape[-1]) / (len(x) + 1)
    return lambda new: new * np.log(p)


def direction(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits the concentration around the mean direction."""
    x = x.reshape(len(x), -1).astype(np.float64)
    family = tfd.VonMisesFisher if isinstance(each, tfd.VonMisesFisher) else tfd.PowerSpherical
    mean = x.mean(axis=0)
    mean /= np.linalg.norm(mean)

    def make(p: tf.Tensor) -> tfd.Distribution:
        return family(mean, tf.exp(p[0]))

    found = minimum(lambda p: -tf.reduce_mean(make(p[0]).log_prob(x))[tf.newaxis], np.ones([1, 1]))
    return of(make(tf.constant(found[0])))
