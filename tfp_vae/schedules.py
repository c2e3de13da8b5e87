"""Numbers that change over training: a weight, a temperature, a capacity.

Any `keras.optimizers.schedules.LearningRateSchedule` is such a number.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.loading import loaded
from tfp_vae.errors import InputError

Scheduled: TypeAlias = float | LearningRateSchedule
_BY_VARIABLE = "by_variable"  # the key of a config that holds a value for each variable


def value_at(value: Any, step: Any) -> tf.Tensor:
    """Returns the value of a number, variable or schedule at a step, a float32 scalar."""
    return tf.cast(value(step) if callable(value) else tf.convert_to_tensor(value), tf.float32)


@checked
def warm_up(steps: int, end: float = 1.0) -> LearningRateSchedule:
    """Grows linearly from 0 to `end` over `steps` steps, then stays at `end`.

    `end * min(step / steps, 1)`: the KL warm-up of Bowman et al., arXiv:1511.06349, and Sønderby et
    al., arXiv:1602.02282, by Keras' `PolynomialDecay`.

    Example:
      >>> float(warm_up(100)(25))
      0.25
    """
    return keras.optimizers.schedules.PolynomialDecay(0.0, steps, end_learning_rate=end)


@keras.saving.register_keras_serializable(package="tfp_vae")
class Cyclical(LearningRateSchedule):
    """A growth from 0 to `end` and a hold, again and again: `end * min(t / rise, 1)`.

    t in [0, 1) is the position within the current cycle. Fu et al., "Cyclical Annealing Schedule",
    arXiv:1903.10145.

    Args:
      period: steps in one cycle.
      rise: the share of a cycle spent growing, in (0, 1].
      end: the value that is held.

    Example:
      >>> [float(Cyclical(10)(step)) for step in (0, 2, 5, 9, 10)]
      [0.0, 0.4000000059604645, 1.0, 1.0, 0.0]
    """

    @checked
    def __init__(self, period: float, rise: float = 0.5, end: float = 1.0) -> None:
        super().__init__()
        self.period = period
        self.rise = rise
        self.end = end

    def __call__(self, step: Any) -> tf.Tensor:
        position = tf.cast(step, tf.float64) % self.period / self.period
        return self.end * tf.minimum(tf.cast(position, tf.float32) / self.rise, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"period": self.period, "rise": self.rise, "end": self.end}


@keras.saving.register_keras_serializable(package="tfp_vae")
class Sigmoid(LearningRateSchedule):
    """`end / (1 + exp(-(step - middle) / width))`: slow at first, fast around `middle`.

    The KL annealing of Bowman et al., arXiv:1511.06349.

    Args:
      middle: the step of half of `end`.
      width: steps of a growth by a factor of e at first.
      end: the last value.

    Example:
      >>> [round(float(Sigmoid(100, 10)(step)), 2) for step in (0, 100, 200)]
      [0.0, 0.5, 1.0]
    """

    @checked
    def __init__(self, middle: int, width: float, end: float = 1.0) -> None:
        super().__init__()
        self.middle = middle
        self.width = width
        self.end = end

    def __call__(self, step: Any) -> tf.Tensor:
        return self.end * tf.sigmoid((tf.cast(step, tf.float32) - self.middle) / self.width)

    def get_config(self) -> dict[str, Any]:
        return {"middle": self.middle, "width": self.width, "end": self.end}


def to_config(value: Any) -> Any:
    """Returns an argument as JSON: a variable by its value, a schedule or network by its config."""
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [to_config(each) for each in value]
    if isinstance(value, dict):
        return {_BY_VARIABLE: {name: to_config(each) for name, each in value.items()}}
    if isinstance(value, (LearningRateSchedule, keras.layers.Layer)):
        return keras.saving.serialize_keras_object(value)
    if callable(value):
        raise InputError(
            "A schedule is saved with a model only if it is a keras.optimizers.schedules."
            "LearningRateSchedule: subclass it and register the class.",
            value,
        )
    return float(keras.ops.convert_to_numpy(value))


def from_config(value: Any) -> Any:
    """Returns the argument that `to_config` gave."""
    if isinstance(value, (list, tuple)):
        return [from_config(each) for each in value]
    if isinstance(value, dict) and set(value) == {_BY_VARIABLE}:
        return {name: from_config(each) for name, each in value[_BY_VARIABLE].items()}
    return loaded(value) if isinstance(value, dict) else value
