"""Rows of the data in the form that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfp_vae.model import main_variable


def inputs(vae: Any, x: np.ndarray, labels: np.ndarray | None) -> Any:
    """Returns x, with the labels if the model is conditioned on them."""
    if not main_variable.conditions(vae):
        return x
    assert labels is not None
    return {"x": x, "label": labels.astype(np.int32)}


def some(labels: np.ndarray | None, rows: Any) -> np.ndarray | None:
    """Returns the labels of some rows, if there are labels."""
    return None if labels is None else labels[rows]
