"""Runs that go on where they stopped, however they stopped."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from commands import SMALL, STEPS, TFP_VAE, history, main, results, state

from tfp_vae import InputError, callbacks
from tfp_vae.app import history as metrics
from tfp_vae.app import reporting, runs, training
from tfp_vae_cli.fields import plain
from tfp_vae_cli.options import RunOptions
from tfp_vae_cli.refusal import Refusal

CYCLES = ["ELBO", "--objective.beta", "tfp_vae.schedules.Cyclical", "--objective.beta.period", 20]


@pytest.mark.parametrize(
    ("objective", "check"),
    [
        pytest.param(
            ["IWAE", "--objective.num_samples", 3],
            lambda objective: objective.num_samples == 3,
            marks=pytest.mark.again,
        ),
        (CYCLES, lambda objective: objective.beta.period == 20),
    ],
    ids=["IWAE", "ELBO with a schedule"],
)
@pytest.mark.again
def test_resume_goes_on_to_more_epochs_with_the_objective_of_the_run(here, objective, check):
    assert main(["train", "--epochs", 2, *SMALL, "--objective", *objective, "--out", "run"]) == 0
    run = runs.Run.open("run")
    before = run.history.read_text()
    assert check(run.load_model().objective)
    assert main(["train", "--resume", "run", "--epochs", 4]) == 0
    assert run.history.read_text().startswith(before)
    assert [row["epoch"] for row in history(run)] == [0, 1, 2, 3]
    assert results(run)["steps"] == 4 * STEPS
    assert run.read_config()["epochs"] == 4
    assert check(run.load_model().objective)


@pytest.mark.again
def test_a_run_of_before_an_option_was_there_goes_on(here):
    assert main(["train", "--epochs", 1, *SMALL, "--out", "run"]) == 0
    config = here / "run" / "config.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(each for each in lines if not each.startswith("labelled:")))
    assert config.read_text().count("\n") < len(lines) - 1
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert len(history(runs.Run.open("run"))) == 2


TRAINING = "on_train_batch_end"

# 43 images for training one by one, 2 that are watched: an epoch of 43 steps is a call of 32 steps
# and one of 11.
EPOCH, EXECUTION = 43, 32


@pytest.fixture(scope="module")
def options(tmp_path_factory, digits):
    path = tmp_path_factory.mktemp("data") / "fifty.npy"
    np.save(path, digits.train[:50])
    return RunOptions(
        data=str(path),
        binarize="dynamic",
        latent_size=2,
        widths=[16],
        epochs=4,
        batch_size=1,
        learning_rate=2e-2,
        seed=3,
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, options):
    return fit(tmp_path_factory.mktemp("whole"), options)


def fit(path, options):
    run = runs.Run(path)
    run.write_config(plain(options))
    session = training.Training(run, options, None)
    assert session.fit().failed_at is None
    return session


def fit_until(path, options, step, stop, monkeypatch, hook=TRAINING):
    """As `fit`, but `stop` is raised after a step, by one of the hooks of a callback."""

    def stop_at_step(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == step:
            raise stop

    run = runs.Run(path)
    run.write_config(plain(options))
    session = training.Training(run, options, None)
    with monkeypatch.context() as patch:
        patch.setattr(training.ProgressBar, hook, stop_at_step)
        with pytest.raises(stop):
            session.fit()
    assert session.step == step
    return session


class Killed(BaseException):
    """What ends a run at once, as far as the run can tell."""


MOMENTS = {
    "before the first save": (callbacks.KeepGood, "on_train_begin", 0),
    "between the row of an epoch and its model": (callbacks.KeepGood, "on_epoch_end", 1),
    "while the model is written": (runs.Run, "save", 1),
    "while figures are drawn": (reporting, "figures", 0),
    "before the results are written": (runs.Run, "write_results", 0),
}


WORDS = ["train", "--epochs", 3, *SMALL]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*WORDS, "--out", path]) == 0
    return runs.Run.open(path)


@pytest.mark.again
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(here, whole, monkeypatch, moment):
    """Its weights, its rows, its results and its figures; nothing else is left behind."""
    owner, name, passed = moment
    usual, calls = getattr(owner, name), []

    def killed(*args, **kwargs):
        calls.append(name)
        if len(calls) > passed:
            raise Killed
        return usual(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(Killed):
            main([*WORDS, "--out", "killed"])
    assert main(["train", "--resume", "killed"]) == 0
    resumed = runs.Run.open("killed")
    for a, b in zip(state(resumed.load_model()), state(whole.load_model()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert resumed.history.read_text() == whole.history.read_text()
    for a, b in zip(*map(keras.tree.flatten, (results(resumed), results(whole))), strict=True):
        assert a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-5))
    files = [{path.name for path in run.path.rglob("*")} for run in (whole, resumed)]
    assert {n for n in files[0] ^ files[1] if "tfevents" not in n} == set()


@pytest.mark.again
def test_one_folder_has_one_run(here):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: runs.Run.next("runs/digits").path.name, range(32)))
    assert sorted(found) == sorted(f"digits-{number}" for number in range(1, 33))
    folder = runs.Run("one")
    refused = pytest.raises(InputError, match=r"no other process.*Received: one")
    with folder.locked(), refused, runs.Run("one").locked():
        pass
    assert not folder.path.exists()  # it was made for nothing
    assert main(["train", "--epochs", 1, *SMALL, "--out", "one"]) == 0
    with folder.locked():
        assert main(["train", "--resume", "one", "--epochs", 2]) == 2
    assert not (folder.path / ".lock").exists()


def assert_same_end(resumed, uninterrupted):
    assert resumed.step == uninterrupted.step == 4 * EPOCH
    for a, b in zip(state(resumed.vae), state(uninterrupted.vae), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_an_epoch_is_executed_in_calls_of_several_steps(uninterrupted):
    assert uninterrupted.steps == EPOCH
    assert uninterrupted.vae.steps_per_call == EXECUTION


@pytest.mark.again
@pytest.mark.parametrize(
    ("step", "hook"),
    [
        (EXECUTION, TRAINING),
        (EPOCH + EXECUTION, TRAINING),
        (2 * EPOCH, TRAINING),
    ],
)
def test_a_run_interrupted_saved_and_resumed_ends_as_one_that_was_not(
    tmp_path, options, uninterrupted, step, hook, monkeypatch
):
    interrupted = fit_until(tmp_path, options, step, KeyboardInterrupt, monkeypatch, hook)
    interrupted.save(interrupted.vae)
    resumed = fit(tmp_path, options)
    assert_same_end(resumed, uninterrupted)
    ours, theirs = history(resumed.run), history(uninterrupted.run)
    assert [row["epoch"] for row in theirs] == [0, 1, 2, 3]
    # What was interrupted behind the last step of an epoch by hand has no row of it.
    complete = [row for row in theirs if step % EPOCH or row["epoch"] != (step - 1) // EPOCH]
    assert ours == complete


@pytest.mark.again
def test_a_run_interrupted_twice_ends_as_one_that_was_not(
    tmp_path, options, uninterrupted, monkeypatch
):
    for step in (EXECUTION, EPOCH + EXECUTION):
        interrupted = fit_until(tmp_path, options, step, KeyboardInterrupt, monkeypatch)
        interrupted.save(interrupted.vae)
    assert_same_end(fit(tmp_path, options), uninterrupted)


@pytest.mark.again
def test_a_run_that_was_killed_goes_on_from_its_last_saved_epoch(
    tmp_path, options, uninterrupted, monkeypatch
):
    class Killed(BaseException):
        pass

    fit_until(tmp_path, options, 2 * EPOCH + EXECUTION, Killed, monkeypatch)
    assert int(runs.Run(tmp_path).load_model().optimizer.iterations) == EPOCH
    assert_same_end(fit(tmp_path, options), uninterrupted)


@contextlib.contextmanager
def started(arguments, cwd):
    # A child ignores SIGINT if this process does, as one that a shell runs in the background.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*TFP_VAE, *map(str, arguments)],
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, handler)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.again
def test_ctrl_c_leaves_a_model_that_resume_goes_on_with(here, capsys):
    arguments = ["train", "--epochs", 500, *SMALL, "--out", "run"]
    with started(arguments, here) as process:
        for line in process.stdout:
            if line.startswith("epoch "):
                break
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr[-3000:]
    assert "Traceback" not in stderr
    (step,) = re.findall(r"Interrupted at step (\d+)", stderr)
    assert "run/model.keras" in stderr
    assert "-m tfp_vae_cli train --resume run" in stderr
    run = runs.Run.open("run")
    step = int(step)
    assert int(run.load_model().optimizer.iterations) == step
    assert 50 * STEPS <= step < 500 * STEPS
    epochs = step // STEPS + 2
    assert main(["train", "--resume", "run", "--epochs", epochs]) == 0
    assert results(run)["steps"] == epochs * STEPS
    assert history(run)[-1]["epoch"] == epochs - 1


@pytest.mark.again
@pytest.mark.parametrize(
    ("arguments", "epoch"),
    [
        (["--epochs", 2], 1),
        (["--epochs", 4, "--batch_size", 1500], "[23]"),
    ],
    ids=["in the first epoch", "later"],
)
def test_a_loss_that_is_not_finite_ends_the_run_with_a_finite_model(here, capsys, arguments, epoch):
    wild = ["--learning_rate", "1e20"]
    assert main(["train", *arguments, *wild, *SMALL, "--out", "run"]) == 1
    stderr = capsys.readouterr().err.strip()
    assert len(stderr.splitlines()) == 1
    assert re.search(f"the loss was no longer finite in epoch {epoch}\\.", stderr)
    assert "run/model.keras" in stderr
    assert "--learning_rate" in stderr
    assert all(np.isfinite(value).all() for value in state(runs.Run.open("run").load_model()))


def test_epochs_done_again_are_not_in_the_metrics_twice(tmp_path):
    run = runs.Run(tmp_path)
    run.history.write_text("epoch,loss\n0,3.0\n1,2.0\n2,1.0\n")
    metrics.forget_from(run.history, 1)
    assert run.history.read_text() == "epoch,loss\n0,3.0\n"
    metrics.forget_from(run.history, 5)
    assert run.history.read_text() == "epoch,loss\n0,3.0\n"


def test_what_was_edited_or_cut_off_in_a_run_is_no_traceback(tmp_path):
    run = runs.Run(tmp_path)
    run.results.write_text("null")
    assert not run.is_reported(3)
    run.history.write_bytes(b"epoch,loss\r\n0,3.5\r\n\r\n1,2.5\r\nx\r\n2,1.5\r\n")
    metrics.forget_from(run.history, 2)
    assert run.history.read_bytes() == b"epoch,loss\r\n0,3.5\r\n1,2.5\r\n"


def test_what_a_run_leaves_that_ended_while_it_loaded_is_free(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / "figures").mkdir()
    runs.Run(tmp_path).must_be_new()
    (tmp_path / "config.yaml").touch()
    with pytest.raises(Refusal, match="new or empty folder"):
        runs.Run(tmp_path).must_be_new()


@pytest.mark.parametrize("of_the_user", [True, False])
def test_a_run_that_did_not_begin_takes_away_what_is_its_own(tmp_path, of_the_user):
    run = runs.Run(tmp_path / "run")
    if of_the_user:
        run.path.mkdir()
    with run.locked():
        run.write_config({"epochs": 1})
        run.discard()
    assert run.path.is_dir() == of_the_user
    assert list(tmp_path.glob("run/*")) == []
