"""Kinds of values: integers, shapes, numbers, schedules."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def shown(value: Any) -> str:
    """Returns a value as a message shows it: of an array the shape, else Python's own form."""
    if inspect.isclass(value):
        return f"the class {value.__name__}, not an instance of it"
    if isinstance(value, (np.ndarray, tf.Tensor)) and value.shape != ():
        return f"an array of {value.dtype}, shape {tuple(value.shape)}"
    return repr(value)


def number(value: Any) -> float | None:
    """Returns the value of a number, also of an array or tensor without axes; else None."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or inspect.isclass(value):
        return None
    if isinstance(value, (np.ndarray, tf.Tensor)):
        is_one = value.shape == () and not _is_symbolic(value)
        return number(np.asarray(value)[()]) if is_one else None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not hasattr(value, "numpy")


def _known_later(value: Any) -> bool:
    """Tells whether only a run knows the value: of a scalar variable, or a scalar of a graph."""
    variable = isinstance(value, (tf.Variable, keras.Variable))
    if variable or _is_symbolic(value):
        return tf.TensorShape(value.shape).rank in (0, None)
    return False


def is_integer(value: Any, low: int = 1, high: float = math.inf) -> bool:
    """Tells whether a value is an integer of any library within the bounds, and no bool."""
    if _known_later(value):
        return bool(tf.as_dtype(value.dtype).is_integer)
    if isinstance(value, (bool, np.bool_)) or inspect.isclass(value):
        return False
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    try:
        return low <= operator.index(value) <= high
    except TypeError:
        return False


def is_sizes(value: Any) -> bool:
    """Tells whether a value is a shape: an integer from 1, or a sequence or vector of these."""
    if isinstance(value, tf.TensorShape):
        value = value.as_list() if value.rank is not None else [None]
    if isinstance(value, (np.ndarray, tf.Tensor)):
        if _is_symbolic(value) or value.ndim > 1:
            return False
        value = np.asarray(value).tolist()
        value = value if value or not isinstance(value, list) else ()  # np.array([]) is of floats
    several = isinstance(value, (list, tuple, range))
    return all(map(is_integer, value)) if several else is_integer(value)


def is_real(value: Any, low: float, above: bool = False, high: float = math.inf) -> bool:
    """Tells whether a value is a finite number within the bounds, without `low` if `above`."""
    found = number(value)
    if found is None or not math.isfinite(found):
        return False
    return (low < found if above else low <= found) and found <= high


def is_scheduled(value: Any, low: float = 0.0, above: bool = False) -> bool:
    """Tells whether a value is such a number, a variable, or a schedule."""
    if inspect.isclass(value):
        return False
    return callable(value) or _known_later(value) or is_real(value, low, above)


def is_bool(value: Any) -> bool:
    """Tells whether a value is True or False, or 1 or 0."""
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1))


def all_scheduled(value: Any) -> bool:
    """Tells whether a value is scheduled, or a list of such values."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    several = isinstance(value, (list, tuple)) and len(value) > 0
    return all(map(is_scheduled, value)) if several else is_scheduled(value)


def by_variable(holds: Callable[[Any], bool], value: Any) -> bool:
    """Tells whether a value holds, or is a dict by name of values that do."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(n, str) and holds(v) for n, v in value.items())
    return holds(value)


def is_array(value: Any) -> bool:
    """Tells whether a value makes an array of numbers, of at least one axis."""
    try:
        return np.ndim(value) > 0 and np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # rows of different lengths
        return False


def is_callable(value: Any) -> bool:
    """Tells whether a value can be called for a distribution, as a class of TFP's can be."""
    return callable(value) and not (
        inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    )
