"""Encoders and decoders for any data: multilayer perceptrons and convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras

from tfp_vae import layers
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.marginals import unit_normal
from tfp_vae.errors import InputError
from tfp_vae.layers.base.parametric import IndependentLayer, ParametricLayer, as_shape

Body = Literal["mlp", "conv"]


@checked
def encoder(
    input_shape: Sequence[int],
    posterior: int | ParametricLayer = 16,
    body: Body = "mlp",
    widths: Sequence[int] = (400, 400),
    activation: str = "silu",
    num_classes: int | None = None,
    first: keras.layers.Layer | None = None,
    unknown: bool = False,
) -> keras.Model:
    """Returns a network from x to q(z|x), or from x and a label to q(z|x, label).

    Args:
      input_shape: (height, width, channels), or any shape for an mlp.
      posterior: the last layer; a number of latents stands for an `IndependentNormal` whose
        `KLDivergenceRegularizer` against a unit normal adds the KL term.
      body: "mlp": a dense layer for each width; "conv": a 3x3 convolution for each, with stride 2.
      widths: units, or channels.
      activation: the name of a Keras activation.
      num_classes: the number of labels; with it there is an input "label", an integer for each x.
      first: the first layer of x, such as `keras.layers.Normalization`.
      unknown: whether entries of x may be NaN, which are not known: the network sees 0 there, and
        beside x which entries are known (`layers.FillUnknown`).

    Raises:
      InputError: "conv" for data that are not images.

    Example:
      >>> encoder((28, 28, 1), 8).output_shape, encoder((5,), 8, num_classes=3).input_shape
      ((None, 8), [(None, 5), (None,)])
    """
    if not isinstance(posterior, keras.layers.Layer):
        posterior = int(posterior)
        kl = layers.KLDivergenceRegularizer(unit_normal(posterior))
        posterior = layers.IndependentNormal(posterior, activity_regularizer=kl)
    hidden: list[keras.layers.Layer]
    if body == "mlp":
        hidden = [keras.layers.Flatten(), *_dense(widths, activation)]
    else:
        _images_only(input_shape)
        conv = keras.layers.Conv2D
        hidden = [conv(n, 3, 2, padding="same", activation=activation) for n in widths]
        hidden.append(keras.layers.Flatten())
    hidden += [keras.layers.Dense(posterior.num_parameters), posterior]
    ahead = [] if first is None else [first]
    if unknown:
        ahead.append(layers.FillUnknown())
    if num_classes is None:
        return keras.Sequential([keras.Input(tuple(input_shape)), *ahead, *hidden], name="encoder")
    given, label = keras.Input(tuple(input_shape), name="x"), _label()
    x = given
    for layer in ahead:
        x = layer(x)
    shown = _one_hot(num_classes)(label)
    if body == "mlp":
        joined = [hidden.pop(0)(x), shown]
    else:  # a channel for each class
        plane = keras.layers.RepeatVector(math.prod(input_shape[:2]))(shown)
        joined = [x, keras.layers.Reshape((*input_shape[:2], num_classes))(plane)]
    return _model([given, label], [keras.layers.Concatenate(), *hidden], joined, "encoder")


@checked
def decoder(
    latent_shape: int | Sequence[int],
    likelihood: IndependentLayer,
    body: Body = "mlp",
    widths: Sequence[int] = (400, 400),
    activation: str = "silu",
    num_classes: int | None = None,
    first: keras.layers.Layer | None = None,
) -> keras.Model:
    """Returns a network from z to p(x|z), or from z and a label; `encoder`'s body in reverse.

    Args:
      latent_shape: the number of latents, or the shape of z.
      likelihood: the last layer; its event shape is the shape of x.
      body: as in `encoder`; "conv" wants an event shape (height, width, channels).
      widths: as given to `encoder`.
      activation: the name of a Keras activation.
      num_classes: as in `encoder`.
      first: a layer that z goes through first, such as `layers.SumOfLevels`.

    Example:
      >>> decoder(8, layers.IndependentBernoulli((28, 28, 1)), "conv", (16, 32)).output_shape
      (None, 28, 28, 1)
    """
    shape = as_shape(latent_shape)
    widths = tuple(reversed(widths))
    if body == "mlp":
        hidden = [*_dense(widths, activation), keras.layers.Dense(likelihood.num_parameters)]
    else:
        hidden = _upwards(likelihood, widths, activation)
    hidden.append(likelihood)
    ahead = [] if first is None else [first]
    if len(shape) > 1:
        ahead.append(keras.layers.Flatten())
    if num_classes is None:
        return keras.Sequential([keras.Input(shape), *ahead, *hidden], name="decoder")
    z, label = keras.Input(shape, name="z"), _label()
    shown = z
    for layer in ahead:
        shown = layer(shown)
    joined = [shown, _one_hot(num_classes)(label)]
    return _model([z, label], [keras.layers.Concatenate(), *hidden], joined, "decoder")


@checked
def prior(posterior: int | ParametricLayer, num_classes: int) -> keras.Model:
    """Returns a network from a label to p(z|label), with trained parameters of each label.

    Args:
      posterior: the layer that makes p; a number of latents stands for an `IndependentNormal`.
      num_classes: the number of labels.

    Source: Sohn et al., Learning structured output representation using deep conditional
    generative models (NeurIPS 2015).

    Example:
      >>> prior(8, num_classes=3)(tf.constant([0, 2])).batch_shape.as_list()
      [2]
    """
    layer = posterior
    if not isinstance(layer, keras.layers.Layer):
        layer = layers.IndependentNormal(int(layer))
    return _model(
        [_label()], [_one_hot(num_classes), keras.layers.Dense(layer.num_parameters), layer]
    )


def categories(network: keras.Model) -> dict[str, int]:
    """Returns the number of categories of each categorical input, by the input's name.

    These are the inputs of Keras' `CategoryEncoding` and `Embedding`.
    """
    found = {}
    for layer in network.layers:
        if isinstance(layer, (keras.layers.CategoryEncoding, keras.layers.Embedding)):
            size = layer.input_dim if hasattr(layer, "input_dim") else layer.num_tokens
            taken = [node.input_tensors[0] for node in layer._inbound_nodes]
            found.update({t.name: size for t in network.inputs if any(t is one for one in taken)})
    return found


def num_classes(network: keras.Model) -> int:
    """Returns the number of labels of a network of this module."""
    return categories(network)["label"]


def _upwards(
    likelihood: IndependentLayer, widths: Sequence[int], activation: str
) -> list[keras.layers.Layer]:
    if not isinstance(likelihood, IndependentLayer):
        raise InputError("A conv body ends in a layer of independent pixels.", likelihood)
    _images_only(likelihood.event_shape)
    if not widths:
        raise InputError("A conv body has at least one layer: expected widths.", widths)
    height, width, channels = likelihood.event_shape
    scale = 2 ** len(widths)
    rows, columns = math.ceil(height / scale), math.ceil(width / scale)
    each = likelihood.num_parameters // (height * width * channels)
    up = keras.layers.Conv2DTranspose
    found = [
        keras.layers.Dense(rows * columns * widths[0], activation=activation),
        keras.layers.Reshape((rows, columns, widths[0])),
        *(up(n, 3, 2, padding="same", activation=activation) for n in widths),
        keras.layers.Cropping2D(((0, rows * scale - height), (0, columns * scale - width))),
        keras.layers.Conv2D(each * channels, 3, padding="same"),
    ]
    if each > 1 and not likelihood.parameters_together:  # all of one kind, then all of the next
        found += [
            keras.layers.Reshape((height, width, each, channels)),
            keras.layers.Permute((3, 1, 2, 4)),
        ]
    return [*found, keras.layers.Flatten()]


def _images_only(shape: Sequence[int]) -> None:
    if len(shape) != 3:
        raise InputError("A conv body is for images: expected (height, width, channels).", shape)


def _dense(widths: Sequence[int], activation: str) -> list[keras.layers.Layer]:
    return [keras.layers.Dense(width, activation=activation) for width in widths]


def _label() -> keras.KerasTensor:
    return keras.Input((), dtype="int32", name="label")


def _one_hot(classes: int) -> keras.layers.Layer:
    return keras.layers.CategoryEncoding(classes, output_mode="one_hot")


def _model(
    inputs: list[Any], hidden: list[Any], value: Any = None, name: str = "prior"
) -> keras.Model:
    value = inputs[0] if value is None else value
    for layer in hidden:
        value = layer(value)
    return keras.Model(inputs, value, name=name)
