"""Models of several latent variables, and those that are no likelihood, by the command."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from commands import SMALL, main, results

from tfp_vae import recipes
from tfp_vae.app import figures, runs

FAST = [*SMALL, "--epochs", 2]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.again
@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ("ladder_vae", ["z3", "z2", "z1"]),
        pytest.param("top_down_vae", ["z5", "z4", "z3", "z2", "z1"], marks=pytest.mark.again),
    ],
)
def test_a_hierarchy_trains_is_evaluated_sampled_exported_and_goes_on(recipe, names, capsys):
    assert main(["train", "--recipe", recipe, *FAST, "--out", "run"]) == 0
    printed = capsys.readouterr().out
    found = results(runs.Run.open("run"))
    kls = [found[f"kl_{name}"] for name in names]
    assert sum(kls) == pytest.approx(found["kl"], rel=1e-4)
    assert all(f"kl_{name}" in printed for name in names)
    assert "importance-weighted -log p(x)" in printed
    figures = {path.stem for path in runs.Run.open("run").figures.iterdir()}
    assert {
        "reconstructions",
        "samples",
        "by_layer",
        *(f"latent_space_of_{n}" for n in names),
    } <= figures
    for command in (["evaluate", "run"], ["sample", "run", "--out", "a.npy"],
                    ["sample", "run", "--out", "b.npy"], ["export", "run", "saved"]):  # fmt: skip
        assert main(command) == 0
    assert np.load("a.npy").shape == (64, 8, 8, 1)
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    served = tf.saved_model.load("saved")
    assert served.sample(tf.constant(3))["x"].shape == (3, 8, 8, 1)
    assert main(["train", "--resume", "run", "--epochs", 3]) == 0


@pytest.mark.again
def test_a_conditional_hierarchy_draws_each_label(capsys):
    arguments = ["--recipe", "hierarchical_vamp_vae", "--conditional", "true"]
    assert main(["train", *arguments, *FAST, "--out", "run"]) == 0
    assert main(["sample", "run", "--out", "a.npy", "--num", 20]) == 0
    assert np.load("a.npy").shape == (20, 8, 8, 1)


@pytest.mark.again
def test_what_is_no_likelihood_is_said_in_the_report(capsys):
    assert main(["train", "--recipe", "ms_ssim_vae", *FAST, "--out", "run"]) == 0
    found = results(runs.Run.open("run"))
    assert {"nll", "kl"} <= set(found)
    assert "negative_elbo" not in found
    assert "there is no log p(x): MSSSIM holds" in capsys.readouterr().out


def test_a_row_for_each_layer_keeps_what_is_above():
    """The rows differ less and less: with all but the lowest variable kept, by this one alone."""
    model = recipes.build("ladder_vae", recipes.Setting((8, 8, 1), 100, latent_size=4, widths=(8,)))
    rows = figures.by_layer(model, 8, seed=0).reshape(3, 8, 64)
    kept = {name: value for name, value in model.sample(8, seed=0).items() if name != "x"}
    upper = {name: np.repeat(np.asarray(kept[name])[:1], 8, axis=0) for name in ("z3", "z2")}
    again = model.sample(given=upper, seed=2)["x"]
    np.testing.assert_allclose(rows[2], np.reshape(again, [8, 64]), atol=1e-6)
    assert (rows.std(axis=1) > 0).any(axis=1).all()
