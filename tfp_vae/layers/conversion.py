"""The tensor that a distribution stands for: named, or given by a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tensorflow_probability import distributions as tfd

ConvertToTensor = str | property | Callable[[Any], Any]


def by_name(
    convert_to_tensor_fn: ConvertToTensor, argument: str = "convert_to_tensor_fn"
) -> str | Callable[[Any], Any]:
    """The name of what TFP defines, a function as it is: a name is saved without any code."""
    if isinstance(convert_to_tensor_fn, property):
        return convert_to_tensor_fn.fget.__name__  # type: ignore[union-attr]
    if isinstance(convert_to_tensor_fn, str):
        return convert_to_tensor_fn
    if not callable(convert_to_tensor_fn):
        raise TypeError(
            f"Expected {argument} to be the name of a distribution's method or property, "
            f"such as 'mean', or a function. Received: {convert_to_tensor_fn!r}"
        )
    owner = inspect.getmodule(convert_to_tensor_fn)
    if owner is not None and owner.__name__.startswith("tensorflow_probability."):
        return convert_to_tensor_fn.__name__
    return convert_to_tensor_fn


def concretize(convert_to_tensor_fn: str | Callable[[Any], Any], distribution: Any) -> Any:
    """The tensor that `convert_to_tensor_fn`, as `by_name` gives it, makes of the distribution."""
    if callable(convert_to_tensor_fn):
        return convert_to_tensor_fn(distribution)
    attribute = _attribute(distribution, convert_to_tensor_fn)
    return attribute() if callable(attribute) else attribute


def _attribute(distribution: Any, name: str) -> Any:
    """`distribution.name`, or its base distribution's: an Independent has no `logits`."""
    while isinstance(distribution, tfd.Distribution):
        if hasattr(distribution, name):
            return getattr(distribution, name)
        distribution = getattr(distribution, "distribution", None)
    raise ValueError(f"The distribution has no method or property {name!r} to convert it with.")
