"""A network outside of training: what stands before its distribution, as one compiled function."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.bridge.masks import mask_of
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.kl_divergence import KLDivergenceAddLoss
from tfp_vae.wiring import rows

ROWS = 1000  # from which on compiling (0.2 s, once) pays


def large(inputs: Any) -> bool:
    """Tells whether it pays to compile what is done with these inputs, called by hand."""
    return tf.executing_eagerly() and sparse.count(inputs) >= ROWS


def in_parts(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields data by name, many sparse rows a part at a time: dense they may not fit in memory."""
    if not any(map(sparse.is_sparse, given.values())) or not large(given):
        yield given
        return
    data = sparse.by_row(given)
    for start in range(0, sparse.count(data), ROWS):
        yield rows(data, start, ROWS)


class Inference:
    """`network(inputs, training=False)`, for large batches without the time between its layers.

    A function of TensorFlow gives tensors, not distributions: what is compiled ends before the
    layer that makes one, from which nothing is drawn until somebody wants it. Networks that end
    otherwise are called as they are.

    Args:
      network: a functional or Sequential model.
      structure: its inputs, as it takes them.
    """

    def __init__(self, network: keras.Model, structure: Any) -> None:
        self.network = network
        self.structure = structure
        self._before: Any = None
        self._run: Any = None

    def of_batches(self, batches: Iterable[Any]) -> Any:
        """Returns what the network puts out for batches, one after the other, as for one batch."""
        node, batches = self._ending(), list(batches)
        if node is None or self._has_masks(batches):
            return self.network(_joined_up(batches), training=False)
        last, tensors = node.operation, node.arguments.keras_tensors
        if self._before is None:
            self._before = keras.Model(self.structure, tensors)
        run = functools.partial(self._before, training=False)

        def made(inputs: Any) -> Any:
            if not large(inputs):
                return run(inputs)
            if self._run is None:
                self._run = tf.function(run, autograph=False, reduce_retracing=True)
            return self._run(inputs)

        cast = functools.partial(
            last.dtype_policy.convert_input, autocast=last.autocast, dtype=last.input_dtype
        )
        found = _joined_up(made(inputs) for inputs in batches)
        values = [cast(value) for value in keras.tree.flatten(found)]
        given = {id(k): v for k, v in zip(tensors, values, strict=True)}
        args, kwargs = node.arguments.fill_in(given)
        return last.undrawn(*args, **{**kwargs, "training": False})

    def outline(self) -> Any:
        """Returns the distribution for a batch of unknown size: its shapes alone are known.

        None where the last layer is not a distribution's, fed by tensors.
        """
        node, found = self._ending(), []
        if node is None:
            return None
        tensors = node.arguments.keras_tensors

        def make(*values: tf.Tensor) -> tf.Tensor:
            given = dict(zip(map(id, tensors), values, strict=True))
            args, kwargs = node.arguments.fill_in(given)
            found.append(node.operation.undrawn(*args, **{**kwargs, "training": False}))
            return tf.constant(0)

        dtype = node.operation.input_dtype
        specs = [tf.TensorSpec(t.shape, _kept_or(dtype, t.dtype)) for t in tensors]
        tf.function(make, autograph=False).get_concrete_function(*specs)
        return found[0]

    def _has_masks(self, batches: list[Any]) -> bool:
        """Tells whether inputs have Keras' masks, or a layer makes these: a call hands masks on."""
        if any(mask_of(value) is not None for value in keras.tree.flatten(batches)):
            return True
        layers = self.network._flatten_layers()
        return any(isinstance(one, keras.layers.Masking) or _hides_0(one) for one in layers)

    def _ending(self) -> Any:
        """Returns the last layer's call; None where that is no distribution's, fed by tensors."""
        history = self.network.outputs[0]._keras_history
        last = history.operation
        if len(self.network.outputs) > 1 or not isinstance(last, DistributionLayer):
            return None
        node = last._inbound_nodes[history.node_index]
        others = (DistributionLayer, KLDivergenceAddLoss, keras.Model)
        before = (tensor._keras_history.operation for tensor in node.arguments.keras_tensors)
        return None if any(isinstance(operation, others) for operation in before) else node


def _hides_0(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Embedding) and layer.mask_zero


def _joined_up(parts: Iterable[Any]) -> Any:
    first, *others = parts
    if not others:
        return first
    return keras.tree.map_structure(lambda *each: tf.concat(each, axis=0), first, *others)


def _kept_or(dtype: Any, given: str) -> Any:
    """Returns the dtype in which Keras gives a layer a tensor: fractions are cast."""
    return dtype if tf.as_dtype(given).is_floating and dtype is not None else given
