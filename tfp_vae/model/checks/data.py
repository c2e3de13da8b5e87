"""Checks of data, before any work: one clear error, of what was expected and what was given."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.errors import InputError
from tfp_vae.model.checks.networks import rescales
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
from tfp_vae.model.named_data import NamedData
from tfp_vae.networks import categories
from tfp_vae.steps.sources import first_batch, with_targets


class DataChecks:
    """Checks that data are what the networks take and the likelihoods are over.

    Args:
      wiring: what the networks take.
      meet_unknown: is told where observed variables have NaN, see `check_values`.

    Attributes:
      values_in_batch: how many numbers the batch had that `data` looked at last; 0 for arrays.
    """

    def __init__(self, wiring: NamedData, meet_unknown: Callable[[str], None]) -> None:
        self.wiring, self.meet_unknown = wiring, meet_unknown
        self.values_in_batch = 0
        self._likelihoods = wiring.variables.likelihoods
        self._main = self._likelihoods[wiring.main]
        # Of pixels that are probabilities, or 0 and 1.
        self._ends_at_1 = (_support(self._main) or (0, 0))[1] == 1

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
            self._target(target, self._main, self._main.shape, f"the targets of {what}")
            check_rows(target, f"the targets of {what}", main, what)
        if weights is not None:
            check_weights(weights, main, what)
        return x

    def batch(self, data: Any, what: str = "x", is_target: bool = True) -> None:
        """Checks a batch of at least one x, with its conditions.

        The support of a likelihood binds x only where the likelihood is over x itself: an encoder
        takes any numbers, such as images with noise. Whole numbers beyond 1 are refused there too,
        if the support ends at 1: they are pixels that nobody divided by 255.
        """
        x, conditions = self.wiring.split(data)
        shape, hint = self.wiring.shape, DIVIDE
        if is_target:
            if self._ends_at_1 and self._rescales:
                hint = (
                    " The encoder rescales x: give what the likelihood is over too, (x, x / 255)."
                )
            self._target(x, self._main, shape, what, hint)
            check_shape(x, self._main.shape, f"{what}, which the likelihood is over,")
        else:
            found = check_values(x, shape, None, what, hint, self.meet_unknown)
            if self._ends_at_1 and not self._rescales:
                check_not_pixels(x, found, what)
        self.conditions(conditions, x, what, is_target)

    def shape(self, data: Any) -> None:
        """Raises `InputError` unless x is of the shape that the networks take."""
        x = self.wiring.split(data)[0]
        if not tf.is_tensor(x) or x.shape.rank is not None:
            check_shape(x, self.wiring.shape, self.wiring.main)

    def latents(self, given: Mapping[str, Any]) -> None:
        """Raises `InputError` unless these are values of all latent variables, row by row."""
        for name, z in given.items():
            if not tf.is_tensor(z) or z.shape.rank is not None:
                check_shape(z, tuple(self.wiring.latents[name].shape[1:]), name)
        (first, main), *others = given.items()
        for name, z in others:
            check_rows(z, name, main, first)

    def conditions(
        self, given: Mapping[str, Any], main: Any, what: str, is_target: bool = True
    ) -> None:
        """Raises `InputError` unless values go with `main`, which is x or z, row by row."""
        for name, value in given.items():
            port = self.wiring.conditions[name]
            shape, called = tuple(port.shape[1:]), f"{name} of {what}"
            if name in self.wiring.optional:
                check_known(value, shape, called)
            elif port.dtype == "string":
                check_words(value, shape, called)
            elif is_target and name in self._likelihoods:
                self._target(value, self._likelihoods[name], shape, called)
            else:
                meet = self.meet_unknown if name in self._likelihoods else None
                check_values(value, shape, None, called, meet_unknown=meet)
            if name in self._categories and name not in self.wiring.optional:
                check_categories(value, self._categories[name], called)
            check_rows(value, name, main, what)

    def _target(
        self, x: Any, likelihood: Any, shape: tuple[int | None, ...], what: str, hint: str = DIVIDE
    ) -> None:
        """Raises `InputError` unless the likelihood is over such values."""
        found = check_values(x, shape, _support(likelihood), what, hint, self.meet_unknown)
        if getattr(likelihood.layer, "is_of_integers", False) and found is not None:
            values = sparse.numbers(x)
            values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
            fractions = values[values != np.round(values)]
            if fractions.size:
                raise InputError(
                    f"Expected whole numbers in {what}: the likelihood is over counts or classes.",
                    f"{fractions.size} of {values.size} with a fraction, such as {fractions[0]:g}",
                )

    @functools.cached_property
    def _rescales(self) -> bool:
        """Whether the networks that x goes into first may bring it to another scale."""
        variables = self.wiring.variables
        first = [q.network for q in variables.posteriors.values() if self.wiring.main in q.inputs]
        if not first and variables.features is not None:
            first = [variables.features.network]
        return any(map(rescales, first))

    @functools.cached_property
    def _categories(self) -> dict[str, int]:
        """How many there are for each condition that is a number of one."""
        found: dict[str, int] = {}
        variables = self.wiring.variables
        networks: list[Any] = [
            (one.network, one.names) for one in variables.conditionals if one.network is not None
        ]
        if variables.features is not None:
            networks.append((variables.features.network, {}))
        for network, names in networks:
            for theirs, count in categories(network).items():
                ours = names.get(theirs, theirs)
                found[ours] = min(count, found.get(ours, count))
        return found


def _support(likelihood: Any) -> tuple[float, float] | None:
    """Returns the lowest and highest value of a likelihood; None where any number will do."""
    return getattr(likelihood.layer, "support", None)
