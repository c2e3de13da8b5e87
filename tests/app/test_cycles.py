"""The whole cycle of a run by the command, and images of any size: each row of later papers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import SMALL, main, results, state

from tfp_vae import callbacks, recipes
from tfp_vae.app import runs

FEW = ["--data", "few.npz", "--batch_size", 64]
NAMES = list(recipes.RECIPES)
LATER = NAMES[NAMES.index("two_stage_vae") + 1 :]
QUICK = ["m2"]
SEQUENCES = [name for name in LATER if recipes.RECIPES[name].takes]


def rows(quick, names=LATER):
    return [
        name if name in quick else pytest.param(name, marks=pytest.mark.again) for name in names
    ]


@pytest.fixture(autouse=True)
def _few(here, digits):
    np.savez("few.npz", x_train=digits.train[:200], y_train=digits.train_labels[:200],
             x_test=digits.test[:40], y_test=digits.test_labels[:40])  # fmt: skip


class Killed(BaseException):
    """What ends a run at once, as far as the run can tell."""


def killed_in_the_second_epoch(monkeypatch, words):
    usual, calls = callbacks.KeepGood.on_epoch_end, []

    def end(*args, **kwargs):
        calls.append(1)
        if len(calls) > 1:
            raise Killed
        return usual(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.KeepGood, "on_epoch_end", end)
        with pytest.raises(Killed):
            main(words)


def assert_same(one, other, is_game):
    if one.dtype.kind != "f":
        unused = one.shape == (2,) and one[1] == other[1] == 0  # a seed that draws nothing
        assert unused or (one == other).all()
    elif is_game and one.size:
        # Two games that were not interrupted differ too on a busy machine: sums of a convolution's
        # threads come in any order, which Adam and the players make more of.
        assert np.abs(one - other).mean() < 1e-4
    else:
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", rows(QUICK))
def test_it_trains_goes_on_is_evaluated_drawn_and_exported(recipe, monkeypatch):
    words = ["train", "--recipe", recipe, *SMALL, *FEW, "--epochs", 2, "--out"]
    assert main([*words, "whole"]) == 0
    killed_in_the_second_epoch(monkeypatch, [*words, "killed"])
    assert main(["train", "--resume", "killed"]) == 0
    whole, resumed = (runs.Run.open(name) for name in ("whole", "killed"))
    ends = [run.load_trained() for run in (resumed, whole)]
    is_game = "critic" in ends[0].objective.metric_names
    for a, b in zip(*map(state, ends), strict=True):
        assert_same(a, b, is_game)
    numbers = zip(*map(keras.tree.flatten, (results(resumed), results(whole))), strict=True)
    assert all(a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-3)) for a, b in numbers)
    found = {path.stem for path in whole.figures.iterdir()}
    several = len(whole.load_model().graph.posteriors) > 1
    wanted = {"samples": True, "reconstructions": True, "real_and_drawn": recipe in SEQUENCES,
              "by_layer": several}  # fmt: skip
    assert {name: name in found for name in wanted} == wanted
    for command in (["evaluate", "whole", "--num_samples", 5, "--examples", 20],
                    ["sample", "whole", "--num", 5, "--out", "a.npy"],
                    ["sample", "whole", "--num", 5, "--out", "b.npy"],
                    ["sample", "whole", "--num", 5, "--out", "a.png"],
                    ["export", "whole", "saved"]):  # fmt: skip
        assert main(command) == 0
    assert np.load("a.npy").shape == (5, 8, 8, 1)
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    served = tf.saved_model.load("saved")
    drawn = served.sample(tf.constant(3))
    assert (drawn["x"] if isinstance(drawn, dict) else drawn).shape == (3, 8, 8, 1)
    assert main(["train", "--resume", "whole", "--epochs", 3]) == 0
    assert results(whole)["steps"] == 3 * results(resumed)["steps"] / 2


@pytest.mark.parametrize("body", ["mlp", pytest.param("conv", marks=pytest.mark.again)])
@pytest.mark.parametrize("recipe", rows(["vae_gan"]))
def test_it_takes_colour_images_of_any_size(recipe, body):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, [60, 21, 14, 3], np.uint8)
    labels = np.arange(60) % 3
    np.savez("few.npz", x_train=x[:40], x_test=x[40:], y_train=labels[:40], y_test=labels[40:])
    words = ["--recipe", recipe, *SMALL, *FEW, "--body", body, "--epochs", 2]
    assert main(["train", *words, "--out", "run"]) == 0
    assert np.isfinite(results(runs.Run.open("run")).get("nll", 0))
    assert main(["sample", "run", "--num", 3, "--out", "x.npy"]) == 0
    assert np.load("x.npy").shape == (3, 21, 14, 3)
