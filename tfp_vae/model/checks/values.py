"""Checks of one array of data: its shape, what its numbers are, and how many rows it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.arguments.kinds import shown
from tfp_vae.bridge import sparse
from tfp_vae.errors import InputError
from tfp_vae.wiring import outline

DIVIDE = " Divide pixels by 255 first."


def check_shape(x: Any, shape: tuple[int | None, ...], what: str) -> None:
    """Raises `InputError` unless x is a batch of this shape."""
    received = np.shape(as_array(x, what))
    if len(received) != len(shape) + 1 or any(
        None not in (want, got) and want != got
        for want, got in zip(shape, received[1:], strict=True)
    ):
        expected = ", ".join(["batch", *("any" if size is None else str(size) for size in shape)])
        raise InputError(f"Expected {what} of shape ({expected}).", tuple(received) or shown(x))


def as_array(x: Any, what: str) -> Any:
    """Returns a tensor or array as it is, all else as NumPy has it."""
    if tf.is_tensor(x) or hasattr(x, "shape"):
        return x
    try:
        return np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"Expected {what} to be one array of numbers.", outline(x)) from error


def check_values(
    x: Any,
    shape: tuple[int | None, ...],
    support: Any,
    what: str,
    hint: str = DIVIDE,
    meet_unknown: Callable[[str], None] | None = None,
) -> Any:
    """Checks shape and values, and returns the lowest and the highest value, where known.

    `meet_unknown` is called where there are NaN, which stand for what is not known, and raises
    where they cannot be taken; None: they are not taken.
    """
    check_shape(x, shape, what)
    x = as_array(x, what)
    received = tuple(x.shape)
    if received[0] == 0:
        raise InputError(f"Expected at least one example in {what}.", f"shape {received}")
    if is_symbolic(x):
        return None
    values = sparse.numbers(x)
    if values.dtype.kind not in "biuf":
        raise InputError(f"Expected numbers in {what}.", f"dtype {values.dtype}")
    low, high = values.min(), values.max()  # NaN spreads through both
    if meet_unknown is not None and np.isnan(low) and not sparse.is_sparse(x):
        meet_unknown(what)
        check_rows_known(values, what)
        low, high = np.nanmin(values), np.nanmax(values)
    if not np.isfinite([float(low), float(high)]).all():
        bad = sparse.bad_rows(x)
        raise InputError(f"Expected finite numbers in {what}.", f"{bad} examples with NaN or inf")
    if support is not None and (low < support[0] or high > support[1]):
        hint = hint if support[1] == 1 and 1 < high <= 255 else ""
        raise InputError(
            f"Expected {what} within the likelihood's support, {support[0]:g} to "
            f"{support[1]:g}.{hint}",
            f"values from {low:g} to {high:g}",
        )
    return low, high


def check_rows_known(values: np.ndarray, what: str) -> None:
    """Raises `InputError` where all entries of a row are NaN."""
    empty = np.isnan(values).all(axis=tuple(range(1, values.ndim)))
    if empty.any():
        raise InputError(
            f"Expected at least one known entry in each row of {what}.",
            f"{int(empty.sum())} rows of NaN alone, such as row {int(np.argmax(empty))}",
        )


def check_known(x: Any, shape: tuple[int | None, ...], what: str) -> None:
    """Raises `InputError` unless they are numbers of this shape; a row with NaN is unknown."""
    check_shape(x, shape, what)
    if not is_symbolic(x):
        values = sparse.numbers(as_array(x, what))
        if values.dtype.kind not in "biuf" or np.isinf(values).any():
            raise InputError(
                f"Expected finite numbers in {what}, or NaN where a row is not known.",
                f"dtype {values.dtype}, with inf" if values.dtype.kind == "f" else values.dtype,
            )


def check_words(x: Any, shape: tuple[int | None, ...], what: str) -> None:
    """Raises `InputError` unless x is a batch of strings of this shape."""
    x = as_array(x, what)
    check_shape(x, shape, what)
    words = x.dtype == tf.string if tf.is_tensor(x) else are_words(x)
    if not words:
        raise InputError(f"Expected strings in {what}.", f"dtype {getattr(x.dtype, 'name', x)}")


def are_words(x: np.ndarray) -> bool:
    """Tells whether all of an array are strings."""
    held = x.dtype.kind == "O" and all(isinstance(word, (str, bytes)) for word in x.flat)
    return held or x.dtype.kind in "US"


def check_rows(value: Any, name: str, main: Any, what: str) -> None:
    """Raises `InputError` unless a value has as many rows as what it goes with."""
    counts = {np.shape(main)[0], np.shape(value)[0]} - {None}
    if len(counts) > 1:
        both = outline({what: main, name: value})
        raise InputError(f"Expected as many rows of {name} as of {what}.", both)


def check_weights(weights: Any, main: Any, what: str) -> None:
    """Raises `InputError` unless there is one finite weight for each example."""
    name = f"the sample weights of {what}"
    shape = tuple(as_array(weights, name).shape)
    if shape[1:] not in ((), (1,)) or not shape:
        raise InputError(f"Expected one weight for each example in {name}, shape (n,).", shape)
    check_values(weights, shape[1:], None, name)
    check_rows(weights, name, main, what)


def check_not_pixels(x: Any, found: Any, what: str) -> None:
    """Raises `InputError` where x are pixels that nobody divided by 255."""
    low, high = found or (0, 0)
    values = sparse.numbers(x) if found else np.zeros(1)
    values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if low >= 0 and 1 < high <= 255 and (values == np.round(values)).all():
        raise InputError(
            f"Expected {what} on the scale of the likelihood's support, 0 to 1. "
            "Divide pixels by 255 first.",
            f"values from {low:g} to {high:g}",
        )


def check_categories(value: Any, count: int, what: str) -> None:
    """Raises `InputError` unless they are integers from 0 to `count - 1`."""
    if is_symbolic(value):
        return
    values = sparse.numbers(value)
    if values.min() < 0 or values.max() >= count or (values != np.round(values)).any():
        raise InputError(
            f"Expected integers from 0 to {count - 1} in {what}.",
            f"{values.dtype} from {values.min():g} to {values.max():g}",
        )


def is_symbolic(x: Any) -> bool:
    """Tells whether x is a tensor in a graph, where there are no values to look at."""
    values = x.values if isinstance(x, tf.SparseTensor) else x
    return tf.is_tensor(values) and not hasattr(values, "numpy")
