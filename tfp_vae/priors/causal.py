"""A causal network over a sequence of integers."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature


@keras.saving.register_keras_serializable(package="tfp_vae")
class CausalNetwork(ConfigFromSignature, keras.layers.Layer):
    """Logits of each integer given those before: `[n, length]` to `[n, length, num_codes]`.

    Embeddings of the integer before and of the position, then residual blocks `h_i <- h_i +
    W relu(V [h_i, h_{i - 2^b}])`, b = 0, 1, ..., until the last integer sees the first: dilated
    causal convolutions of width 2, van den Oord et al. (WaveNet), arXiv:1609.03499.

    Args:
      length: of the sequences.
      num_codes: the integers are 0 to num_codes - 1.
      hidden_units: the size of h.
      **kwargs: as for any Keras layer.

    Example:
      >>> CausalNetwork(length=4, num_codes=3, hidden_units=8)(tf.zeros([2, 4], "int32")).shape
      TensorShape([2, 4, 3])
    """

    @functools.partial(checked, hidden_units="units")
    def __init__(self, length: int, num_codes: int, hidden_units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.num_codes, self.hidden_units = length, num_codes, hidden_units
        normal = keras.initializers.RandomNormal(0.1)
        self.codes = self.add_weight(
            name="codes", shape=(num_codes, hidden_units), initializer=normal
        )
        self.places = self.add_weight(
            name="places", shape=(length, hidden_units), initializer=normal
        )
        blocks = math.ceil(math.log2(length)) if length > 1 else 0
        self.inner = [self._dense(2 * hidden_units, hidden_units) for _ in range(blocks)]
        self.outer = [self._dense(hidden_units, hidden_units) for _ in range(blocks)]
        self.last = self._dense(hidden_units, num_codes)
        self.built = True

    def _dense(self, inputs: int, units: int) -> keras.layers.Dense:
        layer = keras.layers.Dense(units, dtype=self.dtype_policy)
        layer.build((None, inputs))
        return layer

    def call(self, codes: Any, context: Any = None) -> tf.Tensor:
        """Returns the logits; those of the first integer depend on nothing but the context.

        `context`: what h begins with beside them, `[n, length, hidden_units]`; None: nothing.
        """
        embedded = tf.gather(tf.convert_to_tensor(self.codes), codes)
        h = _later(embedded, 1) + self.places
        if context is not None:
            h += context
        for number, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            both = tf.concat([h, _later(h, 2**number)], axis=-1)
            h += outer(tf.nn.relu(inner(both)))
        return self.last(h)


def _later(h: tf.Tensor, steps: int) -> tf.Tensor:
    """Returns h `[n, length, size]` after so many positions of zeros."""
    return tf.pad(h, [[0, 0], [steps, 0], [0, 0]])[:, : h.shape[1]]
