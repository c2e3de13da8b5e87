"""Steps that are done several in a call, and handed to Keras one by one."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.steps.stacked import Block


@dataclasses.dataclass
class Epoch:
    """How far an epoch has come. It belongs to the model: its functions may be made anew meanwhile.

    Attributes:
      left: how many of its steps are not done; None where its data say so by ending. No step of the
        next epoch is done early.
      done: how many steps are done and not asked for yet.
      asked: how many steps were asked for.
      logs: what the last step that is done left.
    """

    left: int | None = None
    done: int = 0
    asked: int = 0
    logs: Any = None
    length: int | None = None  # of data that did not say it, as Keras counted it
    iterator: Callable[[], Any] = lambda: None

    def begin(self, steps: int | None, anew: bool = False) -> None:
        """Begins an epoch of this number of steps; `anew`: the first of a `fit` or `evaluate`.

        Steps that Keras did not ask for, since a callback or an error ended their epoch, are
        forgotten.
        """
        self.length = None if anew else self.length
        self.left = self.length if steps is None else steps
        self.done = self.asked = 0


class Ahead:
    """A train or test function of Keras whose calls mostly find their step done.

    Keras is left with one step for each call, so that all that it counts is right for any data:
    steps, the progress bar, the batches that callbacks are told of. The first call of a block does
    the steps of all; the calls that follow give what the last step of the block left.

    Args:
      block: does several steps in a call.
      one_by_one: does one step, for data that are no `tf.data` iterator.
      epoch: how far the epoch has come.
    """

    def __init__(self, block: Block, one_by_one: Callable[[Any], Any], epoch: Epoch) -> None:
        self.block = block
        self.one_by_one = one_by_one
        self.epoch = epoch

    def __call__(self, iterator: Any) -> Any:
        """One step of Keras'."""
        if not isinstance(iterator, tf.data.Iterator):
            return self.one_by_one(iterator)
        epoch = self.epoch
        if epoch.iterator() is not iterator:
            epoch.done, epoch.iterator = 0, weakref.ref(iterator)
        if not epoch.done:
            most = self.block.capacity
            count = most if epoch.left is None else max(1, min(most, epoch.left))
            try:
                epoch.done, logs = self.block(iterator, count)
            except tf.errors.OutOfRangeError:
                if epoch.left is None:
                    epoch.length = epoch.asked + 1  # Keras asks for as many from now on
                raise
            epoch.logs = keras.tree.map_structure(keras.ops.convert_to_numpy, logs)
            if epoch.left is not None:
                epoch.left -= epoch.done
        epoch.done -= 1
        epoch.asked += 1
        return epoch.logs


class TellsEpochs(keras.callbacks.Callback):
    """Tells a model where an epoch of training begins and how many steps it has."""

    each_batch = False

    def __init__(self, epoch: Epoch, steps: int | None) -> None:
        super().__init__()
        self.epoch = epoch
        self.steps = steps

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch.begin(self.steps, anew=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch.begin(self.steps)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing: Keras calls in a thread what has no such method, at a cost for each step."""
