"""Checks of data, before any work: one clear error, of what was expected and what was given."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae import sparse
from tfp_vae.errors import InputError
from tfp_vae.networks import categories
from tfp_vae.sources import first_batch, with_targets
from tfp_vae.wiring import Wiring, outline

_RESCALING = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Lambda,
)
_DIVIDE = " Divide pixels by 255 first."


@dataclasses.dataclass
class DataChecks:
    """What a model expects of its data, and the checks that these are it.

    Attributes:
      wiring: what the networks take.
      target_shape: of one thing that the likelihood is over.
      support: (low, high) of the likelihood, or None where any number will do.
      values_in_batch: how many numbers the batch had that `data` looked at last; 0 for arrays.
    """

    wiring: Wiring
    target_shape: tuple[int | None, ...]
    support: tuple[float, float] | None
    values_in_batch: int = 0

    def data(self, x: Any, y: Any, what: str, sample_weight: Any = None) -> Any:
        """Looks at the first batch (all of an array) and returns x with nothing lost.

        Args:
          x: what `fit` takes: an array, a data set, a generator.
          y: targets given beside x, or None.
          what: how the message calls x.
          sample_weight: weights given beside x, or None.

        Raises:
          InputError: see `batch`; the targets are not what the likelihood is over; the weights are
            not one finite number for each example.
        """
        given = x
        inputs, target, weights, x = first_batch(given)
        is_batch = inputs is not given
        parts = keras.tree.flatten([inputs, target]) if is_batch else []
        self.values_in_batch = sum(math.prod(np.shape(p)) for p in parts if p is not None)
        if inputs is None:
            raise InputError(f"Expected at least one example in {what}.", "none")
        if is_batch:
            x = with_targets(x, (inputs, target, weights), lambda one: self.wiring.split(one)[0])
        else:
            target, weights = y, sample_weight
        self.batch(inputs, what, is_target=target is None)
        main = self.wiring.split(inputs)[0]
        if target is not None:
            _check(target, self.target_shape, self.support, f"the targets of {what}")
            _check_rows(target, f"the targets of {what}", main, what)
        if weights is not None:
            _check_weights(weights, main, what)
        return x

    def batch(self, data: Any, what: str = "x", is_target: bool = True) -> None:
        """Checks a batch of at least one x, with its conditions.

        The support of the likelihood binds x only where x itself is what the likelihood is over: an
        encoder takes any numbers, such as images with noise. Whole numbers beyond 1 are refused
        there too, if the support ends at 1: they are pixels that nobody divided by 255.
        """
        x, conditions = self.wiring.split(data)
        shape = tuple(self.wiring.encoder.main.shape[1:])
        hint = _DIVIDE
        if is_target and self.support is not None and self.support[1] == 1 and self._rescales:
            hint = " The encoder rescales x: give what the likelihood is over too, (x, x / 255)."
        found = _check(x, shape, self.support if is_target else None, what, hint)
        if is_target:
            _check_shape(x, self.target_shape, f"{what}, which the likelihood is over,")
        elif self.support is not None and self.support[1] == 1 and not self._rescales:
            _check_not_pixels(x, found, what)
        self.conditions(conditions, x, what)

    def conditions(self, given: dict[str, Any], main: Any, what: str) -> None:
        """Raises `InputError` unless the conditions go with `main`, which is x or z, row by row."""
        for name, value in given.items():
            port = self.wiring.conditions[name]
            shape, called = tuple(port.shape[1:]), f"{name} of {what}"
            if port.dtype == "string":
                _check_words(value, shape, called)
            else:
                _check(value, shape, None, called)
            if name in self._categories:
                _check_categories(value, self._categories[name], called)
            _check_rows(value, name, main, what)

    @functools.cached_property
    def _rescales(self) -> bool:
        """Whether the encoder itself may bring its input to another scale.

        Keras' layers of weights and of shapes do not; `x / 255`, a layer of the user's own may.
        """
        network = self.wiring.encoder.network
        layers = network._flatten_layers(include_self=False)
        models = [network, *(layer for layer in layers if isinstance(layer, keras.Model))]
        parts = [part for model in models for part in getattr(model, "operations", model.layers)]
        return any(
            isinstance(p, _RESCALING) or not isinstance(p, keras.layers.Layer) for p in parts
        )

    @functools.cached_property
    def _categories(self) -> dict[str, int]:
        """How many there are for each condition that is a number of one."""
        encoder, decoder = self.wiring.encoder, self.wiring.decoder
        found = categories(encoder.network)
        for theirs, count in categories(decoder.network).items():
            ours = self.wiring.as_ours.get(theirs, theirs)
            found[ours] = min(count, found.get(ours, count))
        return found


def _check_shape(x: Any, shape: tuple[int | None, ...], what: str) -> None:
    received = tuple(np.shape(x))
    if len(received) != len(shape) + 1 or any(
        None not in (want, got) and want != got
        for want, got in zip(shape, received[1:], strict=True)
    ):
        expected = ", ".join(["batch", *("any" if size is None else str(size) for size in shape)])
        raise InputError(f"Expected {what} of shape ({expected}).", received)


def _check(
    x: Any, shape: tuple[int | None, ...], support: Any, what: str, hint: str = _DIVIDE
) -> Any:
    """Checks shape and values, and returns the lowest and the highest of these, where known."""
    if not tf.is_tensor(x) and not sparse.is_sparse(x):
        x = np.asarray(x)
    _check_shape(x, shape, what)
    received = tuple(x.shape)
    if received[0] == 0:
        raise InputError(f"Expected at least one example in {what}.", f"shape {received}")
    if _is_symbolic(x):
        return None
    values = sparse.numbers(x)
    if values.dtype.kind not in "biuf":
        raise InputError(f"Expected numbers in {what}.", f"dtype {values.dtype}")
    low, high = values.min(), values.max()  # NaN spreads through both
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


def _check_words(x: Any, shape: tuple[int | None, ...], what: str) -> None:
    if not tf.is_tensor(x):
        x = np.asarray(x)
    _check_shape(x, shape, what)
    words = x.dtype == tf.string if tf.is_tensor(x) else _are_words(x)
    if not words:
        raise InputError(f"Expected strings in {what}.", f"dtype {getattr(x.dtype, 'name', x)}")


def _are_words(x: np.ndarray) -> bool:
    held = x.dtype.kind == "O" and all(isinstance(word, (str, bytes)) for word in x.flat)
    return held or x.dtype.kind in "US"


def _check_rows(value: Any, name: str, main: Any, what: str) -> None:
    counts = {np.shape(main)[0], np.shape(value)[0]} - {None}
    if len(counts) > 1:
        both = outline({what: main, name: value})
        raise InputError(f"Expected as many rows of {name} as of {what}.", both)


def _check_weights(weights: Any, main: Any, what: str) -> None:
    name = f"the sample weights of {what}"
    if not tf.is_tensor(weights):
        weights = np.asarray(weights)
    shape = tuple(weights.shape)
    if shape[1:] not in ((), (1,)) or not shape:
        raise InputError(f"Expected one weight for each example in {name}, shape (n,).", shape)
    _check(weights, shape[1:], None, name)
    _check_rows(weights, name, main, what)


def _check_not_pixels(x: Any, found: Any, what: str) -> None:
    low, high = found or (0, 0)
    values = sparse.numbers(x) if found else np.zeros(1)
    if low >= 0 and 1 < high <= 255 and (values == np.round(values)).all():
        raise InputError(
            f"Expected {what} on the scale of the likelihood's support, 0 to 1. "
            "Divide pixels by 255 first.",
            f"values from {low:g} to {high:g}",
        )


def _check_categories(value: Any, count: int, what: str) -> None:
    if _is_symbolic(value):
        return
    values = sparse.numbers(value)
    if values.min() < 0 or values.max() >= count or (values != np.round(values)).any():
        raise InputError(
            f"Expected integers from 0 to {count - 1} in {what}.",
            f"{values.dtype} from {values.min():g} to {values.max():g}",
        )


def _is_symbolic(x: Any) -> bool:
    """Whether it is a tensor in a graph, where there are no values to look at."""
    values = x.values if isinstance(x, tf.SparseTensor) else x
    return tf.is_tensor(values) and not hasattr(values, "numpy")
