"""Entries that are not known, as a network sees these."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature


@keras.saving.register_keras_serializable(package="tfp_vae")
class FillUnknown(ConfigFromSignature, keras.layers.Layer):
    """x with a number in place of NaN, and beside it which entries are known, 1 or 0.

    The first layer of an encoder of data with unknown entries, after what brings x to its scale,
    such as `keras.layers.Normalization`: 0 is then the mean. Shapes: input `[..., n]`, output
    `[..., 2 n]`; of images `[height, width, channels]` twice the channels.

    Args:
      value: the number.

    Source: Collier et al., arXiv:2006.05301; Mattei and Frellsen, arXiv:1812.02633, fill in 0
    alone.

    Example:
      >>> FillUnknown()(tf.constant([[3.0, float("nan")]])).numpy().tolist()
      [[3.0, 0.0, 1.0, 0.0]]
    """

    takes_unknown = True

    @checked
    def __init__(self, value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = float(value)

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the numbers and, along the last axis, which are known."""
        x = tf.convert_to_tensor(inputs)
        known = ~tf.math.is_nan(x)
        filled = tf.where(known, x, tf.constant(self.value, x.dtype))
        return tf.concat([filled, tf.cast(known, x.dtype)], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], None if input_shape[-1] is None else 2 * input_shape[-1])
