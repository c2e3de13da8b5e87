"""Random state that is saved with the model."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Seeded:
    """For a layer with a `seed_generator`: seeds for TFP, and a state that is saved.

    Keras does not save it: a reloaded model would go on with other draws than the saved one.
    """

    seed_generator: keras.random.SeedGenerator

    def next_seed(self) -> tf.Tensor:
        """A fresh seed in the form that TFP takes, also within a graph and under XLA."""
        return of_replica(tf.cast(self.seed_generator.next(), tf.int32))

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)  # type: ignore[misc]
        store["seed_generator_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118  (it has no __iter__)
        state = values.pop("seed_generator_state", None)
        super().load_own_variables(values)  # type: ignore[misc]
        if state is not None:
            self.seed_generator.state.assign(state)


def of_replica(seed: tf.Tensor) -> tf.Tensor:
    """The seed of this replica of a `tf.distribute` strategy: replicas share the generator's state.

    Example:
      >>> of_replica(tf.constant([1, 2])).numpy().tolist()  # where there is one replica
      [1, 2]
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    return tf.random.experimental.stateless_fold_in(seed, replica.replica_id_in_sync_group)
