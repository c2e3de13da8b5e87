"""Layers that call a user's function: variables of the function are tracked, or refused."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge.eager_variables import stateless, unlocked
from tfp_vae.bridge.tracking import Held, as_keras_variable
from tfp_vae.errors import InputError


class Holding:
    """A mixin of layers that tracks the variables and layers which a function holds.

    `hold(root)` in the constructor tracks what is there by then, `settle()` in `build` what came
    later. Each call of the function is within `reading()`: at the first call a trainable variable
    that is read is tracked, and a variable that the call has made is refused, since each call would
    make a new one. Later calls cost nothing.

    A function may lead back to its own layer, or to a model that contains the layer. The layer does
    not track these, and Keras' walks through a model's layers end at the layer.
    """

    held_variables: list[keras.Variable]
    held_layers: list[keras.layers.Layer]
    _settled: frozenset[bool]

    def hold(self, *roots: Any) -> None:
        """Tracks what `roots` hold now; is called once, after the Keras layer's constructor."""
        self._roots = lambda: roots  # not an attribute: Keras would look into it
        self._settled = frozenset()
        held = Held(roots, owner=self)
        self.leads_back = held.leads_back
        self.held_variables, self.held_layers = held.variables, self._others(held.layers)

    def settle(self) -> list[keras.layers.Layer]:
        """Tracks what came after the constructor, and forgets what contains this layer by now.

        Returns:
          The models and layers that contain this layer.
        """
        held = Held(self._roots(), owner=self)
        self.leads_back = held.leads_back
        held = Held([*self._roots(), self], owner=self)
        with self._unlocked():
            for layer in [*self.held_layers]:
                if self._is_within(layer):
                    self.held_layers.remove(layer)
            known = {id(layer) for layer in self._flatten_layers()}  # type: ignore[attr-defined]
            self.held_layers.extend(
                layer for layer in self._others(held.layers) if id(layer) not in known
            )
            known = {id(variable) for variable in self.variables}  # type: ignore[attr-defined]
            self.held_variables.extend(v for v in held.variables if id(v) not in known)
        return [layer for layer in held.layers if self._is_within(layer)]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Tracks what the function reads within a `with` block around its call.

        Raises:
          InputError: the function makes a trainable variable that nothing keeps.
        """
        kind = stateless()  # Keras makes no variable of TensorFlow while it only traces
        if kind in self._settled:
            yield
            return
        made: list[tf.Variable] = []

        def creator(next_creator: Any, **kwargs: Any) -> tf.Variable:
            made.append(next_creator(**kwargs))
            return made[-1]

        with tf.GradientTape() as tape, tf.variable_creator_scope(creator):
            yield
        around = self.settle()
        known = {
            id(part)  # of a variable that a strategy mirrors, one for each replica
            for layer in [self, *around]
            for variable in layer.variables
            for part in getattr(variable._value, "values", [variable._value])
        }
        strange = [v for v in tape.watched_variables() if id(v) not in known]
        lost = [v.name for v in strange if any(v is new for new in made)]
        if lost:
            raise InputError(
                f"{self.name}: expected the variables and layers that the function uses to be "  # type: ignore[attr-defined]
                "made before it is called, once: those that it makes at each call are never "
                "trained. Make them outside of the function.",
                f"variables made within the call: {', '.join(lost)}",
            )
        with self._unlocked():
            self.held_variables.extend(_known_to_keras(variable) for variable in strange)
        self._settled |= {kind}

    def _others(self, layers: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
        return [layer for layer in layers if not self._is_within(layer)]

    def _is_within(self, layer: keras.layers.Layer) -> bool:
        return any(part is self for part in layer._flatten_layers())

    def _unlocked(self) -> contextlib.AbstractContextManager:
        return unlocked(self)

    @contextlib.contextmanager
    def _once(self) -> Iterator[bool]:
        """Yields False to a walk that has come to this layer before."""
        first = not vars(self).get("_walking", False)
        object.__setattr__(self, "_walking", True)
        try:
            yield first
        finally:
            object.__setattr__(self, "_walking", not first)

    def _clear_losses(self) -> None:
        with self._once() as first:
            if first:
                super()._clear_losses()  # type: ignore[misc]

    @property
    def trainable(self) -> bool:
        """As for any Keras layer."""
        return self._trainable  # type: ignore[attr-defined]

    @trainable.setter
    def trainable(self, value: bool) -> None:
        with self._once() as first:
            if first:
                keras.layers.Layer.trainable.fset(self, value)


def _walked(name: str) -> property:
    of_keras = getattr(keras.layers.Layer, name)

    def walked(self: Holding) -> list[Any]:
        with self._once() as first:
            return of_keras.fget(self) if first else []

    return property(walked, doc=of_keras.__doc__)


for _name in ("variables", "weights", "metrics"):
    setattr(Holding, _name, _walked(_name))


def _known_to_keras(variable: tf.Variable) -> keras.Variable:
    """Returns the `keras.Variable` around a `tf.Variable`, also one that was found nowhere."""
    for holder in gc.get_referrers(variable):
        for candidate in (holder, *(gc.get_referrers(holder) if isinstance(holder, dict) else ())):
            if isinstance(candidate, keras.Variable) and candidate._value is variable:
                return candidate
    return as_keras_variable(variable)
