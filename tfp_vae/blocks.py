"""Several batches stacked, and one compiled loop over them: many steps for the price of a call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Block:
    """A step of training or evaluation, run on up to `capacity` batches in one call.

    Args:
      step: what is done with one batch.
      results: gives what a call returns, once its steps are done.
      capacity: the most batches in a call. A call with fewer runs the same compiled code.
      jit_compile: whether XLA compiles the loop.
    """

    def __init__(
        self,
        step: Callable[[Any], Any],
        results: Callable[[], Any],
        capacity: int,
        jit_compile: bool,
    ) -> None:
        self.step = step
        self.results = results
        self.capacity = capacity
        self.pull = tf.function(self._pull, autograph=False)
        self.run = tf.function(self._run, autograph=False, jit_compile=jit_compile)
        # A batch of another size, the last of an epoch: XLA would compile all again for its shape.
        self.alone = tf.function(step, autograph=False, reduce_retracing=True)

    def __call__(self, iterator: tf.data.Iterator, count: int) -> Any:
        """Takes up to `count` batches and does as many steps.

        Raises:
          tf.errors.OutOfRangeError: there is not one batch left.
        """
        structure = iterator.element_spec
        full, stacked, rest, left = self.pull(iterator, tf.constant(count))
        logs = self.run(full, tf.nest.pack_sequence_as(structure, stacked))
        if left:
            logs = self.alone(tf.nest.pack_sequence_as(structure, rest))
        return logs

    def _pull(self, iterator: tf.data.Iterator, count: tf.Tensor) -> Any:
        """How many batches of one size, they stacked and filled up to the capacity, and what ends.

        That is one batch of another size, and whether there is one.
        """
        first = tf.nest.flatten(iterator.get_next())
        rows = tf.shape(first[0])[0]

        def array(batch: tf.Tensor) -> tf.TensorArray:
            shape = tf.TensorShape([None]).concatenate(batch.shape[1:])
            size = self.capacity
            made = tf.TensorArray(batch.dtype, size, element_shape=shape, infer_shape=False)
            return made.write(0, batch)

        def take(done: tf.Tensor, go: tf.Tensor, full: tf.Tensor, arrays: Any) -> Any:
            element = iterator.get_next_as_optional()

            def keep() -> Any:
                batches = tf.nest.flatten(element.get_value())
                same = tf.equal(tf.shape(batches[0])[0], rows)
                kept = [a.write(done, batch) for a, batch in zip(arrays, batches, strict=True)]
                return done + 1, same, full + tf.cast(same, tf.int32), kept

            def end() -> Any:
                return done, tf.constant(False), full, arrays

            return tf.cond(element.has_value(), keep, end)

        one, arrays = tf.constant(1), [array(batch) for batch in first]
        done, _, full, arrays = tf.while_loop(
            lambda done, go, full, arrays: go & (done < count),
            take,
            (one, tf.constant(True), one, arrays),
        )
        left = done > full
        rest = [
            tf.cond(left, functools.partial(a.read, full), lambda batch=batch: batch[:0])
            for a, batch in zip(arrays, first, strict=True)
        ]

        def fill(i: tf.Tensor, arrays: Any) -> Any:
            return i + 1, [a.write(i, batch) for a, batch in zip(arrays, first, strict=True)]

        _, arrays = tf.while_loop(lambda i, _: i < self.capacity, fill, (full, arrays))
        stacked = [array.gather(tf.range(self.capacity)) for array in arrays]
        for block, batch in zip(stacked, first, strict=True):
            block.set_shape([self.capacity, *batch.shape])
        return full, stacked, rest, left

    def _run(self, full: tf.Tensor, batches: Any) -> Any:
        def body(i: tf.Tensor) -> tf.Tensor:
            self.step(tf.nest.map_structure(lambda t: t[i], batches))
            return i + 1

        tf.while_loop(lambda i: i < full, body, [tf.constant(0)])
        return self.results()
