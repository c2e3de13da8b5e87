"""Data that come in batches: the first batch, and batches as Keras takes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge import sparse

_unpack = keras.utils.unpack_x_y_sample_weight


def is_source(x: Any) -> bool:
    """Tells whether x gives batches by itself, as a data set, a generator or a loader does."""
    array = isinstance(x, (list, tuple, dict, str)) or hasattr(x, "shape")
    return isinstance(x, keras.utils.PyDataset) or (not array and hasattr(x, "__iter__"))


def first_batch(x: Any) -> tuple[Any, Any, Any, Any]:
    """Returns inputs, targets and weights of the first batch of x, and x with nothing lost."""
    if not is_source(x):
        return x, None, None, x
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
    elif isinstance(x, keras.utils.PyDataset):
        batch = None if x.num_batches == 0 else x[0]
    elif isinstance(x, Iterator):
        batch = next(x, None)
        x = itertools.chain([batch], x)
    else:
        batch = next(iter(x), None)
    return (*_unpack(batch), x)


def with_targets(x: Any, first: Any, own_target: Callable[[Any], Any]) -> Any:
    """Gives each batch (x, None, weights) of a source the target that Keras needs for weights.

    Args:
      x: the source.
      first: its first batch, (inputs, targets, weights).
      own_target: what of the inputs is the target where none is given.

    Returns:
      The same batches, as a generator of tuples where x is an iterator: Keras takes no other kind;
      x itself where nothing is missing.
    """
    _, target, weights = first

    def whole(*batch: Any) -> Any:
        inputs, target, weights = _unpack(batch[0] if len(batch) == 1 else batch)
        if target is not None:
            return (inputs, target) if weights is None else (inputs, target, weights)
        return (inputs,) if weights is None else (inputs, own_target(inputs), weights)

    if isinstance(x, Iterator):
        return (whole(batch) for batch in x)
    if target is not None or (weights is None and not isinstance(x, keras.utils.PyDataset)):
        return x
    if isinstance(x, keras.utils.PyDataset):
        return _Mapped(x, whole)
    return x.map(whole) if isinstance(x, tf.data.Dataset) else x


def as_keras_takes(data: Any) -> Any:
    """Returns the data, in whatever structure: rows of sparse matrices, words as objects."""

    def made(value: Any) -> Any:
        if not (isinstance(value, np.ndarray) and value.dtype.kind in "USO"):
            return value
        words = [w.decode() if isinstance(w, bytes) else w for w in value.ravel().tolist()]
        return np.array(words, object).reshape(value.shape)

    return keras.tree.map_structure(made, sparse.by_row(data))


class _Mapped(keras.utils.PyDataset):
    """A PyDataset whose batches go through a function."""

    def __init__(self, given: keras.utils.PyDataset, function: Callable[..., Any]) -> None:
        super().__init__(given.workers, given.use_multiprocessing, given.max_queue_size)
        self.given = given
        self.function = function

    def __getitem__(self, index: int) -> Any:
        return self.function(self.given[index])

    @property
    def num_batches(self) -> int | None:
        return self.given.num_batches

    def on_epoch_begin(self) -> None:
        self.given.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.given.on_epoch_end()
