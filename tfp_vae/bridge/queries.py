"""The values that a distribution is asked about: their dtype, and a shape that is no mistake."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.errors import InputError

# The modules between a distribution's public method and its caller.
_BETWEEN = (
    __name__,
    "tfp_vae.bridge.coercible",
    "tensorflow_probability.python.distributions.distribution",
    "decorator",
)


def as_argument(value: Any, dtype: Any) -> Any:
    """Returns a value in the distribution's dtype, where this is of reals.

    For a distribution of integers real numbers stay: a Bernoulli takes numbers between 0 and 1 too,
    of which TFP would make integers.
    """
    if keras.tree.is_nested(dtype):
        return value
    if not tf.is_tensor(value) and not isinstance(value, tf.Variable):
        if not dtype.is_floating:
            array = np.asarray(value)
            return tf.convert_to_tensor(array) if array.dtype.kind == "f" else value
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            return value
    return tf.cast(value, dtype) if dtype.is_floating and value.dtype != dtype else value


def _asked_by_tfp() -> bool:
    """Tells whether a distribution of TFP asks, such as a mixture, which means all pairs."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    asks = "" if frame is None else str(frame.f_globals.get("__name__"))
    return asks.startswith("tensorflow_probability.")


def refuse_all_pairs(value: Any, batch: tf.TensorShape, event: tf.TensorShape) -> None:
    """Refuses values of shape (n, 1) for n distributions, and n values for those of (n, 1).

    Broadcasting would give the densities of all n * n pairs.
    """
    if keras.tree.is_nested(value) or _asked_by_tfp():
        return
    shape = getattr(value, "shape", None)
    given = tf.TensorShape(np.shape(value) if shape is None else shape)
    if None in (given.rank, batch.rank, event.rank) or given == [] or batch + event == []:
        return
    short, long = sorted((list(given), list(batch + event)), key=len)
    if len(long) == len(short) + 1 and long[-1] == 1 and long[:-1] == short and set(short) != {1}:
        raise InputError(
            f"Expected values of the distribution's shape {tuple(batch + event)}: broadcasting "
            "would take all pairs of values and distributions. As a loss, "
            "tfp_vae.NegativeLogLikelihood() reshapes y; elsewhere reshape it, or ask "
            "`d.at.log_prob(values)` where all pairs are meant.",
            tuple(given),
        )
