"""Ctrl-C between two calls of TensorFlow, not within one."""

from __future__ import annotations

import signal
import threading
from typing import Any

import keras


class BetweenSteps(keras.callbacks.Callback):
    """Lets Ctrl-C end `fit` after the step at hand, or the evaluation's; a second one at once.

    Python raises KeyboardInterrupt wherever it stands. Inside TensorFlow that ends the process (a
    conversion to a tensor: SIGSEGV), is lost (a destructor), or leaves a function that fails from
    then on. A context and a callback, the last of its list, so that the others see the step first.
    Other handlers than Python's own stay as they are, as does everything outside the main thread.

    Raises:
      KeyboardInterrupt: after the step, or at the latest when the context ends.

    Example:
      >>> with BetweenSteps() as between_steps:
      ...     callbacks = [keras.callbacks.TerminateOnNaN(), between_steps]  # for `fit`
    """

    each_batch = False

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self._takes_over = False

    def __enter__(self) -> BetweenSteps:
        self._takes_over = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._takes_over:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._give_back()
        if kind is None:
            self._raise_if_asked()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._raise_if_asked()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._raise_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._raise_if_asked()

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        self._give_back()

    def _give_back(self) -> None:
        if self._takes_over:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._takes_over = False

    def _raise_if_asked(self) -> None:
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt
