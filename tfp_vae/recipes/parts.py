"""Networks of named values for recipes of several variables, in the body that a setting names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfp_vae import layers, networks
from tfp_vae.recipes.base import Setting


def trunk(s: Setting) -> list[keras.layers.Layer]:
    """Returns the layers from x to a hidden vector."""
    first = s.first_layer()
    around = layers.IndependentNormal(1)
    how = (s.body, s.widths, s.activation, None, first, s.unknown)
    return networks.encoder(s.shape, around, *how).layers[:-2]


def ending(s: Setting, size: int, likelihood: Any = None) -> list[keras.layers.Layer]:
    """Returns the layers from a vector of a size to p(x | ...)."""
    last = s.last_layer(likelihood)
    return networks.decoder(size, last, s.body, s.widths, s.activation).layers


def hidden(s: Setting) -> keras.layers.Layer:
    """Returns a dense layer, as wide as the innermost of the setting's."""
    return keras.layers.Dense(s.widths[-1] if s.widths else 64, activation=s.activation)


def vectors(**sizes: int) -> dict[str, keras.KerasTensor]:
    """Returns inputs by name, vectors of these sizes."""
    return {name: keras.Input((size,), name=name) for name, size in sizes.items()}


def data(s: Setting) -> dict[str, keras.KerasTensor]:
    """Returns the inputs of x, and of the label where the model is conditioned on labels."""
    return {"x": keras.Input(s.shape, name="x"), **label(s)}


def label(s: Setting) -> dict[str, keras.KerasTensor]:
    """Returns the input of the label, where the model is conditioned on labels."""
    return {} if s.num_classes is None else {"label": keras.Input((), dtype="int32", name="label")}


def shown(s: Setting, given: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Returns values as one vector: x through a trunk, a label as a one-hot vector."""
    found = []
    for name, tensor in given.items():
        if name == "x":
            tensor = through(trunk(s), tensor)
        elif name == "label":
            tensor = keras.layers.CategoryEncoding(s.num_classes, output_mode="one_hot")(tensor)
        found.append(tensor)
    return keras.layers.Concatenate()(found) if len(found) > 1 else found[0]


def through(chain: Sequence[keras.layers.Layer], value: keras.KerasTensor) -> keras.KerasTensor:
    """Returns what layers make of a value, one after the other."""
    for layer in chain:
        value = layer(value)
    return value


def conditional(s: Setting, given: Mapping[str, keras.KerasTensor], layer: Any) -> keras.Model:
    """Returns the network of a distribution given some values: hidden layers, then its layer."""
    h = through([hidden(s), hidden(s)], shown(s, given))
    return keras.Model(dict(given), layer(keras.layers.Dense(layer.num_parameters)(h)))


def linear(s: Setting, layer: Any, **sizes: int) -> keras.Model:
    """Returns the network from vectors to a distribution whose parameters are linear in these."""
    given = vectors(**sizes)
    return keras.Model(given, layer(keras.layers.Dense(layer.num_parameters)(shown(s, given))))


def likelihood(s: Setting, made: Any = None, **sizes: int) -> keras.Model:
    """Returns the network of p(x | latent vectors, label)."""
    given = {**vectors(**sizes), **label(s)}
    size = sum(sizes.values()) + (s.num_classes or 0)
    return keras.Model(given, through(ending(s, size, made), shown(s, given)))
