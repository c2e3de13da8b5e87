"""The weight of a KL term: a number, a variable, or a schedule over training steps."""

from __future__ import annotations

import contextlib
import numbers
from typing import Any

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class TrainingStep(keras.layers.Layer):
    """A count of training calls for a schedule; a layer, so that Keras saves the count."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="count"
        )
        self.built = True


class KLWeight:
    """A number, a variable or a tensor (a scalar), a schedule, or None for 1.

    A schedule counts the training passes through the model: `begin()` at the start of a pass, where
    Keras clears the losses, then `advance()` at each call of a layer; the first call counts.

    Args:
      given: the weight.
      argument: its name, for the error.

    Raises:
      InputError: the weight is none of these.

    Example:
      >>> weight = KLWeight(schedules.warm_up(4))
      >>> for _ in range(3):  # three passes, with two calls each
      ...     weight.begin(); weight.advance(); weight.advance()
      >>> float(weight.value())  # two steps are finished
      0.5
    """

    def __init__(self, given: Any, argument: str = "weight") -> None:
        if not (given is None or callable(given) or _is_a_number(given)):
            raise InputError(
                f"Expected {argument} to be a number, a variable or tensor that is a scalar, a "
                "schedule (see tfp_vae.schedules), or None.",
                repr(given),
            )
        self.given = given
        self.step = TrainingStep() if callable(given) else None
        self._advanced = False

    def begin(self) -> None:
        """Lets the next `advance` count."""
        self._advanced = False

    def advance(self) -> None:
        """Moves a schedule one training step on, once in a pass."""
        if self.step is None or self._advanced:
            return
        self._advanced = True
        with _out_of_loops():
            self.step.count.assign_add(1)

    def value(self, dtype: Any = tf.float32) -> tf.Tensor | None:
        """Returns the weight at present; None for 1."""
        if self.given is None:
            return None
        # The count includes the present step; schedules count finished steps.
        step = 0 if self.step is None else tf.maximum(tf.convert_to_tensor(self.step.count) - 1, 0)
        return tf.cast(schedules.value_at(self.given, step), dtype)

    def times(self, kl: tf.Tensor) -> tf.Tensor:
        """Returns the weight times `kl`."""
        weight = self.value(kl.dtype)
        return kl if weight is None else weight * kl


def _is_a_number(given: Any) -> bool:
    if isinstance(given, numbers.Real):
        return True
    if not hasattr(given, "dtype") or not hasattr(given, "shape") or tuple(given.shape) != ():
        return False
    dtype = keras.backend.standardize_dtype(given.dtype)
    return keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)


@contextlib.contextmanager
def _out_of_loops() -> Any:
    """Enters the function around a loop (an RNN's) from the loop's body."""
    graph = tf.compat.v1.get_default_graph() if not tf.executing_eagerly() else None
    with contextlib.ExitStack() as stack:
        if graph is not None and type(graph).__name__.startswith("While"):
            while type(graph).__name__.startswith("While"):
                graph = graph.outer_graph
            stack.enter_context(graph.as_default())
        yield
