"""Checks of data, before any work: one clear error, of what was expected and what was given."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.errors import InputError
from tfp_vae.model.checks.values import (
    DIVIDE,
    check_categories,
    check_known,
    check_not_pixels,
    check_rows,
    check_shape,
    check_values,
    check_weights,
    check_words,
)
from tfp_vae.networks import categories
from tfp_vae.steps.sources import first_batch, with_targets

_RESCALING = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Lambda,
)


@dataclasses.dataclass
class DataChecks:
    """What a model expects of its data, and the checks that these are it.

    Attributes:
      wiring: what the networks take, a `Wiring` or `NamedData`.
      target_shape: of one thing that the likelihood is over.
      support: (low, high) of the likelihood, or None where any number will do.
      of_integers: whether the likelihood is over whole numbers, such as counts.
      supports: of further observed variables, by name.
      values_in_batch: how many numbers the batch had that `data` looked at last; 0 for arrays.
    """

    wiring: Any
    target_shape: tuple[int | None, ...]
    support: tuple[float, float] | None
    of_integers: bool = False
    values_in_batch: int = 0
    supports: dict[str, Any] = dataclasses.field(default_factory=dict)

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
            x = with_targets(x, (inputs, target, weights), self.wiring.own_targets)
        else:
            target, weights = y, sample_weight
        self.batch(inputs, what, is_target=target is None)
        main = self.wiring.split(inputs)[0]
        if isinstance(target, Mapping):
            target = self.wiring.targets(inputs, target)
            others = {n: value for n, value in target.items() if n != self.wiring.main}
            self.conditions(others, main, f"the targets of {what}")
            target = target[self.wiring.main]
        if target is not None:
            self._check_target(target, self.target_shape, f"the targets of {what}")
            check_rows(target, f"the targets of {what}", main, what)
        if weights is not None:
            check_weights(weights, main, what)
        return x

    def batch(self, data: Any, what: str = "x", is_target: bool = True) -> None:
        """Checks a batch of at least one x, with its conditions.

        The support of the likelihood binds x only where x itself is what the likelihood is over: an
        encoder takes any numbers, such as images with noise. Whole numbers beyond 1 are refused
        there too, if the support ends at 1: they are pixels that nobody divided by 255.
        """
        x, conditions = self.wiring.split(data)
        shape = self.wiring.shape
        hint = DIVIDE
        if is_target and self.support is not None and self.support[1] == 1 and self._rescales:
            hint = " The encoder rescales x: give what the likelihood is over too, (x, x / 255)."
        if is_target:
            found = self._check_target(x, shape, what, hint)
        else:
            found = check_values(x, shape, None, what, hint)
        if is_target:
            check_shape(x, self.target_shape, f"{what}, which the likelihood is over,")
        elif self.support is not None and self.support[1] == 1 and not self._rescales:
            check_not_pixels(x, found, what)
        self.conditions(conditions, x, what)

    def shape(self, data: Any) -> None:
        """Raises `InputError` unless x is of the shape that the encoder takes."""
        x = self.wiring.split(data)[0]
        if not tf.is_tensor(x) or x.shape.rank is not None:
            check_shape(x, self.wiring.shape, "x")

    def latents(self, z: Any) -> None:
        """Raises `InputError` unless z is a batch of what the decoder takes."""
        if not tf.is_tensor(z) or z.shape.rank is not None:
            check_shape(z, tuple(self.wiring.decoder.main.shape[1:]), "z")

    def _check_target(
        self, x: Any, shape: tuple[int | None, ...], what: str, hint: str = DIVIDE
    ) -> Any:
        found = check_values(x, shape, self.support, what, hint)
        if self.of_integers and found is not None:
            values = sparse.numbers(x)
            fractions = values[values != np.round(values)]
            if fractions.size:
                raise InputError(
                    f"Expected whole numbers in {what}: the likelihood is over counts or classes.",
                    f"{fractions.size} of {values.size} with a fraction, such as {fractions[0]:g}",
                )
        return found

    def conditions(self, given: dict[str, Any], main: Any, what: str) -> None:
        """Raises `InputError` unless the conditions go with `main`, which is x or z, row by row."""
        for name, value in given.items():
            port = self.wiring.conditions[name]
            shape, called = tuple(port.shape[1:]), f"{name} of {what}"
            if name in self.wiring.optional:
                check_known(value, shape, called)
            elif port.dtype == "string":
                check_words(value, shape, called)
            else:
                check_values(value, shape, self.supports.get(name), called)
            if name in self._categories and name not in self.wiring.optional:
                check_categories(value, self._categories[name], called)
            check_rows(value, name, main, what)

    @functools.cached_property
    def _rescales(self) -> bool:
        """Whether the encoder itself may bring its input to another scale.

        Keras' layers of weights and of shapes do not; `x / 255`, a layer of the user's own may.
        """
        network, _ = self.wiring.networks[0]
        layers = network._flatten_layers(include_self=False)
        models = [network, *(layer for layer in layers if isinstance(layer, keras.Model))]
        parts = [part for model in models for part in getattr(model, "operations", model.layers)]
        return any(
            isinstance(p, _RESCALING) or not isinstance(p, keras.layers.Layer) for p in parts
        )

    @functools.cached_property
    def _categories(self) -> dict[str, int]:
        """How many there are for each condition that is a number of one."""
        found: dict[str, int] = {}
        for network, names in self.wiring.networks:
            for theirs, count in categories(network).items():
                ours = names.get(theirs, theirs)
                found[ours] = min(count, found.get(ours, count))
        return found
