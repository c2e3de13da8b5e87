"""The first layer of a decoder of codes in several levels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.bridge.signatures import ConfigFromSignature


@keras.saving.register_keras_serializable(package="tfp_vae")
class SumOfLevels(Seeded, ConfigFromSignature, keras.layers.Layer):
    """`sum_l m_l z_l`: the sum of the levels of a `ResidualQuantized` z.

    With a dropout the decoder learns to do with the first levels alone: in training m_1 = 1 and
    `m_l = m_(l-1) b_l`, b_l = 0 with that probability, else 1, drawn for each example; else
    m_l = 1. Shapes: `[batch, *positions, depth, d]` to `[batch, *positions, d]`.

    Args:
      dropout: the probability that the levels end before the next one.
      seed: an integer makes the draws repeatable; None takes one from Keras' global seed.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: an argument is out of its range.

    Source: Hosking et al. (HRQ-VAE, depth dropout), arXiv:2203.03463.

    Example:
      >>> SumOfLevels()(tf.constant([[[1., 2.], [10., 20.]]])).numpy().tolist()
      [[11.0, 22.0]]
    """

    @checked
    def __init__(self, dropout: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout = float(dropout)
        self.seed_with(seed)

    def build(self, input_shape: Any) -> None:
        self.make_state()
        super().build(input_shape)

    def call(self, z: Any, training: bool | None = None) -> tf.Tensor:
        """Returns the sum over the last axis but one."""
        z = tf.convert_to_tensor(z)
        if training and self.dropout:
            between = [1] * (z.shape.rank - 3)
            shape = tf.concat([tf.shape(z)[:1], between, [z.shape[-2] - 1, 1]], axis=0)
            drawn = tf.random.stateless_uniform(shape, self.next_seed(), dtype=z.dtype)
            goes_on = tf.cast(drawn >= self.dropout, z.dtype)
            kept = tf.math.cumprod(tf.concat([tf.ones_like(goes_on[..., :1, :]), goes_on], -2), -2)
            z *= kept
        return tf.reduce_sum(z, axis=-2)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-2], input_shape[-1])
