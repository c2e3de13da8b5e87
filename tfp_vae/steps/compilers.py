"""Which compiler makes steps fast: XLA or TensorFlow's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

STEPS_FOR_XLA = 1000
DRAWS_FOR_XLA = 100_000  # of an estimate of log p(x)
_SLOW = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.AlphaDropout,
)


def suits_xla(layers: Iterable[Any], posterior_layers: Iterable[Any]) -> bool:
    """Tells whether XLA can compile the training of a model, and makes training faster on a CPU.

    Convolutions are slower under XLA, and so are random numbers as TensorFlow and TFP draw them
    (see `tfp_vae.distributions.fast`).

    Args:
      layers: of the model, all of them.
      posterior_layers: those that make the posteriors.
    """
    return all(layer.supports_jit and not isinstance(layer, _SLOW) for layer in layers) and all(
        getattr(layer, "fast_under_xla", False) for layer in posterior_layers
    )


def has_accelerator() -> bool:
    """Tells whether there is a device that is no CPU."""
    return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
