"""`tfp.layers.util`: the same names, for code that looks for them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfp_vae.bridge.loading import loaded
from tfp_vae.errors import InputTypeError
from tfp_vae.layers.bayesian.weight_distributions import (
    default_loc_scale_fn,
    default_mean_field_normal_fn,
    default_multivariate_normal_fn,
)

__all__ = [
    "default_loc_scale_fn",
    "default_mean_field_normal_fn",
    "default_multivariate_normal_fn",
    "deserialize_function",
    "serialize_function",
]


def serialize_function(func: Callable[..., Any]) -> tuple[Any, str]:
    """Returns a function as Keras serializes it, and "lambda" or "function".

    Example:
      >>> deserialize_function(*serialize_function(keras.activations.relu)).__name__
      'relu'
    """
    kind = "lambda" if getattr(func, "__name__", "") == "<lambda>" else "function"
    return keras.saving.serialize_keras_object(func), kind


def deserialize_function(serial: Any, function_type: str) -> Callable[..., Any]:
    """Inverts `serialize_function`; Keras loads a lambda only where `safe_mode` is off.

    Raises:
      TypeError: `function_type` is neither "lambda" nor "function".
    """
    if function_type not in ("lambda", "function"):
        raise InputTypeError(
            "Expected function_type to be 'lambda' or 'function'.",
            repr(function_type),
        )
    return loaded(serial)
