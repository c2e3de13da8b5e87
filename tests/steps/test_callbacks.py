from __future__ import annotations

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_networks

from tfp_vae import VAE, callbacks
from tfp_vae.callbacks import FixedEvaluation, KeepGood, ProgressBar

STEPS = 4  # in an epoch


class Jump(keras.optimizers.schedules.LearningRateSchedule):
    """1e-3, and at one step what no model survives."""

    def __init__(self, at):
        self.at = at

    def __call__(self, step):
        return tf.where(step == self.at, 1e30, 1e-3)

    def get_config(self):
        return {"at": self.at}


def trained(x, epochs, *extra, rate=1e-3, bad_from=None, bad=np.nan, per_execution=1, **kwargs):
    """A VAE after `epochs`, whose data, order and draws depend on nothing else."""
    keras.utils.set_random_seed(1)
    vae = VAE(*small_networks())
    vae.compile(keras.optimizers.Adam(rate), steps_per_execution=per_execution, jit_compile=False)

    def batch(step):
        first = 8 * (step % 8)
        rows = tf.constant(x)[first : first + 8]
        return rows if bad_from is None else tf.where(step >= bad_from, bad, rows)

    batches = tf.data.Dataset.range(10**6).map(batch)
    history = vae.fit(
        batches, epochs=epochs, steps_per_epoch=STEPS, callbacks=[*extra], verbose=0, **kwargs
    )
    return vae, history


