"""Ctrl-C, and what a scheduler sends before it kills, between two calls of TensorFlow."""

from __future__ import annotations

import signal
import threading
from typing import Any

import keras

from tfp_vae.callbacks import WithinEpoch

# Each with the handler of a program that has not chosen another: SIGTERM and SIGHUP come where a
# machine is taken away or a terminal is closed.
_SIGNALS = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt by a signal.

    Attributes:
      number: the signal's.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


class BetweenSteps(keras.callbacks.Callback):
    """A context and a callback that let Ctrl-C end `fit` after the step at hand; a second at once.

    The last step of an epoch is followed by its evaluation and callbacks first. SIGTERM and SIGHUP,
    of a scheduler or a terminal that closes, end `fit` likewise.

    Python raises KeyboardInterrupt wherever it stands. Inside TensorFlow the exception ends the
    process (a conversion to a tensor: SIGSEGV), is lost (a destructor), or leaves a function that
    fails from then on. The callback is the last of its list, so that the others see the step first.
    Other handlers than Python's own stay as they are, as does everything outside the main thread.

    Raises:
      Interrupted: a KeyboardInterrupt, after the step, or at the latest when the context ends.

    Example:
      >>> with BetweenSteps() as between_steps:
      ...     callbacks = [keras.callbacks.TerminateOnNaN(), between_steps]  # for `fit`
    """

    each_batch = False

    def __init__(self) -> None:
        super().__init__()
        self._asked: int | None = None
        self._within: WithinEpoch
        self._taken: dict[int, Any] = {}

    def __enter__(self) -> BetweenSteps:
        if threading.current_thread() is threading.main_thread():
            for name, usual in _SIGNALS.items():
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is usual:
                    self._taken[number] = usual
                    signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._give_back()
        if kind is None:
            self._raise_if_asked()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._within = WithinEpoch(self)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._asked is not None and self._within():
            self._raise_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._raise_if_asked()

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = number
        self._give_back()

    def _give_back(self) -> None:
        while self._taken:
            signal.signal(*self._taken.popitem())

    def _raise_if_asked(self) -> None:
        if self._asked is not None:
            number, self._asked = self._asked, None
            raise Interrupted(number)
