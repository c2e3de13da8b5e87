"""Data with unknown entries from the command: train, evaluate, resume, impute."""

import re

import numpy as np
import pytest
from commands import main

SMALL = ["--widths", "[16]", "--latent_size", 2, "--batch_size", 64]


def table(path, count=240):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 1)) * [1.0, 20.0, -3.0] + [0, 50, 5] + rng.normal(size=(count, 3))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[np.isnan(x).all(axis=1), 0] = 0
    np.save(path, x.astype("float32"))
    return np.load(path)


@pytest.mark.one
@pytest.mark.parametrize("recipe", ["missing_miwae", "not_miwae", "vae"])
def test_a_table_with_holes_is_trained_on_and_imputed_in_order(here, recipe, capsys):
    x = table("table.npy")
    train = ["train", "--data", "table.npy", "--recipe", recipe, "--epochs", 2, *SMALL]
    assert main([*train, "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", 3]) == 0
    assert main(["evaluate", "run", "--num_samples", 5]) == 0
    capsys.readouterr()
    assert main(["impute", "run", "--num_samples", 50, "--num_draws", 2]) == 0
    assert f"{np.isnan(x).sum()} unknown entries of {len(x)} rows" in capsys.readouterr().out
    with np.load("imputed.npz") as file:
        found = dict(file)
    known = ~np.isnan(x)
    assert found["draws"].shape == (2, *x.shape)
    for name in ("mean", "mode", "q05", "q50", "q95"):
        np.testing.assert_array_equal(found[name][known], x[known])
        assert np.isfinite(found[name]).all()
    assert (found["q05"] <= found["q95"]).all()
    assert main(["sample", "run", "--num", 3, "--out", "new.npy"]) == 0
    assert np.isfinite(np.load("new.npy")).all()


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda x: x.__setitem__(3, np.nan), "known entry in each row of table.npy.*row 3"),
        (lambda x: x.__setitem__(slice(None), [1, np.nan, 2]), "in each column of .*column 1"),
        (lambda x: x.__setitem__((2, 1), np.inf), "1 of 240 rows with inf"),
    ],
    ids=["row", "column", "infinite"],
)
def test_bad_holes_are_one_line(here, change, fragment, capsys):
    x = table("table.npy")
    change(x)
    np.save("table.npy", x)
    assert main(["train", "--data", "table.npy", *SMALL]) == 2
    error = capsys.readouterr().err
    assert re.search(fragment, error.replace("\n", " "))


@pytest.mark.again
@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["--out", "x.npy"], "end in .npz"),
        (["--data", "mnist"], ".npy or .npz file"),
        (["--data", "gone.npy"], "not there"),
        (["--num_samples", 0], "num_samples"),
    ],
)
def test_what_impute_cannot_do_is_one_line(here, words, fragment, capsys):
    table("table.npy")
    assert main(["train", "--data", "table.npy", "--epochs", 1, *SMALL, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["impute", "run", *words]) == 2
    assert fragment in capsys.readouterr().err
