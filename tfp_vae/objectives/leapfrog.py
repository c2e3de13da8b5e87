"""Steps of z along a slope, by a momentum that they keep."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import keras
import tensorflow as tf

Values: TypeAlias = dict[str, tf.Tensor]


class Space(Protocol):
    """Where z moves: how momenta are distributed, and what a step is."""

    def momentum(self, z: Values, noise: Values) -> Values:
        """Returns momenta at z, made of unit normals."""

    def energy(self, z: Values, momentum: Values) -> tf.Tensor:
        """Returns the negative log-density of momenta at z up to a constant, `[samples, batch]`."""

    def step(
        self, z: Values, momentum: Values, slope: Values, sizes: Values, slope_at: Callable
    ) -> tuple[Values, Values, Values]:
        """Returns z, momentum and slope after a step, which keeps the volume: see `leapfrog`."""


class Flat:
    """Euclidean space: momenta are unit normals."""

    def momentum(self, z: Values, noise: Values) -> Values:
        return noise

    def energy(self, z: Values, momentum: Values) -> tf.Tensor:
        """Returns `m' m / 2`."""
        each = [
            tf.reduce_sum(tf.square(m), axis=list(range(2, m.shape.rank))) / 2
            for m in momentum.values()
        ]
        return functools.reduce(tf.add, each)

    def step(self, *state: Any) -> tuple[Values, Values, Values]:
        return leapfrog(*state)


def leapfrog(
    z: Values, momentum: Values, slope: Values, sizes: Values, slope_at: Callable[[Values], Values]
) -> tuple[Values, Values, Values]:
    """Returns z, momentum and the slope of U after one step; z moves by the new momentum.

    Args:
      z: by the names of the variables.
      momentum: likewise.
      slope: U'(z).
      sizes: of the step.
      slope_at: U', of z.

    Example:
      >>> z, m, _ = leapfrog({"z": 1.0}, {"z": 0.0}, {"z": 1.0}, {"z": 0.2}, lambda z: z)
      >>> round(z["z"], 3), round(m["z"], 3)
      (0.98, -0.198)
    """
    half = {name: m - sizes[name] / 2 * slope[name] for name, m in momentum.items()}
    z = {name: value + sizes[name] * half[name] for name, value in z.items()}
    slope = slope_at(z)
    return z, {name: m - sizes[name] / 2 * slope[name] for name, m in half.items()}, slope


class LeapfrogSteps(keras.layers.Layer):
    """The learned step sizes of each latent variable, and the first inverse temperature."""

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        step_size: float,
        largest: float,
        inverse_temperature: float,
    ) -> None:
        super().__init__(name="leapfrog_steps")
        self.shapes = {name: list(shape) for name, shape in shapes.items()}
        self.largest = largest
        share = math.log(step_size / (largest - step_size))
        start = keras.initializers.Constant(share)
        self.logits = {
            name: self.add_weight(shape=tuple(shape), initializer=start, name=f"size_of_{name}")
            for name, shape in self.shapes.items()
        }
        self.of_temperature = None
        if inverse_temperature < 1:
            odds = math.log(inverse_temperature / (1 - inverse_temperature))
            self.of_temperature = self.add_weight(
                shape=(), initializer=keras.initializers.Constant(odds), name="inverse_temperature"
            )
        self.built = True

    def sizes(self, name: str) -> tf.Tensor:
        """Returns the step sizes of a variable, of the shape of one value."""
        return self.largest * tf.sigmoid(tf.convert_to_tensor(self.logits[name]))

    def inverse_roots(self, num_steps: int) -> list[Any]:
        """Returns `1 / sqrt(b_k)` for k = 0, ..., num_steps."""
        if self.of_temperature is None:
            return [1.0] * (num_steps + 1)
        first = tf.math.rsqrt(tf.sigmoid(tf.convert_to_tensor(self.of_temperature)))
        return [(1 - first) * (k / num_steps) ** 2 + first for k in range(num_steps + 1)]
