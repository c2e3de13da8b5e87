"""Ctrl-C is raised between two calls of TensorFlow."""

from __future__ import annotations

import signal
import threading

import keras
import numpy as np
import pytest

from tfp_vae.steps.interrupt import BetweenSteps, Interrupted

BATCHES, EPOCHS = 3, 2


@pytest.fixture(autouse=True)
def _handled():
    """SIGINT as a program finds it that a person starts; a worker of pytest-xdist ignores it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


class Press(keras.callbacks.Callback):
    """Ctrl-C in one of Keras' hooks, and what came after it in the order of a run."""

    def __init__(self, hook, times=1, number=signal.SIGINT):
        super().__init__()
        self.number = number
        self.hook = hook
        self.times = times
        self.seen: list[str] = []
        for name in ("train_batch_begin", "train_batch_end", "test_batch_begin", "test_batch_end"):
            setattr(self, f"on_{name}", lambda batch, logs=None, name=name: self._at(name))
        self.on_epoch_end = lambda epoch, logs=None: self._at("epoch_end")
        self.on_train_end = lambda logs=None: self._at("train_end")

    def _at(self, name):
        if self.seen or name == self.hook:
            if not self.seen:
                for _ in range(self.times):
                    signal.raise_signal(self.number)
            self.seen.append(name)


def fit(press, between_steps, batches=BATCHES):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((batches, 2), "float32"), np.ones((batches, 1), "float32")
    callbacks = [press, between_steps]
    try:
        model.fit(
            x, y, 1, EPOCHS, verbose=0, validation_data=(x, y), validation_batch_size=1,
            callbacks=callbacks,
        )  # fmt: skip
    finally:
        press.steps = int(model.optimizer.iterations)


@pytest.mark.one
@pytest.mark.parametrize(
    ("hook", "seen", "steps"),
    [
        ("train_batch_begin", ["train_batch_begin", "train_batch_end"], 1),
        ("train_batch_end", ["train_batch_end"], 1),
        (
            "test_batch_begin",
            [*["test_batch_begin", "test_batch_end"] * BATCHES, "epoch_end"],
            BATCHES,
        ),
        ("epoch_end", ["epoch_end"], BATCHES),
        ("train_end", ["train_end"], BATCHES * EPOCHS),  # when no step follows
    ],
)
def test_what_runs_is_finished_first(hook, seen, steps):
    press = Press(hook)
    with pytest.raises(KeyboardInterrupt), BetweenSteps() as between_steps:
        fit(press, between_steps)
    assert press.seen == seen
    assert press.steps == steps
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.again
def test_after_the_last_step_of_an_epoch_its_end_comes_first():
    """With the evaluation: what is saved then has its row."""
    press = Press("train_batch_begin")
    with pytest.raises(KeyboardInterrupt), BetweenSteps() as between_steps:
        fit(press, between_steps, batches=1)
    assert press.seen[-1] == "epoch_end"
    assert press.steps == 1


@pytest.mark.one
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_scheduler_sends_ends_it_likewise(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        press = Press("train_batch_begin", number=number)
        with pytest.raises(Interrupted) as ended, BetweenSteps() as between_steps:
            fit(press, between_steps)
        assert ended.value.number == number
        assert press.seen == ["train_batch_begin", "train_batch_end"]
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # as `nohup` has it: it stays so
        with BetweenSteps() as between_steps:
            press = Press("train_batch_begin", number=number)
            fit(press, between_steps)
        assert press.steps == BATCHES * EPOCHS
    finally:
        signal.signal(number, before)


def test_the_second_is_raised_at_once():
    press = Press("train_batch_begin", times=2)
    with pytest.raises(KeyboardInterrupt), BetweenSteps() as between_steps:
        fit(press, between_steps)
    assert press.seen == []
    assert press.steps == 0


@pytest.mark.again
def test_one_that_was_raised_is_not_raised_again():
    between_steps = BetweenSteps()
    with pytest.raises(KeyboardInterrupt), between_steps:
        fit(Press("train_batch_begin"), between_steps)
    with between_steps:
        fit(Press(None), between_steps)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_comes_before_ctrl_c():
    def fails():
        with BetweenSteps():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        fails()


@pytest.mark.one
@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda number, frame: None])
def test_a_handler_of_another_stays(other):
    signal.signal(signal.SIGINT, other)
    with BetweenSteps() as between_steps:
        assert signal.getsignal(signal.SIGINT) is other
        press = Press("train_batch_begin")
        fit(press, between_steps)
    assert signal.getsignal(signal.SIGINT) is other
    assert press.steps == BATCHES * EPOCHS


def test_outside_the_main_thread_nothing_changes():
    found = []

    def enter():
        with BetweenSteps():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
