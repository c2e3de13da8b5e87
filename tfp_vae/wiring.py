"""Which of the data goes into which network: x, z, and what both are conditioned on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.bridge.masks import mask_of
from tfp_vae.errors import InputError


class Ports:
    """The inputs of a network: the one that is modelled, and the conditions beside it.

    Args:
      network: a functional or Sequential model.
      main: the name of the input that is modelled, "x" or "z"; where none has it, the first one is.

    Attributes:
      tensors: all inputs in order, each a `keras.KerasTensor`.
      main: the one that is modelled.
      conditions: the others, by name, in order.
      structure: the network's inputs as it takes them.
      network: the network.
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

    def pack_all(self, values: dict[str, Any]) -> Any:
        """What the network is called with, from values by the names of its inputs."""
        given = {t.name: _tensor(values[t.name], t) for t in self.tensors}
        return keras.tree.map_structure(lambda tensor: given[tensor.name], self.structure)

    def pack(self, main: Any, conditions: dict[str, Any]) -> Any:
        """What the network is called with."""
        given = {name: _tensor(v, self.conditions.get(name)) for name, v in conditions.items()}
        return self.arranged(_tensor(main, self.main), given)

    def arranged(self, main: Any, conditions: dict[str, Any]) -> Any:
        """The parts in the structure of the network's inputs."""

        def given(tensor: keras.KerasTensor) -> Any:
            return main if tensor is self.main else conditions[tensor.name]

        return keras.tree.map_structure(given, self.structure)


