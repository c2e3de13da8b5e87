"""Labels that are known for some of the training rows, as values of a latent variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfp_vae.errors import InputError

UNKNOWN = -1
_SHARE = 4  # known rows are repeated until there is one for so many others, or more


class Labelled(NamedTuple):
    """Training rows, those with a known label often enough to be in each batch.

    Attributes:
      rows: the numbers of the rows.
      labels: of these rows, `UNKNOWN` where a label is not known.
    """

    rows: np.ndarray
    labels: np.ndarray

    @property
    def num_labelled(self) -> int:
        """How many of the rows have a known label."""
        return int(np.sum(self.labels != UNKNOWN))


def labelled(labels: np.ndarray, count: int | None, seed: int) -> Labelled:
    """Keeps so many labels, as many of each class as there can be, drawn at random.

    Raises:
      InputError: there are fewer labels.

    Example:
      >>> found = labelled(np.arange(200) % 4, 8, seed=0)
      >>> np.bincount(found.labels[:200] + 1).tolist(), len(found.rows), found.num_labelled
      ([192, 2, 2, 2, 2], 240, 48)
    """
    every = np.arange(len(labels))
    if count is None:
        return Labelled(every, labels.astype(np.int32))
    if count > len(labels):
        raise InputError(f"Expected at most {len(labels)} labels that are known.", count)
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)  # the how manieth of its class a row is
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    known = order[np.argsort(turn[order], kind="stable")[:count]]
    kept = np.full(len(labels), UNKNOWN, np.int32)
    kept[known] = labels[known]
    repeats = max(0, round(len(labels) / (_SHARE * count)) - 1) if count else 0
    rows = np.concatenate([every, np.repeat(known, repeats)])
    return Labelled(rows, kept[rows])


def as_values(name: str, classes: int) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Returns a map of batches of x and label to x and one-hot vectors, NaN where not known."""

    def convert(batch: Any) -> dict[str, tf.Tensor]:
        label = batch["label"][:, tf.newaxis]
        one_hot = tf.one_hot(batch["label"], classes)
        return {"x": batch["x"], name: tf.where(label == UNKNOWN, np.nan, one_hot)}

    return convert
