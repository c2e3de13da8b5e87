"""Rows of the data in the form that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfp_vae import data
from tfp_vae.errors import InputError
from tfp_vae.model import main_variable
from tfp_vae.recipes.base import find


def examples(config: Mapping[str, Any], words: Sequence[str] = ()) -> data.Examples:
    """Loads the data that a run's options name, as the run's recipe takes them.

    Raises:
      InputError: a text has other words than those that the run began with.
    """
    takes = find(config.get("recipe", "vae")).takes
    found = data.load(config["data"], takes=takes, length=config.get("length"))
    if words and found.vocabulary != tuple(words):
        raise InputError("Expected the text that the run began with.", config["data"])
    return found


def inputs(vae: Any, x: np.ndarray, labels: np.ndarray | None) -> Any:
    """Returns x, with the labels if the model is conditioned on them."""
    if not main_variable.conditions(vae):
        return x
    assert labels is not None
    return {"x": x, "label": labels.astype(np.int32)}


def some(labels: np.ndarray | None, rows: Any) -> np.ndarray | None:
    """Returns the labels of some rows, if there are labels."""
    return None if labels is None else labels[rows]
