"""Losses of a layer's weights: counted once, however often the layer is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Term(NamedTuple):
    """One loss.

    Attributes:
      anew: makes the loss where no call has left a usable value.
      values: the calls' values, each with its graph (None: eager).
    """

    anew: Callable[[], tf.Tensor]
    values: list[tuple[Any, tf.Tensor]]


class Terms(dict[str, Term]):
    """The losses by name, since Keras last cleared the losses."""


class WeightLosses:
    """A layer with random weights: `add_weight_loss` in the place of `add_loss`.

    One pass through a model may call a layer several times: a shared layer, one within
    `TimeDistributed`, or the cell of an RNN. The loss of the weights does not grow with the calls.
    Calls with different draws give the mean of their values; a value within a loop, invisible
    outside, is computed anew when Keras asks for the losses.

    Example:
      >>> class Costs(WeightLosses, keras.layers.Layer):
      ...     def call(self, x):
      ...         self.add_weight_loss("one", lambda: tf.ones([]), lambda: tf.ones([]))
      ...         return x
      >>> layer = Costs()
      >>> model = keras.Sequential([layer, layer])
      >>> _ = model(tf.zeros([1, 1]))
      >>> [float(loss) for loss in model.losses]
      [1.0]
    """

    def add_weight_loss(
        self,
        name: str,
        value: Callable[[], tf.Tensor],
        anew: Callable[[], tf.Tensor],
        varies: bool = False,
    ) -> None:
        """Adds a loss at each call, and counts it once.

        Args:
          name: tells the losses of this layer apart.
          value: gives the loss at what this call has drawn.
          anew: gives the loss at any time.
          varies: whether each call has a value of its own.
        """
        with keras.StatelessScope() as scope:
            outer = scope.original_scope
        if outer is not None and not outer.collect_losses:
            return  # as Keras does in `add_loss`
        term = self._terms.setdefault(name, Term(anew, []))
        if varies or not _usable(term):
            term.values.append((_graph(), value()))

    @property
    def _terms(self) -> Terms:
        # In an object of its own: Keras and TensorFlow would track a dict.
        if "_weight_losses" not in vars(self):
            vars(self)["_weight_losses"] = _Hidden(Terms())
        return vars(self)["_weight_losses"].terms

    def _get_own_losses(self) -> list[tf.Tensor]:
        own = [_mean(_usable(term) or [self._without_draws(term)]) for term in self._terms.values()]
        return own + super()._get_own_losses()  # type: ignore[misc]

    def _without_draws(self, term: Term) -> tf.Tensor:
        if not tf.executing_eagerly():
            return term.anew()
        # A look at the losses after a function has run leaves the random state alone.
        layers = self._flatten_layers()  # type: ignore[attr-defined]
        states = [generator.state for layer in layers for generator in layer._seed_generators]
        before = [tf.identity(state.value) for state in states]
        value = term.anew()
        for state, old in zip(states, before, strict=True):
            state.assign(old)
        return value

    def _clear_losses(self) -> None:
        super()._clear_losses()  # type: ignore[misc]
        self._terms.clear()


class _Hidden:
    def __init__(self, terms: Terms) -> None:
        self.terms = terms


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
    return values[0] if len(values) == 1 else tf.add_n(values) / len(values)


def _usable(term: Term) -> list[tf.Tensor]:
    here = _graph()
    return [value for graph, value in term.values if graph is here]


def _graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
