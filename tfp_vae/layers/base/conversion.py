"""The tensor that a distribution stands for: named, or given by a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError, InputTypeError

ConvertToTensor = str | property | Callable[[Any], Any] | Sequence[Any]


def by_name(convert_to_tensor_fn: ConvertToTensor, argument: str = "convert_to_tensor_fn") -> Any:
    """Returns the name of what TFP defines, saved without any code; another function as it is."""
    if isinstance(convert_to_tensor_fn, property):
        return convert_to_tensor_fn.fget.__name__  # type: ignore[union-attr]
    if isinstance(convert_to_tensor_fn, str):
        return convert_to_tensor_fn
    if isinstance(convert_to_tensor_fn, Sequence) and convert_to_tensor_fn:
        return tuple(by_name(each, argument) for each in convert_to_tensor_fn)
    if not callable(convert_to_tensor_fn):
        raise InputTypeError(
            f"Expected {argument} to be the name of a distribution's method or property, "
            "such as 'mean', a function, or several of these.",
            repr(convert_to_tensor_fn),
        )
    owner = inspect.getmodule(convert_to_tensor_fn)
    if owner is not None and owner.__name__.startswith("tensorflow_probability."):
        return convert_to_tensor_fn.__name__
    return convert_to_tensor_fn


def concretize(convert_to_tensor_fn: Any, distribution: Any) -> Any:
    """Returns the tensor that `convert_to_tensor_fn`, from `by_name`, makes of the distribution.

    Several are stacked on a new last axis, a covariance by its columns: `("mean", "covariance")`
    gives `[..., d, 1 + d]`. A name such as `logits` may be of the base of an Independent.
    """
    if isinstance(convert_to_tensor_fn, tuple):
        values = [concretize(each, distribution) for each in convert_to_tensor_fn]
        return _side_by_side([tf.convert_to_tensor(value) for value in values])
    if callable(convert_to_tensor_fn):
        return convert_to_tensor_fn(distribution)
    owner = distribution
    while isinstance(owner, tfd.Distribution):
        if hasattr(owner, convert_to_tensor_fn):
            attribute = getattr(owner, convert_to_tensor_fn)
            return attribute() if callable(attribute) else attribute
        owner = getattr(owner, "distribution", None)
    raise InputError(
        f"The distribution has no method or property {convert_to_tensor_fn!r} to convert it with."
    )


def is_draw(convert_to_tensor_fn: Any) -> bool:
    """Returns whether the tensor is a draw, for Monte Carlo: "sample", or a user's function."""
    return convert_to_tensor_fn == "sample" or callable(convert_to_tensor_fn)


def _side_by_side(values: list[tf.Tensor]) -> tf.Tensor:
    ranks = {value.shape.rank for value in values}
    if len(ranks) == 1 or None in ranks:
        return tf.stack(values, axis=-1)
    columns = [
        value if value.shape.rank == max(ranks) else value[..., tf.newaxis] for value in values
    ]
    return tf.concat(columns, axis=-1)
