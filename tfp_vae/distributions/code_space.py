"""The vectors that integer codes stand for: a table, tables by level, or a grid."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.distributions.codebook import nearest


class CodeSpace(abc.ABC):
    """Codes 0 to `num_codes` - 1 and the vector of each.

    Attributes:
      num_codes: the number of codes.
      dimension: the size of a vector.
      dtype: of the vectors.
      depth: how many alphabets there are, side by side on the last axis of codes; 1: one for all.
    """

    num_codes: int
    dimension: int
    dtype: tf.DType
    depth: int = 1

    @abc.abstractmethod
    def codes(self, z: tf.Tensor) -> tf.Tensor:
        """Returns the code nearest to each vector: `[..., dimension]` to int32 `[...]`."""

    @abc.abstractmethod
    def vectors(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the vector of each code: `[...]` to `[..., dimension]`."""


class Table(CodeSpace):
    """The rows of a matrix: code c is row c.

    Args:
      vectors: `[num_codes, dimension]`.

    Example:
      >>> space = Table(tf.eye(2))
      >>> space.codes(tf.constant([[.9, .2]])).numpy().tolist(), space.vectors(1).numpy().tolist()
      ([0], [0.0, 1.0])
    """

    def __init__(self, vectors: Any) -> None:
        self._vectors = tf.stop_gradient(tf.convert_to_tensor(vectors))
        self.num_codes, self.dimension = self._vectors.shape
        self.dtype = self._vectors.dtype

    def codes(self, z: tf.Tensor) -> tf.Tensor:
        return nearest(z, self._vectors)

    def vectors(self, codes: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._vectors, codes)


class Tables(CodeSpace):
    """A table for each entry of the last axis of codes: `[..., depth]`.

    Args:
      tables: one for each level, of equal sizes.

    Example:
      >>> space = Tables([Table(tf.eye(2)), Table(-tf.eye(2))])
      >>> space.vectors(tf.constant([1, 0])).numpy().tolist()
      [[0.0, 1.0], [-1.0, -0.0]]
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = list(tables)
        self.depth = len(self.tables)
        first = self.tables[0]
        self.num_codes, self.dimension, self.dtype = first.num_codes, first.dimension, first.dtype

    def codes(self, z: tf.Tensor) -> tf.Tensor:
        pairs = zip(self.tables, tf.unstack(z, self.depth, axis=-2), strict=True)
        return tf.stack([table.codes(each) for table, each in pairs], axis=-1)

    def vectors(self, codes: tf.Tensor) -> tf.Tensor:
        pairs = zip(self.tables, tf.unstack(codes, self.depth, axis=-1), strict=True)
        return tf.stack([table.vectors(each) for table, each in pairs], axis=-2)


class Grid(CodeSpace):
    """The points of a grid: entry i of a vector is one of `-1 + j steps[i]`, j from 0.

    A code is the numbers j as the digits of one integer, the first digit the least significant.

    Args:
      sizes: how many values each entry has.
      steps: the distance of neighbours of each entry.
      dtype: of the vectors.

    Example:
      >>> space = Grid([2, 3], [2., 1.])
      >>> space.vectors(tf.range(6)).numpy().tolist()
      [[-1.0, -1.0], [1.0, -1.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]]
      >>> space.codes(tf.constant([[.2, .7]])).numpy().tolist()
      [5]
    """

    def __init__(self, sizes: Sequence[int], steps: Sequence[float], dtype: Any = tf.float32):
        self.num_codes, self.dimension = math.prod(sizes), len(sizes)
        self.dtype = tf.as_dtype(dtype)
        self._sizes = np.asarray(sizes, np.int32)
        self._steps = np.asarray(steps, self.dtype.as_numpy_dtype)
        self._place_values = np.cumprod([1, *sizes[:-1]]).astype(np.int32)

    def codes(self, z: tf.Tensor) -> tf.Tensor:
        digits = tf.cast(tf.round((z + 1) / self._steps), tf.int32)
        digits = tf.clip_by_value(digits, 0, self._sizes - 1)
        return tf.reduce_sum(digits * self._place_values, axis=-1)

    def vectors(self, codes: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(codes, tf.int32)[..., tf.newaxis]
        digits = codes // self._place_values % self._sizes
        return tf.cast(digits, self.dtype) * self._steps - 1