class Wiring:
    """x and the conditions of an encoder and a decoder, found in what a user gives.

    Data are x alone where there are no conditions, else `[x, condition, ...]` in order, a dict by
    the names of the inputs, or whatever structure the encoder takes.

    Args:
      encoder: a model of x (the input of that name, or the first), with or without conditions.
      decoder: a model of z, likewise. Its conditions are those of the encoder of the same names; if
        no name is the same and all shapes are, those in the same places.
      prior: a network of conditions, or None.

    Attributes:
      conditions: all of them by name, the encoder's first, each a `keras.KerasTensor`.
      as_ours: those of the decoder: from its names to the names here.
      given_names: the names of those that the decoder takes, in its order.
      drawn_given: of those that a draw takes: the decoder's, then the prior's.

    Raises:
      InputError: a condition of one name has two shapes.
    """

    def __init__(
        self, encoder: keras.Model, decoder: keras.Model, prior: keras.Model | None = None
    ) -> None:
        self.encoder, self.decoder = Ports(encoder, "x"), Ports(decoder, "z")
        self.prior, self.optional = prior, dict[str, Any]()
        ours, theirs = self.encoder.conditions, self.decoder.conditions
        for name in set(ours) & set(theirs):
            if ours[name].shape != theirs[name].shape:
                raise InputError(
                    f"Expected the condition {name} to be of one shape in encoder and decoder.",
                    f"{ours[name].shape} and {theirs[name].shape}",
                )
        shapes = [[tensor.shape for tensor in each.values()] for each in (ours, theirs)]
        in_places = shapes[0] == shapes[1] and not set(ours) & set(theirs)
        self.as_ours = dict(zip(theirs, ours if in_places else theirs, strict=True))
        self.given_names = list(self.as_ours.values())
        self.conditions = dict(ours) if in_places else {**ours, **theirs, **ours}
        of_prior = {} if prior is None else {t.name: t for t in Ports(prior).tensors}
        self.conditions.update({n: t for n, t in of_prior.items() if n not in self.conditions})
        self.drawn_given = [*self.given_names, *(n for n in of_prior if n not in self.given_names)]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one x."""
        return tuple(self.encoder.main.shape[1:])

    @property
    def networks(self) -> list[tuple[keras.Model, dict[str, str]]]:
        """The networks that data go into, with the data's names of their inputs."""
        found = [(self.encoder.network, {}), (self.decoder.network, self.as_ours)]
        return found if self.prior is None else [*found, (self.prior, {})]

    def split(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """x and the conditions by name.

        Raises:
          InputError: the data are not x and the conditions that the networks take.
        """
        names = [self.encoder.main.name, *self.conditions]
        if sparse.is_sparse(data) and not self.conditions:  # some of SciPy's are dicts
            return data, {}
        if not self.conditions and not isinstance(data, dict):
            alone = isinstance(data, (list, tuple)) and [hasattr(v, "shape") for v in data] == [
                True
            ]
            return (data[0] if alone else as_array(data)), {}
        if isinstance(data, dict) and set(names[1:]) <= set(data) and {"x", names[0]} & set(data):
            return data.get(names[0], data.get("x")), {name: data[name] for name in names[1:]}
        if isinstance(data, (list, tuple)) and len(data) == len(names):
            return data[0], dict(zip(names[1:], data[1:], strict=True))
        try:
            keras.tree.assert_same_structure(self.encoder.structure, data)
            leaves = (keras.tree.flatten(part) for part in (self.encoder.structure, data))
            given = {tensor.name: value for tensor, value in zip(*leaves, strict=True)}
            return given[names[0]], {name: given[name] for name in names[1:]}
        except (ValueError, TypeError, KeyError):  # another structure, or without some condition
            raise InputError(
                f"Expected the networks' {len(names)} inputs, [{', '.join(['x', *names[1:]])}], or "
                "a dict of them.",
                outline(data),
            ) from None

    main = "x"

    def by_name(self, data: Any) -> dict[str, Any]:
        """x and the conditions, all by name."""
        x, conditions = self.split(data)
        return {"x": x, **conditions}

    def own_targets(self, data: Any) -> Any:
        """x, which is its own target."""
        return self.split(data)[0]

    def targets(self, data: Any, y: Any) -> dict[str, Any]:
        """The values of x by name: of the data, or y.

        Raises:
          InputError: y is a dict of other names.
        """
        if isinstance(y, dict) and set(y) != {"x"}:
            raise InputError("Expected targets to be an array, or a dict of x.", outline(y))
        if y is None:
            return {"x": self.own_targets(data)}
        return dict(y) if isinstance(y, dict) else {"x": y}

    def given(self, conditions: Any, draws: bool = False) -> dict[str, Any]:
        """The decoder's conditions by name: from a dict, a list in order, or the one that there is.

        `draws`: the prior's too.

        Raises:
          InputError: they are not what the decoder takes.
        """
        names = self.drawn_given if draws else self.given_names
        if len(names) == 1 and isinstance(conditions, (list, tuple)) and _are_scalars(conditions):
            conditions = [conditions]  # the one that there is, as a list
        if isinstance(conditions, dict) and set(names) <= set(conditions):
            return {name: conditions[name] for name in names}
        if not isinstance(conditions, (dict, list, tuple)):
            conditions = [] if conditions is None else [conditions]
        if len(conditions) != len(names) or isinstance(conditions, dict):
            raise InputError(
                f"Expected the decoder's conditions, [{', '.join(names)}], or a dict of them.",
                outline(conditions),
            )
        return dict(zip(names, conditions, strict=True))

    def encoded(self, x: Any, conditions: dict[str, Any]) -> Any:
        """What the encoder is called with."""
        return self.encoder.pack(x, conditions)

    def decoded(self, z: Any, conditions: dict[str, Any]) -> Any:
        """What the decoder is called with."""
        own = {name: conditions[ours] for name, ours in self.as_ours.items()}
        return self.decoder.pack(z, own)


def as_array(data: Any) -> Any:
    """The data, if they are lists of numbers as an array."""
    listed = isinstance(data, (list, tuple)) and _are_scalars(keras.tree.flatten(data))
    return np.asarray(data) if listed else data


def _are_scalars(values: Any) -> bool:
    return len(values) > 0 and all(isinstance(v, (int, float, str, bytes)) for v in values)


def _tensor(value: Any, port: keras.KerasTensor | None) -> tf.Tensor:
    """A dense tensor; batches of sparse ones do not say how many columns they have."""
    made = tf.convert_to_tensor(sparse.dense(value))
    if port is None or made.shape[1:].is_fully_defined():
        return made
    found = tf.ensure_shape(made, port.shape)
    if mask_of(made) is not None:
        found._keras_mask = mask_of(made)
    return found


def tile(value: tf.Tensor, repeat: Any) -> tf.Tensor:
    """The batch `repeat` times, one after the other."""
    ones = tf.ones([tf.rank(value) - 1], tf.int32)
    return tf.tile(value, tf.concat([[repeat], ones], axis=0))


def rows(data: Any, start: int, count: int) -> Any:
    """Some rows of data in any structure, dense."""
    return keras.tree.map_structure(lambda value: sparse.rows(value, start, count), data)


def outline(data: Any) -> str:
    """The shapes of some data, in their structure."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{key}: {outline(value)}" for key, value in data.items()) + "}"
    if isinstance(data, (list, tuple)):
        return "[" + ", ".join(outline(value) for value in data) + "]"
    return f"shape {tuple(data.shape)}" if hasattr(data, "shape") else repr(data)
