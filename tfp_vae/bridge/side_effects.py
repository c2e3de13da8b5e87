"""Further passes of a step through a network, without the side effects of the first one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


@contextlib.contextmanager
def further_pass(
    network: keras.layers.Layer, seeds: Sequence[tuple[Any, Any]] | None = None
) -> Iterator[None]:
    """Lets the network run once more within a `with` block, and then restores its losses.

    Moving averages, counts of steps and codebooks stay as they are too. Random layers go on with
    their seeds, as in any pass; with `seeds`, which `seeds_of` gave before another pass, they drop
    out the same units as in that pass.
    """
    layers = network._flatten_layers()
    kept = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in layers]
    try:
        # Keras keeps what is assigned to variables to such a scope, and drops the losses.
        with keras.StatelessScope(initialize_variables=False) as scope:
            if scope.original_scope is not None:
                scope.state_mapping.update(scope.original_scope.state_mapping)
            for variable, value in seeds or ():
                scope.add_update((variable, value))
            yield
    finally:
        for layer, losses, ids in kept:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)
    for layer in layers if seeds is None else ():
        for generator in layer._seed_generators:
            state = scope.get_current_value(generator.state)
            if state is not None:
                generator.state.assign(state)


def seeds_of(network: keras.layers.Layer) -> list[tuple[Any, Any]]:
    """Returns the seeds of a network's random layers, each with its value now."""
    generators = [g for layer in network._flatten_layers() for g in layer._seed_generators]
    return [(g.state, tf.identity(tf.convert_to_tensor(g.state))) for g in generators]


def adds_losses(layers: Any, but: Any = ()) -> bool:
    """Tells whether one of the layers, without those in `but`, has added a loss in its pass.

    The losses of regularized weights do not count.
    """
    left_out = {id(layer) for layer in but}
    return any(layer._get_own_losses() for layer in layers if id(layer) not in left_out)
