"""Recipes by the command: other data than images, labels, and priors that are fitted afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from commands import SMALL, main, results
from conftest import counted
from recipe_models import SHAPES

from tfp_vae import VAE, data, recipes
from tfp_vae.app import figures, preparation, reporting, runs, training
from tfp_vae_cli.options import RunOptions

N = 70
FAST = [*SMALL, "--epochs", 2]


@pytest.fixture
def here(here) -> Path:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, N)
    labels[0] = 0

    def write(name, x, y=None):
        more = {} if y is None else {"y_train": y[:50], "y_test": y[50:]}
        np.savez(name, x_train=x[:50], x_test=x[50:], **more)

    vectors = rng.normal(size=[N, 5]).astype("float32")
    write("vectors", vectors, labels)
    write("from1", vectors, labels + 1)
    write("floats", vectors, labels.astype("float64"))
    write("counts", rng.poisson(3.0, [N, 6]))
    write("many", rng.poisson(3.0, [N, 6]) * 10**9)
    np.save("eight.npy", vectors[:8])
    return here


@pytest.mark.again
def test_a_conditional_vq_vae_of_vectors_with_its_fitted_prior(here, capsys):
    arguments = ["--data", "vectors.npz", "--recipe", "vq_vae", "--conditional", "true"]
    assert main(["train", *arguments, *FAST, "--out", "run"]) == 0
    assert "--out samples.npy" in capsys.readouterr().out
    run = runs.Run.open("run")
    assert type(run.load_model().prior).__name__ == "AutoregressiveCodes"
    assert type(run.load_trained().prior).__name__ == "UniformCodes"
    for command in (["evaluate", "run"], ["sample", "run", "--out", "a.npy"],
                    ["export", "run", "saved"]):  # fmt: skip
        assert main(command) == 0
    drawn = np.load("a.npy")
    assert drawn.shape == (64, 5)
    served = tf.saved_model.load("saved")
    assert served.sample(tf.constant([0, 1, 2, 0])).shape == (4, 5)

    # Stopped when it was trained, before its prior was fitted: it goes on to the same.
    run.fitted.unlink()
    run.results.unlink()
    capsys.readouterr()
    assert main(["sample", "run", "--out", "b.npy"]) == 2
    assert "prior of a VQ-VAE is fitted when its training is complete" in capsys.readouterr().err
    assert main(["train", "--resume", "run"]) == 0
    assert main(["sample", "run", "--out", "b.npy"]) == 0
    np.testing.assert_array_equal(np.load("b.npy"), drawn)
    assert main(["train", "--resume", "run"]) == 2
    assert "complete at epoch 2" in capsys.readouterr().err


@pytest.mark.again
def test_ctrl_c_while_the_prior_is_fitted_is_no_loss(here, monkeypatch, capsys):
    """And a run that is trained further does not sample from the model that it was."""

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(reporting, "with_fitted_prior", interrupted)
        assert main(["train", "--data", "eight.npy", "--recipe", "ae", *FAST, "--out", "r"]) == 130
    assert "go on with: tfp-vae train --resume r" in capsys.readouterr().err
    run = runs.Run.open("r")
    assert not run.fitted.is_file()
    assert main(["train", "--resume", "r"]) == 0
    assert results(run)["steps"] == 2
    assert run.fitted.is_file()
    with monkeypatch.context() as patched:
        patched.setattr(reporting, "with_fitted_prior", interrupted)
        assert main(["train", "--resume", "r", "--epochs", 3]) == 130
    assert not run.fitted.is_file()
    assert int(run.load_model().optimizer.iterations) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "from1.npz", "--conditional", "true"], "Received: labels from 1 to 3"),
        (["--data", "floats.npz", "--conditional", "true"], "integer labels.*Received: float64"),
        (["--data", "eight.npy", "--recipe", "conditional_vae"], "examples with labels"),
        (["--data", "many.npz"], r"counts in many.npz\[x_train\] below 2\*\*31"),
        (["--data", "counts.npz", "--body", "conv"], "conv body is for images"),
        (["--data", "vectors.npz", "--likelihood", "bernoulli"], "support, 0 to 1"),
        (["--recipe", "ae", "--objective", "ELBO"], "needs log q"),
        (["--recipe", "vq_vae", "--objective", "DIP"], "DIP is of moments"),
        (
            ["--recipe", "joint_vae", "--objective", "ELBO", "--objective.capacity", "[5]"],
            "one for each block",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line_and_leaves_no_folder(
    here, capsys, arguments, message
):
    assert main(["train", *arguments, *FAST, "--out", "run"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if "error" in line]
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert not Path("run").exists()


@pytest.mark.again
def test_an_objective_with_a_list_of_schedules_is_in_the_config(here):
    cycle = '{"class_path": "tfp_vae.schedules.Cyclical", "init_args": {"period": 10}}'
    objective = ["--objective", "ELBO", "--objective.capacity", f"[{cycle}, 5]"]
    small = ["--data", "vectors.npz", "--recipe", "joint_vae", *FAST, "--out", "run"]
    assert main(["train", *small, *objective]) == 0
    assert main(["train", "--resume", "run", "--epochs", 3]) == 0
    cyclical, five = runs.Run.open("run").load_model().objective.capacity
    assert (cyclical.period, five) == (10, 5)


@pytest.mark.one
@pytest.mark.parametrize("name", ["vae", "gamma_vae", "hyperspherical_vae", "mixture_prior_vae"])
def test_the_latent_plane_is_drawn_of_a_unit_normal_alone(name, digits):
    vae = recipes.build(name, recipes.Setting((8, 8, 1), 1500, latent_size=2, widths=(8,)))
    found = figures.figures(vae, digits, data.binarized(digits.test), seed=0)
    assert ("manifold" in found) == (name == "vae")


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.one
def test_every_recipe_is_made_for_a_few_examples(name):
    recipe = recipes.RECIPES[name]
    shape = SHAPES.get(name, (5,))
    s = recipes.Setting(shape, 2, latent_size=2, widths=(4,), num_classes=2)
    assert recipe.make(s).count_params() > 0
    if recipe.prior_after is not None:
        assert recipe.prior_after(s) is not None


def spied(monkeypatch, module, name):
    """What a function of a module is given, call by call."""
    calls, real = [], getattr(module, name)

    def spy(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, spy)
    return calls


@pytest.mark.again
def test_a_file_that_is_sorted_is_seen_in_all_its_parts(here, monkeypatch):
    """In the figures, and by a prior that is fitted to fewer rows than there are."""
    x = np.repeat(np.arange(8, dtype="uint8") * 30, 20)[:, None, None].repeat(4, 1).repeat(4, 2)
    np.savez("sorted.npz", x_train=x, x_test=x)
    shown = spied(monkeypatch, figures.plots, "reconstructions")
    monkeypatch.setattr(reporting, "FOR_PRIOR", 40)
    fitted = spied(monkeypatch, VAE, "fit_prior")
    options = ["--data", "sorted.npz", "--recipe", "ae", "--binarize", "none"]
    assert main(["train", *options, *FAST, "--out", "run"]) == 0
    assert len(np.unique(shown[0][0][:, 0, 0])) > 3  # of 10 that are shown
    assert len(fitted[0][1]) == 40
    assert len(np.unique(fitted[0][1][:, 0, 0])) > 5


@pytest.mark.one
@pytest.mark.parametrize("validation", [None, 300])
def test_what_is_watched_is_neither_trained_on_nor_the_test_set(
    here, monkeypatch, digits, validation
):
    held = slice(0, 0) if validation is None else slice(0, validation)
    if validation is not None:
        monkeypatch.setattr(training, "MOST", 75)
        rest = {"x_val": digits.train[held], "x_test": digits.test}
        np.savez("three.npz", x_train=digits.train[validation:], **rest)
    options = RunOptions(
        data="three.npz" if validation else "digits", binarize="none", latent_size=2, widths=[4],
        epochs=1, batch_size=1425,
    )  # fmt: skip
    session = training.Training(runs.Run("run"), options, None)
    given = {}
    monkeypatch.setattr(
        session.vae, "fit", lambda x, **rest: given.update(x=x, watched=rest["validation_data"])
    )
    session._fit(0, 1, 1, [])
    trained = next(iter(given["x"])).numpy()
    watched = np.concatenate(list(given["watched"].as_numpy_iterator()))
    assert (len(trained), len(watched)) == (1200 if validation else 1425, 75)
    trained, watched = (counted(np.round(x * 255).astype("uint8")) for x in (trained, watched))
    if validation is None:
        assert trained + watched == counted(digits.train)
    else:
        assert trained == counted(digits.train[validation:])
        assert watched <= counted(digits.train[held])


@pytest.mark.again
def test_fixed_pixels_are_those_that_the_prior_is_fitted_to(here, monkeypatch, digits):
    monkeypatch.setattr(reporting, "FOR_PRIOR", 200)
    fitted = spied(monkeypatch, VAE, "fit_prior")
    assert main(["train", "--recipe", "ae", "--binarize", "fixed", *FAST, "--out", "run"]) == 0
    trained = data.training_images(digits.train[~preparation.watched(digits)], "fixed", 0)
    rows = {row.tobytes() for row in trained}
    assert len(fitted[0][1]) == 200
    assert all(row.tobytes() in rows for row in fitted[0][1])


@pytest.mark.one
@pytest.mark.parametrize(
    ("options", "name", "measure"),
    [
        (["--likelihood", "normal"], "independent Normals", "log density"),
        (["--binarize", "none"], "independent Bernoullis", "cross-entropy"),
        (
            ["--recipe", "sigma_vae", "--binarize", "none"],
            "independent Normals of one scale",
            "log density",
        ),
        pytest.param(
            ["--likelihood", "continuous_bernoulli"],
            "independent continuous Bernoullis",
            "log density",
            marks=pytest.mark.again,
        ),
        pytest.param(
            ["--data", "counts.npz", "--likelihood", "poisson"],
            "independent Poissons",
            "log p(x)",
            marks=pytest.mark.again,
        ),
    ],
)
def test_a_report_holds_beside_each_other_what_is_of_one_kind(here, capsys, options, name, measure):
    assert main(["train", *options, *FAST, "--out", "run"]) == 0
    found = results(runs.Run.open("run"))
    assert (found["baseline_name"], found["measure"]) == (name, measure)
    printed = capsys.readouterr().out
    assert f"baseline: {name} " in printed
    assert ("-log p(x) " in printed) == (measure == "log p(x)")
