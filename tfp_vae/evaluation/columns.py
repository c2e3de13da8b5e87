"""Columns of data with weights, and the parameters that fit each column best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_LEVELS = 512  # data of so few distinct values, such as pixels, are counted
MOST_VALUES = 2**23  # the most numbers that a fit takes
_MOST_IN_STEPS = 2**20  # of those that are fitted by steps, and have many distinct values
_STEPS, _GAIN = 40, 1e-6  # the least gain of a step, in nats, for which there is a next one


class Columns:
    """The numbers of data `[n, ...]` by column, each number with a weight.

    Args:
      x: the data; the columns are the entries of one example. Of more than `MOST_VALUES` numbers
        evenly spaced rows are taken.
      more: pairs of a number and how many further rows have this number in each column. These rows
        keep a single value from having all the probability.

    Attributes:
      values: `[m, columns]`, or `[m, 1]` where all of the data have few distinct numbers.
      weights: `[m, columns]` or `[m, 1]`; the sum over a column is 1.
    """

    def __init__(self, x: np.ndarray, more: Sequence[tuple[float, float]] = ()) -> None:
        x = x.reshape(len(x), -1)
        x = x[:: -(-x.size // MOST_VALUES)].astype(np.float64)
        total = len(x) + sum(weight for _, weight in more)
        levels = np.unique(x)
        if len(levels) <= min(_LEVELS, len(x)):
            width = x.shape[1]
            place = np.searchsorted(levels, x) * width + np.arange(width)
            counts = np.bincount(place.ravel(), minlength=len(levels) * width)
            values, weights = levels[:, np.newaxis], counts.reshape(-1, width) / total
        else:
            values, weights = x, np.full([len(x), 1], 1 / total)
        for value, weight in more:
            values = np.concatenate([values, np.full([1, values.shape[1]], value)])
            weights = np.concatenate([weights, np.full([1, weights.shape[1]], weight / total)])
        self.values, self.weights = values, weights

    def mean(self) -> np.ndarray:
        """Returns the mean of each column."""
        return (self.weights * self.values).sum(axis=0)

    def variance(self) -> np.ndarray:
        """Returns the variance of each column."""
        return (self.weights * (self.values - self.mean()) ** 2).sum(axis=0)

    def median(self) -> np.ndarray:
        """Returns the median of each column."""
        order = np.argsort(self.values, axis=0, kind="stable")
        values = np.take_along_axis(self.values, order, axis=0)
        if self.values.shape[1] == 1:
            below = np.cumsum(self.weights[order[:, 0]], axis=0)
        else:
            all_of = np.broadcast_to(self.weights, self.values.shape)
            below = np.cumsum(np.take_along_axis(all_of, order, axis=0), axis=0)
        first = (below < 0.5 - 1e-12).sum(axis=0)[np.newaxis]
        return np.take_along_axis(np.broadcast_to(values, below.shape), first, axis=0)[0]

    def distance(self, loc: np.ndarray) -> np.ndarray:
        """Returns the mean distance from a number for each column."""
        return (self.weights * np.abs(self.values - loc)).sum(axis=0)

    def fit(self, start: np.ndarray, make: Callable[[tf.Tensor], Any]) -> np.ndarray:
        """Returns the parameters `[columns, k]` of the largest likelihood of each column.

        Args:
          start: where the search begins.
          make: gives the distributions, batch `[columns]`, of such parameters.
        """
        step = -(-self.values.size // _MOST_IN_STEPS)
        values, weights = self.values[::step], self.weights[::step] * step
        return minimum(lambda p: -tf.reduce_sum(weights * make(p).log_prob(values), axis=0), start)


def minimum(loss: Callable[[tf.Tensor], tf.Tensor], start: np.ndarray) -> np.ndarray:
    """Finds where `loss`, from parameters `[n, k]` to a value `[n]` for each row, is least.

    By Newton's method, damped by row. The second derivatives are differences of gradients, and the
    steps go down along directions of negative curvature too.
    """

    @tf.function(autograph=False)
    def compiled(p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(p)
        return value, tape.gradient(value, p)

    def slope(at: np.ndarray) -> list[np.ndarray]:
        return [part.numpy() for part in compiled(tf.constant(at, tf.float64))]

    p = np.asarray(start, np.float64)
    damping = np.full(len(p), 1e-3)
    value, gradient = slope(p)
    for _ in range(_STEPS):
        moves = 1e-5 * np.eye(p.shape[1])
        curvature = np.stack([(slope(p + move)[1] - gradient) / 1e-5 for move in moves], axis=1)
        curvature = np.nan_to_num((curvature + curvature.swapaxes(1, 2)) / 2)
        size, axes = np.linalg.eigh(curvature)
        along = np.einsum("nij,ni->nj", axes, np.nan_to_num(gradient))
        along /= np.maximum(np.abs(size), 1e-9) + damping[:, np.newaxis]
        step = -np.clip(np.einsum("nij,nj->ni", axes, along), -2, 2)
        new, new_gradient = slope(p + step)
        better = new < value
        done = ~better & (damping > 1) | better & (value - new < _GAIN)
        p = np.where(better[:, np.newaxis], p + step, p)
        gradient = np.where(better[:, np.newaxis], new_gradient, gradient)
        value = np.where(better, new, value)
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-9, 1e9)
        if done.all():
            break
    return p
