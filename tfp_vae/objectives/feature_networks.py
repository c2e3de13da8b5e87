"""Networks whose layers give the features that `DeepFeatures` compares."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfp_vae.errors import InputError

_STEPS, _BATCH = 600, 128  # of a classifier, about
_LEAST = 32  # pixels that a network of `keras.applications` takes
_USUAL = dict.fromkeys(("VGG16", "VGG19"), ("block1_conv1", "block2_conv1", "block3_conv1"))


def random_features(shape: Sequence[int | None]) -> keras.Model:
    """Returns a network of x with random weights, whose layers compare textures at three scales.

    Example:
      >>> [layer.name for layer in random_features((8, 8, 1)).layers]
      ['features_1', 'features_2', 'features_3']
    """
    kwargs = {"activation": "relu", "kernel_initializer": "he_normal"}
    chain: list[keras.layers.Layer] = []
    for number, width in enumerate((16, 32, 64), start=1):
        name = f"features_{number}"
        if len(shape) == 3:
            layer = keras.layers.Conv2D(width, 3, 2, padding="same", name=name, **kwargs)
        else:
            layer = keras.layers.Dense(width, name=name, **kwargs)
        chain.append(layer)
    return keras.Sequential([keras.Input(tuple(shape)), *chain], name="features")


def trained_features(x: np.ndarray, labels: np.ndarray) -> keras.Model:
    """Returns the network of `random_features`, trained below a classifier of labels.

    A few hundred steps are enough: what the layers tell apart then are the classes of the data,
    which needs no weights from elsewhere.

    Args:
      x: `[n, ...]`, as the model takes them.
      labels: `[n]`, of any type.

    Example:
      >>> x = np.random.default_rng(0).normal(size=[20, 3]).astype("float32")
      >>> trained_features(x, np.where(x[:, 0] > 0, "right", "left")).output_shape
      (None, 64)
    """
    names, classes = np.unique(labels, return_inverse=True)
    features = random_features(x.shape[1:])
    ending = [keras.layers.Flatten(), keras.layers.Dense(len(names))]
    classifier = keras.Sequential([keras.Input(x.shape[1:]), features, *ending])
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    epochs = max(1, min(50, _STEPS * _BATCH // len(x)))
    classifier.fit(x, classes, batch_size=_BATCH, epochs=epochs, verbose=0)
    return features


def application(
    name: str, shape: Sequence[int | None], names: Sequence[str] | None = None
) -> tuple[keras.Model, list[str]]:
    """Returns a network of `keras.applications` up to some layers, and the names of these layers.

    Its weights are those of ImageNet, which Keras downloads unless they are in its cache. Its first
    layer, `preprocessing`, makes what the network was trained on of pixels in 0..1, grey or in
    colour; images of less than 32 pixels are enlarged.

    Args:
      name: such as "VGG19".
      shape: (height, width, 1 or 3).
      names: of the layers whose outputs are wanted; None: of the VGGs the first of the first three
        blocks, which Hou et al. (arXiv:1610.00291) compare.

    Raises:
      InputError: there is no such network or layer, no such images, or no weights.
    """
    make = getattr(keras.applications, name, None)
    wanted = names or _USUAL.get(name)
    if not name[:1].isupper() or make is None:
        raise InputError("Expected a network of keras.applications, such as VGG19.", name)
    if wanted is None:
        raise InputError(f"Expected names, those of the layers of {name} to compare.", names)
    if len(shape) != 3 or shape[-1] not in (1, 3) or None in shape:
        raise InputError(f"{name} is for images, grey or in colour.", tuple(shape))
    x = keras.Input(tuple(shape))
    first = keras.layers.Conv2D(3, 1, name="preprocessing")
    seen, size = first(x), [max(_LEAST, int(pixels or 0)) for pixels in shape[:2]]
    if size != list(shape[:2]):
        seen = keras.layers.Resizing(*size)(seen)
    try:
        network = make(include_top=False, input_tensor=seen)
    except Exception as error:  # Keras raises this very class where a download fails
        what = f"Expected the weights of {name}, from the net or in Keras' cache."
        raise InputError(what, " ".join(str(error).split())) from error
    first.set_weights(_preprocessing(make, int(shape[-1] or 0)))
    lacking = sorted(set(wanted) - {layer.name for layer in network.layers})
    if lacking:
        raise InputError(f"Expected names of layers of {name}.", ", ".join(lacking))
    outputs = [network.get_layer(one).output for one in wanted]
    return keras.Model(network.inputs, outputs, name="features"), list(wanted)


def _preprocessing(make: Any, channels: int) -> list[np.ndarray]:
    """Returns kernel and bias of a network's own preprocessing, which is linear in the colours."""
    own = sys.modules[make.__module__].preprocess_input
    bias, *colours = (own(pixel.astype(np.float32)) for pixel in 255 * np.eye(4, 3, -1))
    kernel = np.stack(colours) - bias
    kernel = kernel if channels == 3 else kernel.sum(0, keepdims=True)
    return [kernel[np.newaxis, np.newaxis], bias]
