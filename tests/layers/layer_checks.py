"""The table of distribution layers as test cases, and what a row of it is fed with."""

import keras
import numpy as np
import pytest
from layer_table import AGAIN, ROWS


def rows(*marked):
    """Every row; the named ones with `--full` alone."""
    marks = {name: [pytest.mark.again] if name in marked else [] for name in ROWS}
    cases = [pytest.param(row, id=name, marks=marks[name]) for name, row in ROWS.items()]
    return pytest.mark.parametrize("row", cases)


EVERY = rows(*AGAIN)


def parameters(row, n=5, seed=1, dtype="float32"):
    return np.random.default_rng(seed).normal(size=(n, row.params_size)).astype(dtype)


def values_of(row, n=5, seed=1):
    """Values that the row's distribution can take: draws, at the parameters of that seed."""
    return row.build(seed=3)(parameters(row, n, seed)).sample().numpy()


def model_of(row, inputs=4, **kwargs):
    return keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(row.params_size), row.build(**kwargs)]
    )
