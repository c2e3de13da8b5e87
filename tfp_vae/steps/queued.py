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
    """How far an epoch has come, of a model whose functions may be made anew meanwhile.

    Attributes:
      left: how many of its steps are not done; None where its data say so by ending. No step of the
        next epoch is done early.
      done: how many steps are done and not asked for yet.
      asked: how many steps were asked for.
      logs: of the last step that is done.
      length: of data that did not say their length, as Keras counted it.
      iterator: the data's, or None.
    """

    left: int | None = None
    done: int = 0
    asked: int = 0
    logs: Any = None
    length: int | None = None
    iterator: Callable[[], Any] = lambda: None

    def begin(self, steps: int | None, anew: bool = False) -> None:
        """Begins an epoch of this number of steps; `anew`: the first of a `fit` or `evaluate`.

        Forgets steps that are done and that Keras did not ask for: a callback or an error may have
        ended their epoch.
        """
        self.length = None if anew else self.length
        self.left = self.length if steps is None else steps
        self.done = self.asked = 0


class Ahead:
    """A train or test function of Keras whose calls mostly find their step done.

    Keras counts one step for each call, so that its counts are right for any data: steps, the
    progress bar, the batches of callbacks. The first call of a block does the steps of all; the
    calls that follow return the logs of the block's last step.

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
        """Does one step of Keras', or finds it done."""
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
