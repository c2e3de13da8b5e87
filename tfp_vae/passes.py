"""What a step's own pass through a network leaves behind, and a further pass must not touch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def further_pass(network: keras.layers.Layer) -> Iterator[None]:
    """Within it the network runs once more: its losses stay those of the pass before.

    Keras clears what layers have added to the losses whenever a network is called; here the losses
    of the pass before come back, and those of this one are none of the step's. Moving averages,
    counts of steps and codebooks stay as they are too: they are of the data that the step is about.
    Random layers go on with their seeds, as in any pass.

    Example:
      >>> layer = keras.layers.Dense(2, activity_regularizer="l2")
      >>> _ = layer(tf.ones([1, 2]))
      >>> (before,) = layer.losses
      >>> with further_pass(layer):
      ...     _ = layer(tf.zeros([1, 2]))
      >>> layer.losses[0] is before
      True
    """
    layers = network._flatten_layers()
    kept = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        # Keras keeps what is assigned to variables to such a scope, and drops the losses.
        with keras.StatelessScope(initialize_variables=False) as scope:
            if scope.original_scope is not None:
                scope.state_mapping.update(scope.original_scope.state_mapping)
            yield
    finally:
        for layer, losses, ids in kept:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)
    for layer in layers:
        for generator in layer._seed_generators:
            state = scope.get_current_value(generator.state)
            if state is not None:
                generator.state.assign(state)


def adds_losses(layers: Any, but: Any = ()) -> bool:
    """Whether one of the layers, of those that `but` has not, has added to the losses in its pass.

    What Keras adds for regularized weights is none of it: it does not depend on the pass.
    """
    left_out = {id(layer) for layer in but}
    return any(layer._get_own_losses() for layer in layers if id(layer) not in left_out)
