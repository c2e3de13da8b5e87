"""The inputs of networks, and arrays of data for these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.bridge.masks import mask_of


class Ports:
    """The inputs of a network: the one that is modelled, and the conditions beside it.

    Args:
      network: a functional or Sequential model.
      main: the name of the input that is modelled, "x" or "z"; where none has it, the first one is.

    Attributes:
      network: the network.
      structure: the network's inputs as it takes them.
      tensors: all inputs in order, each a `keras.KerasTensor`.
      main: the one that is modelled.
      conditions: the others, by name, in order.
    """

    def __init__(self, network: keras.Model, main: str = "x") -> None:
        self.network = network
        inputs = getattr(network, "_inputs_struct", None)
        self.structure = network.inputs[0] if inputs is None else inputs
        # A dict's own order, where Keras flattens it by its keys.
        nested = isinstance(inputs, dict) and any(
            isinstance(v, (dict, list)) for v in inputs.values()
        )
        self.tensors: list[keras.KerasTensor] = (
            list(inputs.values()) if isinstance(inputs, dict) and not nested else network.inputs
        )
        self.main = next((t for t in self.tensors if t.name == main), self.tensors[0])
        self.conditions = {t.name: t for t in self.tensors if t is not self.main}

    def pack(self, values: Mapping[str, Any]) -> Any:
        """Returns what the network is called with, from values by the names of its inputs."""
        return self.arranged({t.name: _tensor(values[t.name], t) for t in self.tensors})

    def arranged(self, values: Mapping[str, Any]) -> Any:
        """Returns the values in the structure of the network's inputs."""
        return keras.tree.map_structure(lambda tensor: values[tensor.name], self.structure)


def as_array(data: Any) -> Any:
    """Returns the data, lists of numbers as an array."""
    listed = isinstance(data, (list, tuple)) and are_scalars(keras.tree.flatten(data))
    return np.asarray(data) if listed else data


def are_scalars(values: Any) -> bool:
    """Tells whether these are numbers and words, at least one."""
    return len(values) > 0 and all(isinstance(v, (int, float, str, bytes)) for v in values)


def _tensor(value: Any, port: keras.KerasTensor) -> tf.Tensor:
    """Returns a dense tensor; batches of sparse ones do not say how many columns they have."""
    made = tf.convert_to_tensor(sparse.dense(value))
    if made.shape[1:].is_fully_defined():
        return made
    found = tf.ensure_shape(made, port.shape)
    if mask_of(made) is not None:
        found._keras_mask = mask_of(made)
    return found


def tile(value: tf.Tensor, repeat: Any) -> tf.Tensor:
    """Returns the batch `repeat` times, one after the other."""
    ones = tf.ones([tf.rank(value) - 1], tf.int32)
    return tf.tile(value, tf.concat([[repeat], ones], axis=0))


def rows(data: Any, start: int, count: int) -> Any:
    """Returns some rows of data in any structure, dense."""
    return keras.tree.map_structure(lambda value: sparse.rows(value, start, count), data)


def outline(data: Any) -> str:
    """Returns the shapes of some data, in their structure."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{key}: {outline(value)}" for key, value in data.items()) + "}"
    if isinstance(data, (list, tuple)):
        return "[" + ", ".join(outline(value) for value in data) + "]"
    return f"shape {tuple(data.shape)}" if hasattr(data, "shape") else repr(data)
