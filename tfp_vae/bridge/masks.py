"""Masks of Keras: which entries of a batch are there, and which only fill it up."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.errors import InputError


def mask_of(value: Any) -> Any:
    """Returns the mask that `keras.layers.Masking` or an `Embedding` put on a tensor, or None."""
    return getattr(value, "_keras_mask", None)


def masked(values: tf.Tensor, mask: Any) -> tf.Tensor:
    """Returns the values with the mask on them, by which Keras weighs them.

    The mask is over the first axes of the values.

    Raises:
      InputError: the mask has more axes than the values, and hides parts of one value.
    """
    if mask is None:
        return values
    mask = along(values, mask)
    values = tf.where(tf.cast(mask, tf.bool), values, tf.zeros_like(values))
    values._keras_mask = mask
    return values


def masked_mean(values: tf.Tensor, mask: Any) -> tf.Tensor:
    """Returns the mean over what is not masked, or 0 where all is masked."""
    if mask is None:
        return tf.reduce_mean(values)
    weight = tf.broadcast_to(tf.cast(along(values, mask), values.dtype), tf.shape(values))
    kept = tf.where(weight > 0, values, tf.zeros_like(values))
    return tf.math.divide_no_nan(tf.reduce_sum(kept), tf.reduce_sum(weight))


def along(values: tf.Tensor, weight: Any) -> tf.Tensor:
    """Returns a mask or weights over the first axes of the values, with as many axes as these."""
    weight = keras.ops.convert_to_tensor(weight)
    if values.shape.rank is None or weight.shape.rank is None:
        return weight
    if weight.shape.rank == values.shape.rank + 1 and weight.shape[-1] == 1:
        return tf.squeeze(weight, -1)
    if weight.shape.rank > values.shape.rank:
        raise InputError(
            "Expected a mask or sample weights over the batch of the distribution, of shape "
            f"{tuple(values.shape)}: what is masked has to be an example of its own, not a part of "
            "one event.",
            f"a mask or weights of shape {tuple(weight.shape)}",
        )
    for _ in range(values.shape.rank - weight.shape.rank):
        weight = weight[..., tf.newaxis]
    return weight
