"""Sparse matrices as data, which are made dense batch by batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def is_sparse(x: Any) -> bool:
    """Tells whether x is a `tf.SparseTensor` or a matrix or array of `scipy.sparse`."""
    return isinstance(x, tf.SparseTensor) or _of_scipy(x)


def dense(data: Any) -> Any:
    """Returns data of any structure, with arrays in place of sparse parts."""

    def made(value: Any) -> Any:
        if _of_scipy(value):
            return value.toarray()
        if isinstance(value, tf.SparseTensor):
            return tf.sparse.to_dense(tf.sparse.reorder(value))
        return value

    return keras.tree.map_structure(made, data)


def by_row(data: Any) -> Any:
    """Returns the data, with sparse parts that can be cut by rows: in order, each entry once."""

    def made(value: Any) -> Any:
        if isinstance(value, tf.SparseTensor):
            return tf.sparse.reorder(value)
        if not _of_scipy(value):
            return value
        rows = value.tocsr()
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        return rows

    return keras.tree.map_structure(made, data)


def rows(value: Any, start: int, count: int) -> Any:
    """Returns some rows of an array, dense."""
    if isinstance(value, tf.SparseTensor):
        rest = value.dense_shape[1:]
        begin = tf.concat([[start], tf.zeros_like(rest)], axis=0)
        size = tf.minimum(tf.cast(count, tf.int64), value.dense_shape[0] - start)
        value = tf.sparse.slice(value, begin, tf.concat([[size], rest], axis=0))
        return dense(value)
    return dense(value[start : start + count])


def numbers(x: Any) -> Any:
    """Returns the numbers in x, each at least once; of a sparse x the entries, and a 0."""
    if not is_sparse(x):
        return np.asarray(x)
    held = np.asarray(x.values if isinstance(x, tf.SparseTensor) else by_row(x).data)
    if held.size < np.prod([int(size) for size in x.shape]):
        held = np.append(held, np.zeros(1, held.dtype))
    return held


def bad_rows(x: Any) -> int:
    """Returns the number of rows of x with a number that is not finite."""
    if isinstance(x, tf.SparseTensor):
        return len(np.unique(np.asarray(x.indices)[~np.isfinite(np.asarray(x.values)), 0]))
    if is_sparse(x):
        held = x.tocoo()
        return len(np.unique(held.row[~np.isfinite(held.data)]))
    values = np.asarray(x)
    return int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())


def count(data: Any) -> int:
    """Returns the number of rows of the data, by their first part."""
    first = keras.tree.flatten(data)[0]
    return int(np.shape(first)[0])


def _of_scipy(x: Any) -> bool:
    of_scipy = any(base.__module__.startswith("scipy.sparse") for base in type(x).__mro__)
    return of_scipy and hasattr(x, "tocsr")
