"""Random state that is made when it is needed, and saved with the model."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge.eager_variables import made_outside, stateless
from tfp_vae.bridge.replicas import of_replica

_KEPT = "_tfp_vae_seed_generators"
_ONE_AT_A_TIME = threading.RLock()


class Seeded:
    """For a layer that draws: seeds for TFP, and a state that is saved.

    Keras does not save it: a reloaded model would go on with other draws than the saved one. The
    state is made in `build`, or where the first seed is asked for: a layer that is made within a
    loss or a `call` can make none before, and needs none where nothing is drawn.
    """

    def seed_with(self, seed: int | None) -> None:
        """Keeps `seed`; None takes one from Keras' global seed. Called in the constructor."""
        self.seed = seed = None if seed is None else int(seed)
        # As Keras' SeedGenerator takes it, and when: a global seed gives what it always gave.
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
        locked = self._tracker.locked  # type: ignore[attr-defined]
        self._tracker.unlock()  # type: ignore[attr-defined]
        make = functools.partial(keras.random.SeedGenerator, self._first_seed)
        if tf.executing_eagerly() or stateless():
            self._seed_generator = make()
        else:
            # A function of TensorFlow makes no variable of its own at each trace. This one is kept
            # for as long as the function, which may well outlive the layer.
            self._seed_generator = made_outside(make)
            graph = tf.compat.v1.get_default_graph()
            while graph is not None:
                setattr(graph, _KEPT, [*getattr(graph, _KEPT, []), self._seed_generator])
                graph = getattr(graph, "outer_graph", None)
        self._tracker.locked = locked  # type: ignore[attr-defined]

    def next_seed(self, of_all: bool = False) -> tf.Tensor:
        """A fresh seed in the form that TFP takes, also within a graph and under XLA.

        `of_all`: the same on all replicas of a strategy.
        """
        generator = self.seed_generator
        # Reading the state and moving it on are two operations: threads that draw at once would get
        # the same seed. Within a function of TensorFlow who calls it has to see to that.
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
    """An integer of 0 to 2**32 - 1 as the pair of int32 that TensorFlow's stateless draws take.

    Example:
      >>> pair_of(3).numpy().tolist()
      [3, 0]
    """
    return tf.constant(np.array([seed, 0], np.uint32).view(np.int32))
