"""Steps of training or evaluation on many batches in one call of a compiled function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

_SIZES = 4  # sizes of batches that XLA compiles the loop for: each takes seconds


class Block:
    """A step, run on the next batches of an iterator, up to `capacity` of them in one call.

    Each batch has its step, in order, whatever the sizes of the batches. XLA needs one size:
    batches of one size are stacked, filled up to the capacity, and one compiled loop goes over
    them. A batch that stands alone among others of another size has its step without XLA, which
    would compile the loop again for the batch's shape.

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
        self.jit_compile = jit_compile
        function = functools.partial(tf.function, autograph=False)
        self.plain = function(self._plain, reduce_retracing=True)
        self.pull = function(self._pull)
        self.run = function(self._run, jit_compile=jit_compile)
        self.run_loosely = function(self._run, reduce_retracing=True)
        self.run_alone = function(self._run_alone, reduce_retracing=True)
        self._sizes: set[int] = set()  # that `run` is compiled for

    def __call__(self, iterator: tf.data.Iterator, count: int) -> tuple[int, Any]:
        """Takes up to `count` batches and does as many steps.

        Returns:
          The number of steps, fewer than `count` where the data end, and the results.

        Raises:
          tf.errors.OutOfRangeError: there is not one batch left.
        """
        if not self.jit_compile or not can_be_stacked(iterator):
            steps, logs = self.plain(iterator, tf.constant(count))
            if not steps:
                raise tf.errors.OutOfRangeError(None, None, "There is no batch left.")
            return int(steps), logs
        steps, logs = 0, None
        while steps < count:
            try:
                full, rows, stacked, rest, left = self.pull(iterator, tf.constant(count - steps))
            except tf.errors.OutOfRangeError:
                if not steps:
                    raise
                break
            of = functools.partial(tf.nest.pack_sequence_as, iterator.element_spec)
            run = self.run if self._is_compiled_for(int(rows), int(full)) else self.run_loosely
            logs = run(full, of(stacked))
            if left:
                logs = self.run_alone(of(rest))
            steps += int(full) + int(left)
        return steps, logs

    def _is_compiled_for(self, rows: int, batches: int) -> bool:
        """Tells whether XLA takes this size: one of few, and none that comes once."""
        if rows not in self._sizes and len(self._sizes) < _SIZES:
            if self._sizes and batches == 1:
                return False
            self._sizes.add(rows)
        return rows in self._sizes

    def _plain(self, iterator: tf.data.Iterator, count: tf.Tensor) -> Any:
        """Does the steps in one loop over the iterator."""

        def body(done: tf.Tensor, go: tf.Tensor) -> Any:
            element = iterator.get_next_as_optional()

            def one_step() -> tf.Tensor:
                self.step(_without_optionals(element.get_value()))
                return tf.constant(True)

            go = tf.cond(element.has_value(), one_step, lambda: tf.constant(False))
            return done + tf.cast(go, tf.int32), go

        start = (tf.constant(0), tf.constant(True))
        done, _ = tf.while_loop(lambda done, go: go & (done < count), body, start)
        return done, self.results()

    def _pull(self, iterator: tf.data.Iterator, count: tf.Tensor) -> Any:
        """Returns the next batches of one size, and the batch of another size that follows them.

        The first are a number of batches, their rows, and the batches stacked (filled up to the
        capacity); the last is a batch and whether there is one.
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
        return full, rows, stacked, rest, left

    def _run(self, full: tf.Tensor, batches: Any) -> Any:
        def body(i: tf.Tensor) -> tf.Tensor:
            self.step(tf.nest.map_structure(lambda t: t[i], batches))
            return i + 1

        tf.while_loop(lambda i: i < full, body, [tf.constant(0)])
        return self.results()

    def _run_alone(self, batch: Any) -> Any:
        self.step(batch)
        return self.results()


def can_be_stacked(iterator: tf.data.Iterator) -> bool:
    """Tells whether the batches are tensors of one shape, but for their number of rows."""
    return all(
        isinstance(spec, tf.TensorSpec)
        and spec.shape.rank is not None
        and spec.shape.rank > 0
        and spec.shape[1:].is_fully_defined()
        for spec in tf.nest.flatten(iterator.element_spec)
    )


def _without_optionals(batch: Any) -> Any:
    """Puts None where Keras' adapters hold an empty optional for it."""
    return keras.tree.map_structure(
        lambda part: None if isinstance(part, tf.experimental.Optional) else part, batch
    )
