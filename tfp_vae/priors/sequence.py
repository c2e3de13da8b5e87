"""A distribution over arrays of integers, each given those before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class CodeSequence(tfd.Distribution):
    """`prod_i softmax(logits_i(c_1, ..., c_{i - 1}))[c_i]` over arrays of integers.

    Args:
      network: from `[n, length]`, and the context of each row if there is one, to logits
        `[n, length, k]`, each of those before it.
      positions: the shape of a draw; it is read row by row.
      of: the dtype of the log_prob.
      context: `[*batch, length, size]`, what the codes are given; None: nothing, and no batch.

    Example:
      >>> p = CodeSequence(lambda c: tf.zeros([*c.shape, 3]), (2, 2))
      >>> p.sample(5).shape.as_list(), round(float(p.prob(tf.zeros([2, 2], "int32"))) * 81, 4)
      ([5, 2, 2], 1.0)
    """

    def __init__(
        self,
        network: Callable[..., Any],
        positions: tuple[int, ...],
        of: Any = tf.float32,
        context: Any = None,
    ) -> None:
        parameters = dict(locals())
        self._network, self._context = network, context
        self._positions = tf.TensorShape(positions)
        self._of = of
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="CodeSequence",
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {"context": tfp.util.ParameterProperties(event_ndims=2)}

    @property
    def _length(self) -> int:
        return math.prod(self._positions)

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([]) if self._context is None else self._context.shape[:-2]

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.zeros([0], tf.int32) if self._context is None else tf.shape(self._context)[:-2]

    def _event_shape(self) -> tf.TensorShape:
        return self._positions

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant(self._positions.as_list(), tf.int32)

    def _logits(self, rows: tf.Tensor, leading: tf.Tensor) -> tf.Tensor:
        """Returns the logits of rows `[n, length]` that stand for the axes `leading`."""
        if self._context is None:
            return self._network(rows)
        size = self._context.shape[-2:]
        context = tf.broadcast_to(self._context, tf.concat([leading, size], axis=0))
        return self._network(rows, tf.reshape(context, [-1, *size]))

    def _log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        leading = tf.shape(codes)[: tf.rank(codes) - self._positions.rank]
        if self._context is not None:
            leading = tf.broadcast_dynamic_shape(leading, self.batch_shape_tensor())
            codes = tf.broadcast_to(codes, tf.concat([leading, self.event_shape_tensor()], axis=0))
        rows = tf.reshape(codes, [-1, self._length])
        logits = tf.cast(self._logits(rows, leading), self._of)
        each = -tf.nn.sparse_softmax_cross_entropy_with_logits(rows, logits)
        return tf.reshape(tf.reduce_sum(each, axis=-1), leading)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seeds = tfp.random.split_seed(seed, n=self._length)
        leading = tf.concat([[n], self.batch_shape_tensor()], axis=0)

        def draw(place: tf.Tensor, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = self._logits(codes, leading)[:, place]
            drawn = tfd.Categorical(logits).sample(seed=tf.gather(seeds, place))
            here = tf.range(self._length) == place
            return place + 1, tf.where(here, drawn[:, tf.newaxis], codes)

        start = tf.zeros([tf.reduce_prod(leading), self._length], tf.int32)
        _, codes = tf.while_loop(
            lambda place, _: place < self._length, draw, (0, start), maximum_iterations=self._length
        )
        return tf.reshape(codes, tf.concat([leading, self.event_shape_tensor()], axis=0))
