"""What a causal network of sequences is made with: the step before, and steps that drop out."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.random_state import Seeded


@keras.saving.register_keras_serializable(package="tfp_vae")
class PreviousStep(keras.layers.Layer):
    """`y_t = x_{t-1}`, and `y_1 = 0`: what p(x_t | x_<t) is shown of x.

    Input and output `[batch, steps, ...]`; several inputs are joined on the last axis. Step t is
    masked where x_t is, of any of the inputs.

    Args:
      **kwargs: as for any Keras layer.

    Example:
      >>> PreviousStep()(tf.constant([[[1.], [2.], [3.]]]))[0, :, 0].numpy().tolist()
      [0.0, 1.0, 2.0]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x: Any) -> tf.Tensor:
        """Returns x one step late."""
        if isinstance(x, (list, tuple)):
            x = tf.concat([tf.cast(each, self.compute_dtype) for each in x], axis=-1)
        x = tf.convert_to_tensor(x)
        return tf.concat([tf.zeros_like(x[:, :1]), x[:, :-1]], axis=1)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Returns the mask of the input; of several, where all are there."""
        if not isinstance(x, (list, tuple)):
            return mask
        given = [each for each in mask or () if each is not None]
        return functools.reduce(keras.ops.logical_and, given) if given else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        if not isinstance(input_shape[0], (list, tuple)):
            return input_shape
        return (*input_shape[0][:-1], sum(shape[-1] for shape in input_shape))


@keras.saving.register_keras_serializable(package="tfp_vae")
class WordDropout(Seeded, keras.layers.Layer):
    """Replaces whole steps by a learned vector while training: a decoder then needs its z.

    Input and output `[batch, steps, size]`: embedded words. Each step is replaced with probability
    `rate`, alone; nothing is scaled. Bowman et al., arXiv:1511.06349.

    Args:
      rate: the probability, in 0..1; at 1 a decoder is shown no word.
      seed: an integer makes the choice repeatable; None takes one from Keras' global seed.
      **kwargs: as for any Keras layer.

    Example:
      >>> layer = WordDropout(1.0)
      >>> layer(tf.ones([1, 2, 1]), training=True).numpy().tolist()
      [[[0.0], [0.0]]]
    """

    @checked
    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_with(seed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self.unknown = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", name="unknown"
        )
        self.make_state()
        super().build(input_shape)

    def call(self, x: Any, training: bool | None = None) -> tf.Tensor:
        """Returns x, in training without some of its steps."""
        x = tf.convert_to_tensor(x)
        if not training:
            return x
        noise = tf.random.stateless_uniform(tf.shape(x)[:2], self.next_seed())
        gone = (noise < self.rate)[..., tf.newaxis]
        return tf.where(gone, tf.cast(tf.convert_to_tensor(self.unknown), x.dtype), x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
