"""A network as a function that a loss passes through without reaching its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def frozen(network: keras.layers.Layer, training: bool | None = None) -> Callable[[Any], Any]:
    """Returns the network as a function whose gradient goes to its inputs, not to its weights.

    Moving averages and other state of the network stay as they are.

    Example:
      >>> critic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
      >>> z = tf.Variable([[1., 2.]])
      >>> with tf.GradientTape() as tape:
      ...     value = frozen(critic)(z)
      >>> through, to = tape.gradient(value, [z, critic.layers[0].kernel.value])
      >>> through.shape.as_list(), to
      ([1, 2], None)
    """

    def call(inputs: Any) -> Any:
        state = [tf.stop_gradient(tf.convert_to_tensor(v)) for v in network.trainable_variables]
        rest = [tf.convert_to_tensor(v) for v in network.non_trainable_variables]
        return network.stateless_call(state, rest, inputs, training=training)[0]

    return call
