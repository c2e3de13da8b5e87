import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # at the end: the package under test is the installed one

from benchmarks import report, scaling  # noqa: E402
from benchmarks.cases import BARS, CASES, PEERS  # noqa: E402


def ran(seconds, **found):
    return {"seconds": seconds, "found": found, "peak_megabytes": 100.0}


RUNS = {
    "mlp": {
        "ours": [ran([1.0, 1.2], negative_elbo=110.0), ran([1.1, 1.0], negative_elbo=110.5)],
        "pytorch": [ran([2.0, 2.1], negative_elbo=111.0), ran([2.2, 2.1], negative_elbo=111.0)],
        "jax_scan": [ran([1.2, 1.2], negative_elbo=90.0), ran([1.2, 1.3], negative_elbo=90.0)],
        "tfp_layers": [{"absent": "it is not done"}],
    }
}


def test_a_ratio_is_that_of_the_medians_and_held_against_its_bar():
    found = report.summary(RUNS)["mlp"]
    assert found["ours"]["seconds"] == pytest.approx(1.05)
    assert found["pytorch"]["ratio"] == pytest.approx(2.1 / 1.05)
    assert found["pytorch"]["spread"] == pytest.approx([2.05, 2.15])
    text = report.table(report.summary(RUNS))
    assert "| PyTorch | 2.10 s | 2: 2.05 s to 2.15 s | 2.00 | 1.60 met |" in text
    assert "1.14 | 1.25 **not met** |" in text
    assert "it is not done" in text


def test_who_is_fast_by_being_wrong_is_named():
    (told,) = report.disagreements(report.summary(RUNS))
    assert "JAX" in told
    assert "90.00" in told


def test_the_bars_are_those_of_cases_and_peers_that_exist():
    assert set(BARS) <= set(CASES)
    assert {peer for bars in BARS.values() for peer in bars} <= set(PEERS)


@pytest.mark.again
def test_the_command_times_a_program_and_leaves_table_json_and_figure(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (256, 28, 28), np.uint8))
    command = [sys.executable, "-m", "benchmarks", "--case", "mlp", "--peer", "ours", "products"]
    command += ["--rounds", "1", "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/results.json").read_text())
    ours, products = (found["results"]["mlp"][peer] for peer in ("ours", "products"))
    assert products["ratio"] == pytest.approx(products["seconds"] / ours["seconds"])
    assert 0 < ours["found"]["negative_elbo"] < 800
    assert ours["peak_megabytes"] > 100
    assert "tensorflow" in found["versions"]
    assert (tmp_path / "out/ratios.png").stat().st_size > 1000
    again = [*command[:4], "start", "--peer", "ours", "--rounds", "1", *command[-4:]]
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    both = json.loads((tmp_path / "out/results.json").read_text())["results"]
    assert both["mlp"] == found["results"]["mlp"]
    assert both["start"]["ours"]["rounds"] == 1
    assert (tmp_path / "out/table.md").read_text() in done.stdout


def test_what_grows_gets_whole_batches_and_is_shown(tmp_path):
    for axis in scaling.AXES.values():
        for value in axis.values:
            changes = axis.changes(value)
            batch = changes.get("batch_size", 128)
            assert changes[axis.size] == value
            assert changes["train_images"] % batch == 0
            assert changes["train_images"] >= batch
    found = {
        "batch": {
            "ours": [
                {"value": 32, "microseconds": 34.56, "peak_megabytes": 900.0},
                {"value": 128, "absent": "not done within 1 s"},
            ]
        }
    }
    assert "| tfp_vae | 34.6 (900) | not done within 1 s |" in scaling.table(found)
    scaling.figure(tmp_path / "scaling.png", found)
    assert (tmp_path / "scaling.png").stat().st_size > 1000
