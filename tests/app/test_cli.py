"""The command: what it leaves, what it says, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import re
import shlex
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from commands import SMALL, STEPS, TFP_VAE, history, main, results, state
from conftest import command

from tfp_vae import data, recipes
from tfp_vae.app import runs, train_command
from tfp_vae.evaluation import estimates
from tfp_vae_cli import __version__
from tfp_vae_cli import command as entry_point
from tfp_vae_cli.fields import option, options_of
from tfp_vae_cli.options import COMMANDS, OPTIONS, NetworkOptions, RunOptions, TrainOptions


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """The folder that `trained` was trained in."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def trained(work):
    """A run of three epochs, `run`, and what the command printed."""
    done = command([*TFP_VAE, "train", "--epochs", 3, *SMALL, "--out", "run"], cwd=work)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def run(work, trained) -> runs.Run:
    return runs.Run.open(work / "run")


# -- what train leaves -------------------------------------------------------------------------


def test_train_leaves_all_its_files(run):
    files = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    events = {file for file in files if file.startswith("logs")}
    figures = ("reconstructions", "samples", "latent_space", "manifold")
    assert files - events == {
        "model.keras",
        "config.yaml",
        "metrics.csv",
        "results.json",
        *(f"figures/{name}.png" for name in figures),
    }
    for part in ("train", "validation"):
        assert any(file.startswith(f"logs/{part}/events.out.tfevents") for file in events)
    for name in figures:
        assert (run.figures / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_metrics_csv_has_a_row_an_epoch_that_adds_up(run):
    rows = history(run)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    for row in rows:
        for prefix in ("", "val_"):
            parts = row[prefix + "nll"] + row[prefix + "kl"]
            assert row[prefix + "loss"] == pytest.approx(parts, rel=1e-5)
    assert rows[-1]["loss"] < rows[0]["loss"] < 64 * math.log(2) + 2


@pytest.mark.again
def test_results_json_is_the_model_on_the_test_set(run, digits):
    found = results(run)
    assert found["steps"] == 3 * STEPS == int(run.load_model().optimizer.iterations)
    assert found["negative_elbo"] == pytest.approx(found["nll"] + found["kl"])
    again = estimates.evaluate(run.load_model(), data.binarized(digits.test))
    for key, value in again.items():
        assert found[key] == pytest.approx(value, abs=0.5 if key != "kl" else 1e-4)
    x_test = data.binarized(digits.test)
    p = (digits.train.sum(axis=0) / 255 + 1) / (1500 + 2)  # of each pixel
    pixels = -(x_test * np.log(p) + (1 - x_test) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    assert found["baseline"] == pytest.approx(pixels, rel=1e-12)
    assert found["baseline_name"] == "independent Bernoullis"
    assert (found["rows"], found["of_rows"], found["measure"]) == (297, 297, "log p(x)")
    means = ("negative_elbo", "nll", "kl", "log_likelihood", "baseline")
    assert all(0 < found[f"{name}_error"] < 1 for name in means)


def test_train_prints_what_it_does_its_results_and_what_comes_next(run, trained):
    first, second, third, *_ = trained.splitlines()
    count = run.load_model().count_params()
    assert first == (
        f"digits: 1500 images of (8, 8, 1), {count:,} parameters, 3 epochs of 11 steps, to run"
    )
    assert second.startswith("pixels: binarized, drawn as 0 or 1 afresh each epoch, under Indep")
    assert third == "watched at each epoch: 75 training rows, held out (val_loss)"
    found = results(run)
    for name, key in (
        ("negative ELBO", "negative_elbo"),
        ("nll  -E_q[log p(x|z)]", "nll"),
        ("kl   KL[q(z|x) || p(z)]", "kl"),
        ("importance-weighted -log p(x)", "log_likelihood"),
        ("baseline: independent Bernoullis", "baseline"),
    ):
        value, error = abs(found[key]), found[f"{key}_error"]
        line = rf"^ +{re.escape(name)} +{value:.2f} \+- {error:.2f}$"
        assert re.search(line, trained, re.MULTILINE), name
    for line in (
        "model, config, metrics, TensorBoard logs and figures: run",
        "-m tfp_vae_cli sample run --num 64 --out samples.png",
        "-m tfp_vae_cli export run saved_model/",
        "tensorboard --logdir run/logs",
    ):
        assert line in trained


@pytest.mark.again
def test_the_commands_that_train_names_work_as_they_are_printed(work, trained, monkeypatch):
    monkeypatch.chdir(work)
    named = [shlex.split(words) for words in re.findall(r"-m tfp_vae_cli (.*)", trained)]
    assert [words[0] for words in named] == ["sample", "export"]
    for words in named:
        assert main(words) == 0
    assert (work / "samples.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (work / "saved_model" / "saved_model.pb").is_file()


def test_config_yaml_holds_every_option(run):
    config = run.read_config()
    given = {"epochs": 3, "widths": [16], "latent_size": 2}
    given |= {"binarize": "dynamic", "standardize": False}  # as the data decided
    assert config == {
        name: given.get(name, each.default)
        for name, each in OPTIONS["train"].items()
        if name not in ("out", "resume")
    }


@pytest.mark.again
def test_the_config_repeats_the_run_exactly(work, run):
    done = command([*TFP_VAE, "train", "--config", "run/config.yaml", "--out", "again"], cwd=work)
    assert done.returncode == 0, done.stderr[-3000:]
    again = runs.Run.open(work / "again")
    assert results(again) == results(run)
    assert again.history.read_text() == run.history.read_text()
    assert again.config.read_text() == run.config.read_text()
    for a, b in zip(state(again.load_model()), state(run.load_model()), strict=True):
        np.testing.assert_array_equal(a, b)


# -- what is done with a run -------------------------------------------------------------------


@pytest.mark.again
def test_evaluate_in_another_process_prints_the_table_that_train_printed(work, trained):
    done = command([*TFP_VAE, "evaluate", "run"], cwd=work)
    assert done.returncode == 0, done.stderr[-3000:]
    table = done.stdout.strip()
    head = "on all 297 test rows, in nats (less is better), +- standard error\n  negative ELBO"
    assert table.startswith(head)
    assert len(table.splitlines()) == 6
    assert table in trained


def test_evaluate_takes_the_number_of_draws_and_examples(run, monkeypatch, capsys):
    given = {}

    def spy(vae, x, **kwargs):
        given.update(kwargs)
        return evaluate_once(vae, x, num_samples=1, examples=1)

    evaluate_once = estimates.evaluate
    monkeypatch.setattr(estimates, "evaluate", spy)
    assert main(["evaluate", run.path, "--num_samples", 7, "--examples", 20]) == 0
    assert given == {"num_samples": 7, "examples": 20}
    given.clear()
    assert main(["evaluate", run.path, "--num_samples", 1, "--examples", "null"]) == 0
    assert given == {"num_samples": 1, "examples": None}


@pytest.mark.again
def test_evaluate_says_how_many_rows_it_drew(run, capsys):
    printed = []
    for _ in range(2):
        assert main(["evaluate", run.path, "--num_samples", 2, "--examples", 20]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]  # the same rows each time
    assert printed[0].startswith("on 20 of 297 test rows, drawn at random, in nats")


def test_sample_writes_the_means_as_numbers_the_same_for_the_same_seed(run, here, capsys):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = f"new/folder/{name}.npy"
        assert main(["sample", run.path, "--num", 9, "--out", out, "--seed", seed]) == 0
        assert f"9 samples: {out}" in capsys.readouterr().out
    a, b, c = (np.load(here / f"new/folder/{name}.npy") for name in "abc")
    assert a.shape == (9, 8, 8, 1)
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3
    # E[x|z] of a decoder is neither 0 nor 1 anywhere.
    assert 0 < a.min() < a.max() < 1
    np.testing.assert_array_equal(a, run.load_model().sample(9, seed=0))


def test_sample_draws_a_picture(run, here):
    assert main(["sample", run.path, "--num", 9, "--out", "x.png"]) == 0
    assert (here / "x.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_export_writes_what_tensorflow_alone_serves(run, here, digits):
    assert main(["export", run.path, "saved"]) == 0
    served = tf.saved_model.load("saved")
    x = data.binarized(digits.test[:5])
    vae = run.load_model()
    np.testing.assert_allclose(served.serve(x), vae.reconstruct(x), atol=1e-6)
    np.testing.assert_allclose(served.encode(x)["mean"], vae.encode(x).mean(), atol=1e-6)
    assert served.sample(4).shape == (4, 8, 8, 1)


# -- what a person can mend --------------------------------------------------------------------


@pytest.fixture
def inputs(here, run):
    """Files and folders to go wrong with, among them `run`, a complete run."""
    (here / "cut").mkdir()
    (here / "cut" / "config.yaml").symlink_to(run.config)
    (here / "cut" / "model.keras").write_bytes(run.model.read_bytes()[:2000])
    (here / "run").symlink_to(run.path)
    (here / "junk").mkdir()
    (here / "junk" / "config.yaml").write_text("data: digits\nbinarize: dynamic\n")
    (here / "junk" / "model.keras").write_text("no model")
    for folder, config, model in (
        ("foreign", run.config, "foreign/dense.keras"),
        ("no_options", here / "junk" / "model.keras", run.model),
    ):
        (here / folder).mkdir()
        (here / folder / "config.yaml").symlink_to(config)
        (here / folder / "model.keras").symlink_to(here / model)
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save("foreign/dense.keras")
    (here / "broken.yaml").write_text("epochs: [")
    (here / "foreign.yaml").write_text("epoch: 3\n")
    bytes_ = np.zeros([20, 8, 8], np.uint8)
    np.savez(here / "shapes.npz", x_train=bytes_, x_test=bytes_[:, 1:])
    np.savez(here / "labels.npz", x_train=bytes_, x_test=bytes_, y_train=[1], y_test=[1])
    np.save(here / "nought.npy", np.zeros([20, 0, 8], np.uint8))
    return here


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ("paint", "expected one of train, evaluate, sample, impute, table, export"),
        ("train --data mnits", "Did you mean mnist"),
        ("train --data gone.npy", "gone.npy, which is not there"),
        ("train --epochs 0", "epochs"),
        ("train --latent_size x", "latent_size"),
        ("train --widths [0]", "widths"),
        ("train --batch_size -1", "batch_size"),
        ("train --learning_rate 0", "learning_rate"),
        ("train --learning_rate nan", "learning_rate"),
        ("train --seed -1", "seed"),
        ("train --objective Foo", "Known objectives: CIWAE, DIP, ELBO, IWAE"),
        ("train --objective ELBO --objective.beta x", "beta"),
        ("train --activation foo", "name of a Keras activation. Received: foo"),
        ("train --binarize often", "'dynamic', 'fixed', 'none'"),
        ("train --body tree", "'mlp', 'conv'"),
        ("train --colour blue", "--colour"),
        ("train --out run", "new or empty folder"),
        ("train --out broken.yaml", "new or empty folder"),
        ("train --config gone.yaml", "gone.yaml"),
        ("train --config broken.yaml", "config"),
        ("train --config foreign.yaml", "epoch"),
        ("train --resume", "--resume"),
        ("train --resume run", "complete at epoch 3: expected more --epochs"),
        ("train --resume run --epochs 2", "complete at epoch 3: expected more --epochs"),
        ("train --resume run --epochs 9 --seed 5", "['seed']"),
        ("train --resume=run --epochs 9 --widths [8] --data mnist", "['data', 'widths']"),
        ("train --resume nowhere", "nowhere, without config.yaml"),
        ("evaluate", "run"),
        ("evaluate nowhere", "nowhere, without config.yaml and model.keras"),
        ("evaluate run --num_samples 0", "num_samples"),
        ("sample nowhere", "nowhere, without config.yaml and model.keras"),
        ("sample run --out x.jpg", ".png, .npy or .txt. Received: x.jpg"),
        ("sample run --out x.txt", "These are no sentences: expected --out to end in .npy"),
        ("sample run --num 0", "num"),
        ("export nowhere saved", "nowhere, without config.yaml and model.keras"),
        ("export run", "out"),
        ("train --objective IWAE --objective.num_samples 0", "num_samples"),
        ("train --seed 4294967296", "seed"),
        ("train --data glue", "images of one size"),
        ("train --data mnist/none", "mnist"),
        ("train --data shapes.npz", "x_test"),
        ("train --data labels.npz", "y_train"),
        ("train --data nought.npy", "image"),
        ("evaluate junk", "junk/model.keras"),
        ("sample cut", "cut/model.keras to be a model that loads"),
        ("train --resume run --out other", "expected no --out"),
        ("export run /proc/nowhere/x", "/proc/nowhere"),
        ("evaluate foreign", "foreign/model.keras to be a VAE"),
        ("evaluate no_options", "no_options/config.yaml"),
        ("export run junk", "new or empty folder"),
        ("export run broken.yaml", "broken.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inputs, arguments, fragment, capsys):
    def files():
        return {path: path.stat().st_mtime_ns for path in inputs.glob("*/**/*")}

    before = files()
    small = [*SMALL, "--epochs", "1"] if "--data" in arguments and "resume" not in arguments else []
    capsys.readouterr()
    assert main([*arguments.split(), *small]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tfp-vae")
    assert ": error: " in err
    assert err.count("\n") == 1
    assert fragment in err
    assert files() == before
    assert not Path("runs").exists()


# -- before TensorFlow -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--help"], ["usage: tfp-vae", *COMMANDS]),
        (["-h"], ["usage: tfp-vae"]),
        ([], ["usage: tfp-vae"]),
        (["--version"], [f"tfp-vae {__version__}"]),
    ],
)
def test_help_and_version_come_within_a_second_without_tensorflow(here, arguments, lines):
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        done = command([*TFP_VAE, *arguments], cwd=here)
        seconds.append(time.monotonic() - start)
        assert done.returncode == 0
        assert done.stderr == ""
        assert all(line in done.stdout for line in lines)
    assert min(seconds) < 1
    imported = command(
        [sys.executable, "-X", "importtime", "-m", "tfp_vae_cli", *arguments], cwd=here
    ).stderr
    assert "runpy" in imported
    assert not re.search(r"\| +(tensorflow|keras|numpy|tfp_vae)\b", imported)


@pytest.mark.again
def test_another_backend_is_one_line_and_exit_code_2(here):
    done = command([*TFP_VAE, "train", "--epochs", 1], cwd=here, KERAS_BACKEND="jax")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tfp-vae train: error: ")
    assert done.stderr.count("\n") == 1
    assert "KERAS_BACKEND=tensorflow" in done.stderr
    assert "jax" in done.stderr
    assert not list(here.iterdir())


def test_the_installed_command_is_this_one():
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="tfp-vae")
    assert entry.load() is entry_point.main


@pytest.mark.again
def test_a_new_option_is_one_field(here, capsys, monkeypatch):
    """Of the class: then it is on the command line, in the help, in the run and in its config."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Run(RunOptions):
        depth: int = option(2, "3", "how deep the sea is.")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Train(TrainOptions, Run):
        pass

    class Training(train_command.Training):
        def __init__(self, run, options, objective):
            depths.append(options.depth)
            super().__init__(run, options, objective)

    depths = []
    monkeypatch.setitem(COMMANDS, "train", COMMANDS["train"]._replace(options=Train))
    monkeypatch.setitem(OPTIONS, "train", options_of(Train))
    monkeypatch.setattr(train_command, "RunOptions", Run)
    monkeypatch.setattr(train_command, "Training", Training)
    assert main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--depth DEPTH how deep the sea is. (default: 2)" in shown
    assert main(["train", "--depth", 0]) == 2
    assert "--depth to be a whole number from 1, such as --depth 3" in capsys.readouterr().err
    assert main(["train", "--epochs", 1, *SMALL, "--out", "run", "--depth", 4]) == 0
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert depths == [4, 4]
    assert runs.Run.open("run").read_config()["depth"] == 4
    assert main(["train", "--resume", "run", "--epochs", 3, "--depth", 5]) == 2
    assert "['depth']" in capsys.readouterr().err


def test_each_option_of_the_networks_is_one_of_a_setting():
    names = {field.name for field in dataclasses.fields(NetworkOptions)}
    assert names == {"latent_size", "body", "widths", "activation"}
    assert names <= {field.name for field in dataclasses.fields(recipes.Setting)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_names_each_option(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert COMMANDS[name].does in " ".join(out.split())
    assert not re.search(r"type:|Optional|Literal|Positive|widths\+", out)  # words of Python
    for each in OPTIONS[name].values():
        dashes = "" if each.is_positional else "--"
        assert re.search(rf"^  {dashes}{each.name}\b", out, re.MULTILINE)
        assert each.help in " ".join(out.split())


@pytest.mark.parametrize("words", [["--objective.help", "IWAE"], ["--objective.help=IWAE"]])
def test_the_help_of_an_objective_names_its_arguments(words, capsys):
    assert main(["train", *words]) == 0
    assert "--objective.num_samples" in capsys.readouterr().out


def test_print_config_is_yaml_of_the_defaults(here, capsys):
    defaults = {name: each.default for name, each in OPTIONS["train"].items()}
    defaults["widths"] = list(defaults["widths"])
    stated = {name: value for name, value in defaults.items() if value is not None}
    for flag, expected in (
        ("", {**defaults, "epochs": 3}),
        ("=skip_default", {"epochs": 3}),
        ("=skip_unset", {**stated, "epochs": 3}),
    ):
        assert main(["train", f"--print_config{flag}", "--epochs", 3]) == 0
        assert yaml.safe_load(capsys.readouterr().out) == expected
    assert main(["train", "--print-config"]) == main(["train", "--help=yes"]) == 0
    assert main(["train", "--print_config=nothing"]) == 2
    assert not list(here.iterdir())


@pytest.mark.again
def test_a_person_sees_one_line_and_nothing_of_what_tensorflow_says(tmp_path):
    for arguments, environment in (
        (["evaluate", "nowhere"], {}),
        (["train", "--data", "mnits"], {}),
        (["train"], {"KERAS_BACKEND": "jax"}),
    ):
        words = [sys.executable, "-m", "tfp_vae_cli", *arguments]
        done = command(words, cwd=tmp_path, TF_CPP_MIN_LOG_LEVEL="0", **environment)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_what_is_said_while_loading_fails_is_shown(tmp_path):
    code = """
import os
from tfp_vae_cli.loading import loading
try:
    with loading():
        os.write(2, b"a reason\\n")
        raise ImportError("a part is missing")
except ImportError:
    pass
"""
    done = command([sys.executable, "-c", code], cwd=tmp_path)
    assert done.stderr == "a reason\n"
