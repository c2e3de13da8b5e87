"""Which entries are known, each by its own value."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf

from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError

Direction = Literal["either", "decreasing", "increasing"]
_DIRECTIONS = ("either", "decreasing", "increasing")


@keras.saving.register_keras_serializable(package="tfp_vae")
class SelfMasking(ConfigFromSignature, keras.layers.Layer):
    """Logits that an entry is known, by its own value: `w_i x_i + b_i`.

    For a Bernoulli over the mask, `p(known_i | x_i)`, where entries are not known because of what
    they are, such as high incomes. Shapes: input and output `[..., n]`.

    Args:
      direction: "decreasing": high values are hidden, w < 0; "increasing": low ones, w > 0;
        "either": w is any number. What is known of the direction helps a lot.

    Raises:
      InputError: another direction.

    Source: Ipsen et al., not-MIWAE, arXiv:2006.12871, section 3.3 ("self-masking").

    Example:
      >>> logits = SelfMasking("decreasing")(tf.constant([[-1.0, 1.0]]))
      >>> bool(logits[0, 0] > logits[0, 1])
      True
    """

    def __init__(self, direction: Direction = "either", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if direction not in _DIRECTIONS:
            raise InputError(f"Expected direction to be one of {_DIRECTIONS}.", direction)
        self.direction = direction

    def build(self, input_shape: Any) -> None:
        """Makes a slope and a bias for each entry."""
        shape = (input_shape[-1],)
        start = "zeros" if self.direction == "either" else "ones"
        self.slope = self.add_weight(shape=shape, initializer=start, name="slope")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, x: Any) -> tf.Tensor:
        """Returns the logits."""
        slope = tf.convert_to_tensor(self.slope)
        if self.direction != "either":
            slope = tf.nn.softplus(slope) * (-1 if self.direction == "decreasing" else 1)
        return slope * tf.convert_to_tensor(x) + tf.convert_to_tensor(self.bias)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
