"""Encoder and decoder bodies for any image: a multilayer perceptron and a convolutional net."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import keras

from tfp_vae import layers
from tfp_vae.layers.parametric import IndependentLayer
from tfp_vae.prior import unit_normal

Body = Literal["mlp", "conv"]


def encoder(
    input_shape: Sequence[int],
    posterior: int | IndependentLayer = 16,
    body: Body = "mlp",
    widths: Sequence[int] = (400, 400),
    activation: str = "silu",
) -> keras.Sequential:
    """A network from x of `input_shape` to q(z|x).

    Args:
      input_shape: (height, width, channels), or any shape for an mlp.
      posterior: the layer that ends it; a number of latents stands for an `IndependentNormal` whose
        `KLDivergenceRegularizer` against a unit normal carries the KL term.
      body: "mlp": a dense layer for each width; "conv": a 3x3 convolution for each, with stride 2.
      widths: units, or channels.
      activation: the name of a Keras activation.

    Example:
      >>> encoder((28, 28, 1), 8).output_shape
      (None, 8)
    """
    if isinstance(posterior, int):
        kl = layers.KLDivergenceRegularizer(unit_normal(posterior))
        posterior = layers.IndependentNormal(posterior, activity_regularizer=kl)
    hidden: list[keras.layers.Layer]
    if body == "mlp":
        hidden = [keras.layers.Flatten(), *_dense(widths, activation)]
    else:
        conv = keras.layers.Conv2D
        hidden = [conv(n, 3, 2, padding="same", activation=activation) for n in widths]
        hidden.append(keras.layers.Flatten())
    head = keras.layers.Dense(posterior.num_parameters)
    return keras.Sequential(
        [keras.Input(tuple(input_shape)), *hidden, head, posterior], name="encoder"
    )


def decoder(
    latent_size: int,
    likelihood: IndependentLayer,
    body: Body = "mlp",
    widths: Sequence[int] = (400, 400),
    activation: str = "silu",
) -> keras.Sequential:
    """A network from z of `latent_size` to p(x|z), `encoder`'s body read backwards.

    Args:
      latent_size: the number of latents.
      likelihood: the layer that ends it; its event shape is the shape of x.
      body: as in `encoder`; "conv" wants an event shape (height, width, channels).
      widths: as given to `encoder`.
      activation: the name of a Keras activation.

    Example:
      >>> decoder(8, layers.IndependentBernoulli((28, 28, 1)), "conv", (16, 32)).output_shape
      (None, 28, 28, 1)
    """
    widths = tuple(reversed(widths))
    hidden: list[keras.layers.Layer]
    if body == "mlp":
        hidden = [*_dense(widths, activation), keras.layers.Dense(likelihood.num_parameters)]
    else:
        height, width, _ = likelihood.event_shape
        scale = 2 ** len(widths)
        rows, columns = math.ceil(height / scale), math.ceil(width / scale)
        up = keras.layers.Conv2DTranspose
        hidden = [
            keras.layers.Dense(rows * columns * widths[0], activation=activation),
            keras.layers.Reshape((rows, columns, widths[0])),
            *(up(n, 3, 2, padding="same", activation=activation) for n in widths),
            keras.layers.Cropping2D(((0, rows * scale - height), (0, columns * scale - width))),
            keras.layers.Conv2D(likelihood.num_parameters // (height * width), 3, padding="same"),
            keras.layers.Flatten(),
        ]
    return keras.Sequential([keras.Input((latent_size,)), *hidden, likelihood], name="decoder")


def _dense(widths: Sequence[int], activation: str) -> list[keras.layers.Layer]:
    return [keras.layers.Dense(width, activation=activation) for width in widths]
