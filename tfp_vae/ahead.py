"""Steps that are done several in a call, and handed to Keras one by one."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.blocks import Block


class Ahead:
    """A train or test function of Keras whose calls mostly find their step done.

    Keras is left with one step for each call, so that all that it counts is right for any data:
    steps, the progress bar, the batches that callbacks are told of. The first call of a block does
    the steps of all; the calls that follow give what the last step of the block left.

    Args:
      block: does several steps in a call.
      one_by_one: does one step, for data that are no `tf.data` iterator.

    No step of the next epoch is done early: an epoch begins with the number of its steps, or None,
    where its data say so by ending.
    """

    def __init__(self, block: Block, one_by_one: Callable[[Any], Any]) -> None:
        self.block = block
        self.one_by_one = one_by_one
        self._left: int | None = None  # steps of the epoch that are not done
        self._done = 0  # steps that are done and not asked for
        self._asked = 0
        self._length: int | None = None
        self._logs: Any = None
        self._iterator: Callable[[], Any] = lambda: None

    def begin(self, steps: int | None, anew: bool = False) -> None:
        """Begins an epoch of this number of steps; `anew`: the first of a `fit` or `evaluate`.

        Steps that Keras did not ask for, since a callback or an error ended their epoch, are
        forgotten.
        """
        self._length = None if anew else self._length
        self._left = self._length if steps is None else steps
        self._done = self._asked = 0

    def __call__(self, iterator: Any) -> Any:
        """One step of Keras'."""
        if not isinstance(iterator, tf.data.Iterator):
            return self.one_by_one(iterator)
        if self._iterator() is not iterator:
            self._done, self._iterator = 0, weakref.ref(iterator)
        if not self._done:
            most = self.block.capacity
            count = most if self._left is None else max(1, min(most, self._left))
            try:
                self._done, logs = self.block(iterator, count)
            except tf.errors.OutOfRangeError:
                if self._left is None:
                    self._length = self._asked + 1  # as Keras counts, and asks for from now on
                raise
            self._logs = keras.tree.map_structure(keras.ops.convert_to_numpy, logs)
            if self._left is not None:
                self._left -= self._done
        self._done -= 1
        self._asked += 1
        return self._logs


class TellsEpochs(keras.callbacks.Callback):
    """Tells a model's train function where an epoch begins and how many steps it has."""

    each_batch = False

    def __init__(self, model: Any, steps: int | None) -> None:
        super().__init__()
        self.trained = model
        self.steps = steps

    def on_train_begin(self, logs: Any = None) -> None:
        self._begin(anew=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin(anew=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing: Keras calls in a thread what has no such method, at a cost for each step."""

    def _begin(self, anew: bool) -> None:
        if isinstance(self.trained.train_function, Ahead):
            self.trained.train_function.begin(self.steps, anew)