def state(vae) -> list[np.ndarray]:
    variables = [*vae.variables, *vae.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_kept(x, tmp_path, good, *, epochs=6, **kwargs):
    """Training stops at the first bad epoch, and what is left is the end of the last good one."""
    path = tmp_path / "model.keras"
    keep = KeepGood(lambda model: model.save(path))
    vae, history = trained(x, epochs, keep, **kwargs)
    assert keep.failed_at == good + 1
    assert len(history.epoch) == good + 1
    expected, _ = trained(x, good, **kwargs)
    assert int(expected.optimizer.iterations) == good * STEPS
    for kept in (vae, keras.models.load_model(path, custom_objects={"Jump": Jump})):
        assert all(np.isfinite(value).all() for value in state(kept))
        assert_same(state(kept), state(expected))


@pytest.mark.one
@pytest.mark.parametrize(
    ("bad_from", "good", "bad", "per_execution"),
    [(4, 1, np.nan, 1), (9, 2, np.nan, 2), (11, 2, np.inf, 1), (15, 3, np.inf, STEPS)],
)
def test_of_data_that_turn_bad_the_last_good_epoch_is_kept(
    x, tmp_path, bad_from, good, bad, per_execution
):
    assert_kept(x, tmp_path, good, bad_from=bad_from, bad=bad, per_execution=per_execution)


@pytest.mark.again
@pytest.mark.parametrize(("at", "per_execution"), [(4, 1), (6, STEPS)])
def test_of_a_training_that_diverges_the_last_good_epoch_is_kept(x, tmp_path, at, per_execution):
    assert_kept(x, tmp_path, 1, rate=Jump(at), per_execution=per_execution)


@pytest.mark.again
def test_an_epoch_whose_last_step_breaks_the_model_is_no_good_one(x, tmp_path):
    validation = tf.data.Dataset.from_tensor_slices(x).batch(32)
    assert_kept(x, tmp_path, 1, rate=Jump(7), validation_data=validation)


def test_a_failure_in_the_first_epoch_leaves_the_untrained_model(x, tmp_path):
    path = tmp_path / "model.keras"
    keep = KeepGood(lambda model: model.save(path))
    trained(x, 3, keep, bad_from=2)
    keras.utils.set_random_seed(1)
    untrained = VAE(*small_networks())
    left = keras.models.load_model(path)
    assert keep.failed_at == 1
    assert int(left.optimizer.iterations) == 0
    assert_same(left.get_weights(), untrained.get_weights())


@pytest.mark.again
def test_of_a_good_run_the_final_model_is_saved(x, tmp_path):
    path = tmp_path / "model.keras"
    keep = KeepGood(lambda model: model.save(path))
    vae, history = trained(x, 3, keep)
    assert keep.failed_at is None
    assert len(history.epoch) == 3
    assert_same(state(keras.models.load_model(path)), state(vae))
    assert_same(state(vae), state(trained(x, 3)[0]))  # and keeping changes nothing


@pytest.mark.one
@pytest.mark.parametrize(
    ("every_seconds", "saved_after"),
    [(3, [*range(1, 29), 28]), (35, [*range(4, 29, 4), 28]), (65, [4, 11, 18, 25, 28])],
)
def test_saving_is_throttled_within_epochs_too_but_for_the_first_and_the_end(
    monkeypatch, every_seconds, saved_after
):
    clock = SimpleNamespace(now=1e6)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class TenSeconds(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            clock.now += 10

    saved = []
    keep = KeepGood(lambda model: saved.append(int(model.optimizer.iterations)), every_seconds)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    ones = np.ones((STEPS, 1))
    model.fit(ones, ones, batch_size=1, epochs=7, callbacks=[TenSeconds(), keep], verbose=0)
    assert saved == list(saved_after)


# -- evaluation --------------------------------------------------------------------------------


@pytest.mark.again
def test_evaluation_leaves_training_the_draws_that_it_has_without(x):
    validation = tf.data.Dataset.from_tensor_slices(x).batch(32)
    with_validation, _ = trained(x, 3, FixedEvaluation(), validation_data=validation)
    assert_same(state(with_validation), state(trained(x, 3)[0]))


def test_each_evaluation_has_the_same_draws(x):
    validation = tf.data.Dataset.from_tensor_slices(x).batch(32)
    _, history = trained(x, 3, FixedEvaluation(), rate=0.0, validation_data=validation)
    assert len(set(history.history["val_loss"])) == 1
    assert len(set(history.history["loss"])) == 3


# -- progress ----------------------------------------------------------------------------------

LOGS = {"loss": 3.0, "nll": 2.0, "kl": 1.004, "val_loss": 4.0, "val_kl": 5.0}


@pytest.mark.parametrize(
    ("epochs", "done", "lines"),
    [(1, 0, 1), (3, 0, 3), (10, 0, 10), (30, 0, 10), (95, 0, 10), (30, 15, 5), (30, 29, 1)],
)
def test_without_a_terminal_there_is_a_line_every_tenth(capsys, epochs, done, lines):
    steps = 7
    bar = ProgressBar(epochs * steps, done * steps)
    for epoch in range(done, epochs):
        for batch in range(steps):
            bar.on_train_batch_end(batch, LOGS)
        bar.on_epoch_end(epoch, LOGS)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == lines
    assert out[-1] == (
        f"epoch {epochs}, step {epochs * steps} of {epochs * steps}: "
        "loss 3.00, nll 2.00, kl 1.00, val_loss 4.00"
    )
    at = [int(line.split()[1].rstrip(",")) for line in out]
    assert at == sorted(set(at))
    assert max(np.diff([done, *at])) <= -(-epochs // 10)


@pytest.mark.parametrize("per_execution", [1, 2])
@pytest.mark.again
def test_the_progress_of_a_fit_ends_at_its_last_step(x, capsys, per_execution):
    _, history = trained(x, 20, ProgressBar(80), per_execution=per_execution)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 10
    assert out[0].startswith("epoch 2, step 8 of 80: loss ")
    last = {name: values[-1] for name, values in history.history.items()}
    values = ", ".join(f"{name} {last[name]:.2f}" for name in ("loss", "nll", "kl"))
    assert out[-1] == f"epoch 20, step 80 of 80: {values}"


@pytest.mark.again
def test_on_a_terminal_one_bar_goes_over_all_epochs(x, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    validation = tf.data.Dataset.from_tensor_slices(x).batch(32)
    _, history = trained(x, 5, ProgressBar(40, done=20), validation_data=validation)
    out = capsys.readouterr().out
    assert "epoch" not in out
    assert "21/40" in out  # of the others, as many as its refresh rate lets through
    assert out.count("40/40") == out.count("\n") == 1
    last = out.split("\r")[-1].rsplit("40/40", 1)[-1]
    assert f"val_loss: {history.history['val_loss'][-1]:.4f}" in last
