"""Labels that are known for some rows, by the command."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from commands import SMALL, main, results
from recipe_models import made

from tfp_vae import data
from tfp_vae.app import runs
from tfp_vae.app.figures import by_label
from tfp_vae.app.known_labels import UNKNOWN, as_values, labelled
from tfp_vae.model import main_variable

FAST = [*SMALL, "--epochs", 2]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.again
def test_a_classifier_is_learnt_from_few_labels_reported_and_goes_on(capsys):
    assert main(["train", "--recipe", "m2", "--labelled", 50, *FAST, "--out", "run"]) == 0
    printed = capsys.readouterr().out
    found = results(runs.Run.open("run"))
    assert 0 <= found["accuracy"] <= 1
    assert "labels found, of 297 test examples" in printed
    assert found["kl_y"] + found["kl_z"] == pytest.approx(found["kl"], rel=1e-4)
    for command in (["evaluate", "run"], ["sample", "run", "--num", 20, "--out", "a.npy"],
                    ["export", "run", "saved"]):  # fmt: skip
        assert main(command) == 0
    assert np.load("a.npy").shape == (20, 8, 8, 1)
    served = tf.saved_model.load("saved")
    assert served.sample(tf.constant(3))["x"].shape == (3, 8, 8, 1)
    assert main(["train", "--resume", "run", "--epochs", 3]) == 0


@pytest.mark.parametrize("recipe", ["m2", "ccvae", "conditional_vae"])
def test_in_the_picture_by_label_all_but_the_label_is_the_same_in_a_column(recipe):
    model = made(recipe)
    shown = by_label(model, 10, 4, seed=1).reshape(10, 4, 8, 8)
    assert np.abs(np.diff(shown, axis=0)).max() > 1e-4
    x = [
        main_variable.sampled(model, 4, main_variable.as_labels(model, np.full(4, label)), seed=1)
        for label in (3, 7)
    ]
    np.testing.assert_array_equal(shown[[3, 7]], np.reshape(x, [2, 4, 8, 8]))
    if recipe == "m2":
        z = [model.sample(given=main_variable.as_labels(model, np.full(4, label)), seed=1)["z"]
             for label in (3, 7)]  # fmt: skip
        np.testing.assert_array_equal(*z)


def test_labels_are_for_recipes_that_learn_from_these(capsys):
    assert main(["train", "--recipe", "vae", "--labelled", 50, *FAST, "--out", "run"]) != 0
    assert "recipe that learns from labels, such as m2" in capsys.readouterr().err


def test_as_many_of_each_class_are_known_and_come_often():
    labels = data.load("digits").train_labels
    found = labelled(labels, 100, seed=1)
    known = found.labels[: len(labels)] != UNKNOWN
    np.testing.assert_array_equal(np.bincount(labels[known]), [10] * 10)
    np.testing.assert_array_equal(found.labels[: len(labels)][known], labels[known])
    np.testing.assert_array_equal(
        found.labels != UNKNOWN, np.isin(found.rows, np.flatnonzero(known))
    )
    assert found.num_labelled == np.sum(found.labels != UNKNOWN)
    again = labelled(labels, 100, seed=1)
    np.testing.assert_array_equal(found.labels, again.labels)
    everything = labelled(labels, None, seed=1)
    assert everything.num_labelled == len(labels)
    batch = {"x": tf.zeros([2, 3]), "label": tf.constant([1, UNKNOWN])}
    values = as_values("y", 3)(batch)["y"].numpy()
    np.testing.assert_array_equal(values[0], [0, 1, 0])
    assert np.isnan(values[1]).all()
