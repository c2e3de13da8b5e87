"""Callbacks of `fit`: which of these want each batch, and which tells where epochs begin."""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.arguments import amounts
from tfp_vae.errors import InputError
from tfp_vae.steps.queued import Epoch

_HOOKS = [
    f"on_{kind}_{when}"
    for kind in ("train_batch", "test_batch", "batch")
    for when in ("begin", "end")
]
_ONLY_LOOK_ON = (keras.callbacks.ProgbarLogger, keras.callbacks.TerminateOnNaN)
_THE_LESS_THE_BETTER = ("nll", "val_nll")


class TellsEpochs(keras.callbacks.Callback):
    """Tells a model where an epoch of training begins and how many steps the epoch has."""

    each_batch = False

    def __init__(self, epoch: Epoch, steps: int | None) -> None:
        super().__init__()
        self.epoch, self.steps = epoch, steps

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch.begin(self.steps, anew=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch.begin(self.steps)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Does nothing: Keras calls a callback without this method in a thread, at each step."""


def looks_at_each_batch(callback: keras.callbacks.Callback) -> bool:
    """Tells whether a callback may want to be called at each training step.

    A callback that has a method for steps does, unless it says `each_batch = False`, or is one of
    Keras' that works at the end of epochs.
    """
    if not getattr(callback, "each_batch", True) or isinstance(callback, _ONLY_LOOK_ON):
        return False
    often = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
    if often == "epoch":
        return False
    here, base = type(callback), keras.callbacks.Callback
    overridden = any(getattr(here, hook) is not getattr(base, hook) for hook in _HOOKS)
    return overridden or any(hook in vars(callback) for hook in _HOOKS)


def telling_epochs(callbacks: Any, epoch: Epoch, steps: int | None) -> Any:
    """Returns `fit`'s callbacks with a `TellsEpochs` in front, each knowing that nll is minimized.

    Keras knows the direction of those metrics only that `compile` is given.
    """
    told = TellsEpochs(epoch, amounts.at_most(steps))
    for callback in listed(callbacks):
        monitored = getattr(callback, "monitor", "")
        if monitored in _THE_LESS_THE_BETTER and getattr(callback, "mode", "") == "auto":
            callback.mode = "min"
    if isinstance(callbacks, keras.callbacks.CallbackList):
        others = [c for c in callbacks.callbacks if not isinstance(c, TellsEpochs)]
        callbacks.callbacks = [told, *others]
        return callbacks
    return [told, *listed(callbacks)]


def listed(callbacks: Any) -> list[Any]:
    """Returns callbacks, in whatever form Keras takes them, as a list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks.callbacks
    return keras.tree.flatten(callbacks)


def are_callbacks(given: Any) -> None:
    """Raises `InputError` unless they are Keras' callbacks."""
    for callback in listed(given):
        if callback is not None and not isinstance(callback, keras.callbacks.Callback):
            raise InputError("Expected callbacks to be keras.callbacks.Callback()s.", callback)
