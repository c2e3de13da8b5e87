"""Models of codes by the command: priors of each level, codes in use, figures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from commands import SMALL, main, results

from tfp_vae.app import runs


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tfp-vae"])


@pytest.mark.again
def test_two_levels_of_codes_train_sample_export_and_resume(capsys):
    train = ["train", "--epochs", 1, *SMALL, "--recipe", "vq_vae_2", "--out", "run"]
    assert main(train) == 0
    printed = capsys.readouterr().out
    assert "codes of bottom in use: " in printed
    found = results(run := runs.Run.open("run"))
    assert {"kl_top", "codes_used_top", "num_codes_bottom", "perplexity_bottom"} < set(found)
    assert found["num_codes_top"] == 64 >= found["codes_used_top"] >= found["perplexity_top"] >= 1
    shown = {path.stem for path in run.figures.glob("*.png")}
    assert {"samples", "codes_in_use_of_top", "codes_in_use_of_bottom"} < shown
    priors = run.load_model().priors
    assert type(priors["top"]).__name__ == "AutoregressiveCodes"
    assert type(priors["bottom"].layers[-1]).__name__ == "ConditionalCodes"
    assert main(["sample", "run", "--num", 3, "--out", "x.npy", "--seed", 3]) == 0
    assert np.load("x.npy").shape == (3, 8, 8, 1)
    assert main(["export", "run", "saved"]) == 0
    assert main(["evaluate", "run", "--examples", 20]) == 0
    assert main(["train", "--resume", "run", "--epochs", 2]) == 0
    assert results(run)["steps"] == 2 * found["steps"]
