"""Amounts in the arguments of `fit` and `evaluate`: steps, and numbers in a batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def steps_of(given: dict[str, Any]) -> int:
    """Returns the number of training steps of a `fit`, or 0 where the data do not say."""
    x, epochs = given.get("x"), given.get("epochs", 1) - given.get("initial_epoch", 0)
    each = given.get("steps_per_epoch")
    if each is None and isinstance(x, tf.data.Dataset):
        each = max(0, int(x.cardinality()))
    elif each is None:
        sizes = [a.shape[0] for a in keras.tree.flatten(x) if hasattr(a, "shape")]
        each = sizes[0] // (given.get("batch_size") or 32) if sizes else 0
    return int(each) * epochs


def values_in_batch(given: dict[str, Any]) -> int:
    """Returns how many numbers there are in a batch of the arrays of a `fit`."""
    parts = keras.tree.flatten([given.get("x"), given.get("y")])
    arrays = [a for a in parts if hasattr(a, "shape")]
    return (given.get("batch_size") or 32) * sum(int(np.prod(a.shape[1:])) for a in arrays)


def at_most(steps: int | None) -> int | None:
    """Returns the number of steps in an epoch, at most the limit of Keras' configuration."""
    limit = getattr(keras.config, "max_steps_per_epoch", lambda: None)()  # new in Keras 3.12
    return min(steps or limit, limit) if limit else steps


def number(variable: Any) -> Any:
    """Returns the value of a Keras variable, which may be mirrored, or of a tensor of one."""
    return tf.convert_to_tensor(getattr(variable, "value", variable)).numpy()
