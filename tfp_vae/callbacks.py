"""Callbacks of a training run that Keras does not have."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfp_vae.arguments.rules import checked


class WithinEpoch:
    """A test, for the hooks of a callback, of whether the epoch has steps left.

    One call may do several steps; the callbacks of these steps follow once all are done.

    Args:
      callback: the callback whose `on_epoch_begin` makes this test.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self.model = callback.model
        self.steps = (callback.params or {}).get("steps") or math.inf
        self.begun = int(self.model.optimizer.iterations)

    def __call__(self) -> bool:
        return int(self.model.optimizer.iterations) - self.begun < self.steps


class KeepGood(keras.callbacks.Callback):
    """A callback that saves the model, and stops with the last good one at a loss of NaN or inf.

    The callback copies all variables (weights, optimizer, seeds) at each epoch's end; when the loss
    is no longer finite, the copy is put back and saved.

    Args:
      save: writes the model.
      every_seconds: saves no more often than this, within long epochs too.

    Attributes:
      failed_at: the epoch, counted from 1, in which the loss was no longer finite; None: none.

    Example:
      >>> KeepGood(save=lambda model: model.save("model.keras")).failed_at is None
      True
    """

    each_batch = False  # a look now and then is enough

    @checked
    def __init__(self, save: Callable[[Any], None], every_seconds: float = 15.0) -> None:
        super().__init__()
        self.save = save
        self.every_seconds = every_seconds
        self.failed_at: int | None = None
        self._epoch = 0
        self._good: list[np.ndarray] = []
        self._within: WithinEpoch
        self._begun = self._saved = -math.inf

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.model.optimizer.built:  # Keras would make its variables at the first step
            self.model.optimizer.build(self.model.trainable_variables)
        self._keep()
        self._begun = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._within = WithinEpoch(self)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._look(logs)
        is_due = time.monotonic() - max(self._begun, self._saved) > self.every_seconds
        if is_due and self.failed_at is None and self._within():
            values = map(keras.ops.convert_to_numpy, self._variables())
            if all(np.isfinite(value).all() for value in values):  # the loss shows it a step later
                self._save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._look(logs)  # the last step may have broken the model: only val_loss shows it
        if self.failed_at is None:
            self._keep()
            if time.monotonic() - self._saved > self.every_seconds:
                self._save()

    def on_train_end(self, logs: Any = None) -> None:
        if self.failed_at is not None:
            for variable, value in zip(self._variables(), self._good, strict=True):
                variable.assign(value)
        self.save(self.model)

    def _save(self) -> None:
        self.save(self.model)
        self._saved = time.monotonic()

    def _look(self, logs: dict[str, float]) -> None:
        losses = [value for name, value in logs.items() if name in ("loss", "val_loss")]
        if not np.isfinite(losses).all():
            self.failed_at = self._epoch + 1
            self.model.stop_training = True

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _keep(self) -> None:
        self._good = [keras.ops.convert_to_numpy(variable) for variable in self._variables()]


class FixedEvaluation(keras.callbacks.Callback):
    """A callback that gives each evaluation the same draws, and leaves training its own.

    So validation losses differ by the model alone, and a run that stopped anywhere and went on is
    the run that did not stop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seeds: list[Any] = []
        self._training: list[np.ndarray] = []  # empty but for the time of an evaluation

    def on_train_begin(self, logs: Any = None) -> None:
        self._seeds = [v for v in self.model.variables if v.name == "seed_generator_state"]

    def on_test_begin(self, logs: Any = None) -> None:
        self._training = [keras.ops.convert_to_numpy(seed) for seed in self._seeds]
        for i, seed in enumerate(self._seeds):
            seed.assign([i, 0])

    def on_test_end(self, logs: Any = None) -> None:
        self.restore()

    def restore(self) -> None:
        """Gives training its draws back: Keras does not where an evaluation was interrupted."""
        for seed, state in zip(self._seeds, self._training, strict=False):
            seed.assign(state)
        self._training = []


def say(text: str) -> None:
    """Prints a line; if the terminal was closed, work goes on."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


class ProgressBar(keras.callbacks.Callback):
    """A progress bar over all epochs of a run; without a terminal, a line for every tenth.

    Args:
      total: steps in the whole run.
      done: steps before this `fit`.
    """

    each_batch = False

    @checked
    def __init__(self, total: int, done: int = 0) -> None:
        super().__init__()
        self.total = total
        self.done = done
        self._terminal = sys.stdout.isatty()
        self._bar = keras.utils.Progbar(total, unit_name="step")
        self._in_epoch = 0
        self._validation: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        steps = (self.params or {}).get("steps") or batch + 1
        self._in_epoch = min(batch + 1, steps)  # the last call of an epoch may have fewer
        if self._terminal and self.done + self._in_epoch < self.total:
            with contextlib.suppress(OSError):  # the terminal was closed
                self._show(self.done + self._in_epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        before, self.done = self.done, self.done + self._in_epoch
        self._validation = {name: logs[name] for name in ("val_loss",) if name in logs}
        if self._terminal:
            with contextlib.suppress(OSError):
                self._show(self.done, logs)
        elif before * 10 // self.total < self.done * 10 // self.total:
            values = ", ".join(f"{name} {value:.2f}" for name, value in self._values(logs))
            say(f"epoch {epoch + 1}, step {self.done} of {self.total}: {values}")

    def _show(self, step: int, logs: dict[str, float]) -> None:
        values = self._values(logs)
        self._bar.stateful_metrics = {name for name, _ in values}
        self._bar.update(step, values)

    def _values(self, logs: dict[str, float]) -> list[tuple[str, float]]:
        shown = {name: logs[name] for name in ("loss", "nll", "kl") if name in logs}
        return [*shown.items(), *self._validation.items()]
