"""A distribution over a Keras layer's weights that always shows their current values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError, InputTypeError


class TrackedDistribution:
    """The distribution that `fn(dtype, shape, name, trainable, add_variable_fn)` makes of weights.

    The distribution holds the `tf.Variable`s themselves, so that it follows them and gradients
    reach them. Where weights have other values for a while (Keras tracing a model that is not
    built yet, `stateless_call`), `fn` is called again with these values.

    Args:
      layer: makes and owns the weights, by its `add_weight`.
      fn: see `weight_distributions`; its `trainable` is True, since that of `layer` can change.
      dtype: of the weights.
      shape: of a draw.
      name: begins the names of the weights.

    Raises:
      TypeError: `fn` returns no distribution.
      InputError: `fn` makes variables that Keras would neither train nor save.

    Example:
      >>> layer = keras.layers.Layer()
      >>> def fn(dtype, shape, name, trainable, add_variable_fn):
      ...     return tfd.Normal(add_variable_fn(name=name, shape=shape, initializer="zeros"), 1.)
      >>> tracked = TrackedDistribution(layer, fn, tf.float32, (), "loc")
      >>> layer.weights[0].assign(3.) and float(tracked.current().mean())
      3.0
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        fn: Callable[..., Any],
        dtype: tf.DType,
        shape: Sequence[int],
        name: str,
    ) -> None:
        self._layer = layer
        self._make = lambda add: fn(dtype, shape, name, True, add)
        self._name = name
        self._weights: list[keras.Variable] = []
        self._values: list[Any] = []
        with tf.init_scope():  # a constant of the present graph is of no use in another
            self._distribution = self._make(self._add)
        if not isinstance(self._distribution, tfd.Distribution):
            raise InputTypeError(
                f"{layer.name}: expected {name}_fn to return a tfp.distributions.Distribution.",
                repr(self._distribution),
            )
        strange = [
            variable.name
            for variable in self._distribution.trainable_variables
            if not any(variable is value for value in self._values)
        ]
        if strange:
            raise InputError(
                f"{layer.name}: {name}_fn is expected to make its variables with the "
                "add_variable_fn that it is given, or Keras neither trains nor saves them.",
                f"variables of its own: {', '.join(strange)}",
            )

    def current(self) -> tfd.Distribution:
        """Returns the distribution, at the weights' current values."""
        values = [weight.value for weight in self._weights]
        if all(new is old for new, old in zip(values, self._values, strict=True)):
            return self._distribution
        again = iter(values)
        if not all(isinstance(value, tf.Variable) for value in values):
            return self._make(lambda *args, **kwargs: next(again))
        with tf.init_scope():
            self._distribution = self._make(lambda *args, **kwargs: next(again))
        self._values = values
        return self._distribution

    def _add(
        self,
        name: str | None = None,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool = True,
        constraint: Any = None,
    ) -> Any:
        weight = self._layer.add_weight(
            name=name or self._name,
            shape=shape,
            dtype=dtype,
            initializer=initializer,
            regularizer=regularizer,
            trainable=trainable,
            constraint=constraint,
            autocast=False,  # mixed precision would give a copy in half precision
        )
        self._weights.append(weight)
        self._values.append(weight.value)
        return self._values[-1]
