"""Data with unknown entries from the command: train, evaluate, resume, impute."""

import re

import numpy as np
import pandas as pd
import pytest
from commands import main

from tfp_vae.tables import TableVAE

SMALL = ["--widths", "[16]", "--latent_size", 2, "--batch_size", 64]


def table(path, count=240):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 1)) * [1.0, 20.0, -3.0] + [0, 50, 5] + rng.normal(size=(count, 3))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[np.isnan(x).all(axis=1), 0] = 0
    np.save(path, x.astype("float32"))
    return np.load(path)


@pytest.mark.one
@pytest.mark.parametrize("recipe", ["not_miwae", "missing_miwae", "vae"])
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


def test_a_csv_file_gets_its_holes_filled_its_odd_rows_ranked_and_new_rows(here, capsys):
    rng = np.random.default_rng(0)
    z = rng.normal(size=120)
    frame = pd.DataFrame(
        {
            "height": 170 + 10 * z,
            "city": np.where(z > 0, "Rome", "Oslo"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(9 * z), unit="D"),
        }
    )
    hidden = rng.random(frame.shape) < 0.2
    hidden[hidden.all(axis=1), 0] = False
    frame.mask(hidden).to_csv("people.csv", index=False)
    assert main(["table", "people.csv", "--epochs", 2, "--rows", 7]) == 0
    out = capsys.readouterr().out
    assert "height (real), city (category), day (date)" in out
    tables = {name: pd.read_csv(f"table/{name}.csv") for name in ("imputed", "low", "high")}
    for found in tables.values():
        assert found.shape == frame.shape
        assert not found.isna().any(axis=None)
        np.testing.assert_array_equal(found["city"][~hidden[:, 1]], frame["city"][~hidden[:, 1]])
    assert len(pd.read_csv("table/new_rows.csv")) == 7
    odd = pd.read_csv("table/odd_rows.csv")
    assert sorted(odd["row"]) == list(range(120))
    assert odd["log_p"].is_monotonic_increasing
    assert odd["p_value"].between(0, 1).all()
    assert TableVAE.load("table/model").sample(2).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "text", "fragment"),
    [
        ("gone.csv", None, "that is there"),
        ("broken.csv", "a,b\n1,2\n1,2,3,4\n", "line 3"),
        ("empty.csv", "", "a table"),
        ("holes.csv", "a,b\n1,2\n,\n", "each row"),
    ],
)
def test_what_is_no_table_is_one_line(here, name, text, fragment, capsys):
    if text is not None:
        (here / name).write_text(text)
    assert main(["table", name]) == 2
    error = capsys.readouterr().err
    assert fragment in error
    assert error.strip().count("\n") == 0
    assert not (here / "table").exists()
