"""The command with recipes, labels, and data that are no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import SMALL, main, results

from tfp_vae import data, layers, priors
from tfp_vae.app import runs


def trained(*options) -> runs.Run:
    assert main(["train", "--epochs", 1, *SMALL, *options, "--out", "run"]) == 0
    return runs.Run.open("run")


def figures(run):
    return {path.stem for path in run.figures.glob("*.png")}


@pytest.mark.again
def test_a_recipe_whose_prior_comes_afterwards_samples_and_resumes(here, capsys):
    run = trained("--recipe", "ae")
    printed = capsys.readouterr().out
    assert "negative ELBO" not in printed
    assert "no bound on log p(x)" in printed
    found = results(run)
    numbers = {"nll", "nll_error", "baseline", "baseline_error", "baseline_name"}
    assert set(found) == numbers | {"steps", "rows", "of_rows", "measure"}
    # The squared error is a Normal of variance 1/2: so is its baseline, around the mean image.
    assert found["baseline_name"] == "independent Normals of scale 0.707"
    assert found["measure"] == "log density"
    assert not run.load_trained().has_density
    mixture = run.load_model().prior.distribution()
    assert mixture.mixture_distribution.probs_parameter().shape == (10,)
    assert figures(run) == {"reconstructions", "samples", "latent_space"}  # no unit normal: no grid
    for command in (["sample", "run", "--out", "x.png"], ["export", "run", "saved"],
                    ["evaluate", "run"]):  # fmt: skip
        assert main(command) == 0
    assert "log_likelihood" not in capsys.readouterr().out
    before = run.fitted.read_bytes()
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert int(run.load_trained().optimizer.iterations) == 22
    assert run.fitted.read_bytes() != before


@pytest.mark.again
def test_a_model_conditioned_on_labels_draws_each_of_them(here):
    run = trained("--conditional", "true", "--recipe", "vamp_prior_vae")
    vae = run.load_model()
    assert isinstance(vae.prior, priors.VampPrior)
    assert "manifold" not in figures(run)
    assert main(["sample", "run", "--num", 12, "--out", "x.npy", "--seed", 3]) == 0
    known = vae.sample(12, seed=3, conditions=np.arange(12) % 10)
    np.testing.assert_allclose(np.load("x.npy"), known, atol=1e-6)
    assert main(["evaluate", "run", "--num_samples", 3, "--examples", 20]) == 0
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0


@pytest.mark.again
@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("reals", "IndependentNormal"),
        ("counts", "NegativeBinomial"),
    ],
)
def test_vectors_get_the_likelihood_of_their_kind(here, kind, layer):
    rng = np.random.default_rng(0)
    values = rng.normal(size=[300, 6]) if kind == "reals" else rng.poisson(3.0, [300, 6])
    np.save("x.npy", values)
    assert data.load("x.npy").kind == kind
    run = trained("--data", "x.npy", "--recipe", "beta_vae")
    vae = run.load_model()
    assert isinstance(vae.decoder.layers[-1], getattr(layers, layer))
    assert figures(run) == {"latent_space"}
    names = {"reals": "independent Normals", "counts": "independent negative binomials"}
    assert results(run)["baseline_name"] == names[kind]
    assert results(run)["measure"] == {"reals": "log density", "counts": "log p(x)"}[kind]
    assert main(["sample", "run", "--num", 5, "--out", "drawn.npy"]) == 0
    drawn = np.load("drawn.npy")
    assert drawn.shape == (5, 6)
    assert main(["sample", "run", "--num", 5, "--out", "other.npy", "--draw", kind == "reals"]) == 0
    draws, means = (drawn, "other.npy") if kind == "counts" else ("other.npy", drawn)
    draws, means = (np.load(x) if isinstance(x, str) else x for x in (draws, means))
    np.testing.assert_allclose(means, vae.sample(5, seed=0), rtol=1e-5)
    np.testing.assert_allclose(draws, vae.sample(5, mean=False, seed=0), rtol=1e-5)
    assert (draws.dtype.kind == "i") == (kind == "counts")
    assert main(["sample", "run", "--num", 5, "--out", "drawn.png"]) == 2


@pytest.mark.again
def test_a_likelihood_may_be_chosen(here):
    run = trained("--likelihood", "student_t", "--binarize", "none")
    assert isinstance(run.load_model().decoder.layers[-1], layers.StudentT)


@pytest.mark.again
@pytest.mark.parametrize(
    ("rows", "recipe"),
    [(2, "vae"), (14, "ae"), pytest.param(3, "vq_vae", marks=pytest.mark.again)],
)
def test_a_handful_of_rows_is_trained_reported_and_resumed(here, capsys, rows, recipe):
    np.save("few.npy", np.random.default_rng(0).normal(size=[rows, 4]) * 100)
    run = trained("--data", "few.npy", "--recipe", recipe, "--latent_size", 3)
    printed = capsys.readouterr().out
    assert "all 1 test rows" in printed
    assert "columns: standardized inside the model" in printed
    assert ("fitting the prior" in printed) == (recipe != "vae")
    assert figures(run) == {"latent_space", *(["codes_in_use"] if recipe == "vq_vae" else [])}
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert results(run)["steps"] == 2


@pytest.mark.again
def test_arguments_of_the_recipes_own_objective_need_no_name(here):
    run = trained("--recipe", "iwae", "--objective.estimator", "dreg", "--objective.num_samples", 3)
    objective = run.load_model().objective
    assert objective.get_config() == {"num_samples": 3, "estimator": "dreg"}
    given = {"init_args": {"estimator": "dreg", "num_samples": 3}}
    assert run.read_config()["objective"] == given
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert main(["train", "--resume", "run", "--epochs", 3, "--objective.num_samples", 4]) == 2


@pytest.mark.again
@pytest.mark.parametrize("data", ["labelled.npz", "alone.npy"])
def test_a_classifier_is_trained_for_features_where_there_are_labels(here, digits, capsys, data):
    np.savez("labelled.npz", x_train=digits.train[:200], y_train=digits.train_labels[:200],
             x_test=digits.test[:40], y_test=digits.test_labels[:40])  # fmt: skip
    np.save("alone.npy", digits.train[:240])
    run = trained("--recipe", "deep_feature_vae", "--data", data)
    said = "training a small classifier" in capsys.readouterr().out
    assert said == (data == "labelled.npz")
    assert run.load_model().objective.network.layers[-1].name == "features_3"
    named = ["--recipe", "deep_feature_vae", "--data", data, "--objective.network", "VGG"]
    assert main(["train", *SMALL, *named, "--out", "named"]) == 2
    assert "such as VGG19" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ("--objective.num_samples 3", "ELBO takes --objective.beta"),
        ("--objective IWAE --objective.num_samples few", "a whole number, such as 5"),
        ("--body conv --widths []", "at least one layer"),
        ("--standardize true", "is for vectors and series of real numbers"),
        ("--recipe beta-vae", "Did you mean beta_vae?"),
        ("--recipe nothing", "one of vae, conditional_vae"),
        ("--likelihood gauss", "one of bernoulli"),
        ("--recipe conditional_vae --data vectors.npy", "labels, to condition on"),
        ("--conditional true --data odd.npz", "integer labels from 0"),
        ("--body conv --data vectors.npy", "A conv body is for images"),
        ("--recipe ae --objective ELBO", "ELBO needs log q(z|x)"),
        ("--recipe vae --likelihood bernoulli --data vectors.npy", "support, 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_said_before_work_starts(here, options, fragment, capsys):
    np.save("vectors.npy", np.random.default_rng(0).normal(size=[40, 3]))
    x = np.zeros([4, 2, 2], "uint8")
    np.savez("odd.npz", x_train=x, x_test=x, y_train=np.ones(4) / 2, y_test=np.ones(4))
    assert main(["train", *SMALL, *options.split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert fragment in said
    assert not Path("runs").exists()
