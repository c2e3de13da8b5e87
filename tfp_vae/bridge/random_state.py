"""Random state of layers that is made when it is needed, and saved with the model."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge.eager_variables import made_outside, stateless, unlocked
from tfp_vae.bridge.replicas import of_replica

_KEPT = "_tfp_vae_seed_generators"
_ONE_AT_A_TIME = threading.RLock()


class Seeded:
    """A mixin of layers that draw: seeds for TFP, and a state that is saved, as Keras saves none.

    The state is made in `build`, or with the first seed: a layer that is made within a loss or a
    `call` can make none before.
    """

    def seed_with(self, seed: int | None) -> None:
        """Keeps `seed`, or takes one from Keras' global seed; is called in the constructor."""
        self.seed = seed = None if seed is None else int(seed)
        # As Keras' SeedGenerator does.
        self._first_seed = random.randint(1, int(1e9)) if seed is None else seed

    @property
    def seed_generator(self) -> keras.random.SeedGenerator:
        """The state, made by now."""
        self.make_state()
        return self._seed_generator

    @seed_generator.setter
    def seed_generator(self, value: keras.random.SeedGenerator) -> None:
        self._seed_generator = value

    def make_state(self) -> None:
        """Makes the state, where there is none yet."""
        if "_seed_generator" in vars(self):
            return
        make = functools.partial(keras.random.SeedGenerator, self._first_seed)
        with unlocked(self):
            if tf.executing_eagerly() or stateless():
                self._seed_generator = make()
                return
            self._seed_generator = made_outside(make)
        # The variable lives as long as the traced function, which may outlive the layer.
        graph = tf.compat.v1.get_default_graph()
        while graph is not None:
            setattr(graph, _KEPT, [*getattr(graph, _KEPT, []), self._seed_generator])
            graph = getattr(graph, "outer_graph", None)

    def next_seed(self, of_all: bool = False) -> tf.Tensor:
        """Returns a fresh seed in the form that TFP takes, also within a graph and under XLA.

        `of_all`: the same on all replicas of a strategy.
        """
        generator = self.seed_generator
        # Threads that read the state before one has changed it would get the same seed.
        with _ONE_AT_A_TIME if tf.executing_eagerly() else contextlib.nullcontext():
            seed = tf.cast(generator.next(), tf.int32)
            return seed if of_all else of_replica(seed)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)  # type: ignore[misc]
        store["seed_generator_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118  (it has no __iter__)
        state = values.pop("seed_generator_state", None)
        super().load_own_variables(values)  # type: ignore[misc]
        if state is not None:
            self.seed_generator.state.assign(state)


def pair_of(seed: int) -> tf.Tensor:
    """Returns an integer of 0 to 2**32 - 1 as the two int32 of TensorFlow's stateless seeds."""
    return tf.constant(np.array([seed, 0], np.uint32).view(np.int32))
