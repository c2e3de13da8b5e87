"""The layer that reads points of the Poincare ball: a decoder's first."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bijectors import exponential_map as ball


@keras.saving.register_keras_serializable(package="tfp_vae")
class Gyroplanes(keras.layers.Layer):
    """Signed distances of a point of the Poincare ball to hyperplanes: a decoder's first layer.

    `f_k(z) = 2 |a_k| / sqrt(c) asinh(2 sqrt(c) y'a_k / ((1 - c |y|^2) |a_k|))`, `y = (-p_k) (+) z`:
    the distance to the plane through p_k that is orthogonal to a_k, times `2 |a_k|`. As c goes to 0
    it is `4 a_k'(z - p_k)`, a dense layer. p_k is learned as `exp_0(b_k / 2)`. Input `[..., d]`,
    output `[..., units]`. Ganea et al., arXiv:1805.09112; Mathieu et al., arXiv:1901.06033.

    Args:
      units: how many planes there are.
      curvature: c, above 0.
      **kwargs: as for any Keras layer.

    Example:
      >>> Gyroplanes(5)(tf.constant([[0.1, 0.2]])).shape
      TensorShape([1, 5])
    """

    @checked
    def __init__(self, units: int, curvature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.curvature = int(units), float(curvature)

    def build(self, input_shape: Any) -> None:
        shape = (self.units, input_shape[-1])
        self.normals = self.add_weight(shape=shape, initializer="glorot_uniform", name="normals")
        self.offsets = self.add_weight(shape=shape, initializer="zeros", name="offsets")
        super().build(input_shape)

    def call(self, z: Any) -> tf.Tensor:
        """Returns the distances, `[..., units]`."""
        z = tf.convert_to_tensor(z)
        normals = tf.cast(tf.convert_to_tensor(self.normals), z.dtype)
        points = ball.from_origin(
            tf.cast(tf.convert_to_tensor(self.offsets), z.dtype), self.curvature
        )
        y = ball.within(ball.add(-points, z[..., tf.newaxis, :], self.curvature), self.curvature)
        root, size = self.curvature**0.5, ball.norm(normals)[..., 0]
        # lambda_y, which is 2 / (1 - c |y|^2)
        factor = tf.exp(ball.log_conformal_factor(y, self.curvature))
        sine = root * factor * tf.reduce_sum(y * normals, axis=-1) / size
        return 2 * size / root * tf.asinh(sine)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "curvature": self.curvature}
