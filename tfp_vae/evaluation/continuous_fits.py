"""Maximum likelihood for each column of numbers in an interval or on the real line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.evaluation.columns import Columns, minimum
from tfp_vae.evaluation.log_probs import LogProb, by_column, of

_LEAST = 1e-6  # of scales, as of the layers
_BLACK_AND_WHITE = ((0.0, 1.0), (1.0, 1.0))  # a row more of each


def continuous_bernoulli(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits the mean to that of each column, with a white and a black image added."""
    mean = Columns(x, _BLACK_AND_WHITE).mean()
    low, high = np.full(len(mean), -4.0 * len(x) - 10), np.full(len(mean), 4.0 * len(x) + 10)
    for _ in range(80):
        middle = (low + high) / 2
        below = _continuous_mean(middle) < mean
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    t = low.reshape(x.shape[1:])
    # log of the integral of exp(t x) over 0..1
    magnitude = np.maximum(np.abs(t), 1e-4)
    norm = np.maximum(t, 0) + np.log(-np.expm1(-magnitude) / magnitude)
    norm = np.where(np.abs(t) < 1e-4, t / 2, norm)
    return lambda new: new * t - norm


def _continuous_mean(t: np.ndarray) -> np.ndarray:
    safe = np.where(np.abs(t) < 1e-3, 1.0, t)
    with np.errstate(over="ignore"):  # exp(-t) is infinite, and its part 0, where t is far below 0
        return np.where(np.abs(t) < 1e-3, 0.5 + t / 12, -1 / np.expm1(-safe) - 1 / safe)


def _ends(x: np.ndarray) -> Sequence[tuple[float, float]]:
    """Returns a row of the least and one of the largest value of images; nothing for vectors.

    The entries of an image are of one unit: these rows keep the scale of a pixel that never changes
    away from 0.
    """
    return ((float(x.min()), 1.0), (float(x.max()), 1.0)) if x.ndim > 2 else ()


def normal(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits a location for each column, and a scale: for each, one for all, or a given one."""
    columns = _columns(x, scale)
    variance = columns.variance()
    own = np.sqrt(variance.mean() if isinstance(scale, str) else variance)
    return _with_scale(tfd.Normal, x, columns.mean(), own, scale)


def laplace(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits the same around the median of each column."""
    columns = _columns(x, scale)
    loc = columns.median()
    distance = columns.distance(loc)
    own = distance.mean() if isinstance(scale, str) else distance
    return _with_scale(tfd.Laplace, x, loc, own, scale)


def logistic(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits the same by steps."""
    return _with_scale(tfd.Logistic, x, *_logistic(_columns(x, scale), scale), scale)


def _columns(x: np.ndarray, scale: Any) -> Columns:
    return Columns(x, _ends(x) if scale is None else ())


def _with_scale(make: Any, x: np.ndarray, loc: np.ndarray, own: Any, scale: Any) -> LogProb:
    found = own if scale is None or isinstance(scale, str) else scale
    found, loc = (v if np.ndim(v) == 0 else np.reshape(v, x.shape[1:]) for v in (found, loc))
    return of(make(loc, np.maximum(found, _LEAST)))


def _logistic(columns: Columns, scale: Any) -> tuple[np.ndarray, Any]:
    start = columns.mean()
    sizes = np.maximum(np.sqrt(columns.variance() * 3) / np.pi, _LEAST)
    if scale is None:
        found = columns.fit(
            np.stack([start / sizes, np.log(sizes)], axis=1),
            lambda p: tfd.Logistic(p[:, 0] * sizes, tf.maximum(tf.exp(p[:, 1]), _LEAST)),
        )
        return found[:, 0] * sizes, np.exp(found[:, 1])
    if not isinstance(scale, str):
        return _logistic_locations(columns, np.reshape(scale, [-1])), scale
    s = float(np.sqrt(np.mean(sizes**2)))
    for _ in range(20):  # by turns: scale and locations hardly depend on each other
        before, loc = s, _logistic_locations(columns, np.array([s]))

        def loss(p: tf.Tensor, loc: np.ndarray = loc) -> tf.Tensor:
            log_prob = tfd.Logistic(loc, tf.exp(p[0])).log_prob(columns.values)
            return -tf.reduce_sum(columns.weights * log_prob)[tf.newaxis]

        s = float(np.exp(minimum(loss, np.log([[s]]))[0, 0]))
        if abs(s - before) < 1e-5 * s:
            break
    return loc, s


def _logistic_locations(columns: Columns, s: np.ndarray) -> np.ndarray:
    start = (columns.mean() / s)[:, np.newaxis]
    return columns.fit(start, lambda p: tfd.Logistic(p[:, 0] * s, s))[:, 0] * s


def student_t(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits a location, a scale and degrees of freedom above 2, as the layer has them."""
    columns = Columns(x, _ends(x))
    loc, size = columns.median(), np.maximum(columns.distance(columns.median()), _LEAST)

    def make(p: tf.Tensor) -> tfd.Distribution:
        df = 2 + tf.maximum(tf.math.softplus(p[:, 2]), 1e-3)
        return tfd.StudentT(df, loc + size * p[:, 0], tf.maximum(size * tf.exp(p[:, 1]), _LEAST))

    return by_column(columns.fit(np.tile([0.0, 0.0, 2.0], (len(loc), 1)), make), make, x)


def gamma(x: np.ndarray, each: Any, scale: Any) -> LogProb:
    """Fits a concentration and a rate."""
    columns = Columns(x)
    mean = columns.mean()

    def make(p: tf.Tensor) -> tfd.Distribution:
        concentration = tf.exp(p[:, 0])
        return tfd.Gamma(concentration, concentration / (mean * tf.exp(p[:, 1])))

    start = np.log(np.maximum(mean**2 / np.maximum(columns.variance(), 1e-12 * mean**2), 1e-3))
    return by_column(columns.fit(np.stack([start, np.zeros_like(start)], axis=1), make), make, x)
