"""The weights of a loss' terms: numbers, variables, schedules, or dicts of these by variable."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfp_vae import schedules


def weighted(kl: tf.Tensor | None, weight: Any, step: Any) -> tf.Tensor | float:
    """Returns `weight * kl` at a step, or 0 where there is no KL."""
    return 0.0 if kl is None else now(weight, step, kl.dtype) * kl


def now(value: Any, step: Any, dtype: Any) -> tf.Tensor:
    """Returns the value of a number, variable or schedule at a step."""
    return tf.cast(schedules.value_at(value, step), dtype)


def is_zero(value: Any) -> bool:
    """Tells whether a weight is the number 0, at each step."""
    return isinstance(value, (int, float)) and value == 0


def is_one(value: Any) -> bool:
    """Tells whether a weight is the number 1, at each step."""
    return isinstance(value, (int, float)) and value == 1


def of_variable(value: Any, name: str) -> Any:
    """Returns a setting for one latent variable: an entry of a dict, or the value for all."""
    return value[name] if isinstance(value, dict) else value
