"""A trainable variable as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.bridge.precision import full_precision
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class VariableLayer(ConfigFromSignature, keras.layers.Layer):
    """`f(x) = activation(c)`: the trainable `constant` c, whatever the input.

    Before a distribution layer: a trained distribution without inputs, such as a prior, or the
    posterior of weights.

    Args:
      shape: of c and of the output: an int, or a vector of ints.
      dtype: of c; None: that of Keras' variables, float32 at least.
      activation: as for `keras.layers.Dense`.
      initializer: of c; see `BlockwiseInitializer`.
      regularizer: of c; adds to the losses.
      constraint: projects c after each step.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: `shape` is no int or vector of ints.

    Example:
      >>> from tfp_vae import layers
      >>> normal = keras.Sequential([
      ...     VariableLayer(2, initializer="ones"),
      ...     layers.DistributionLambda(lambda t: tfd.Normal(t[0], tf.math.softplus(t[1])))])
      >>> float(normal(tf.zeros([1, 0])).mean()), VariableLayer([3])(0.).numpy().tolist()
      (1.0, [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: Any = None,
        activation: Any = None,
        initializer: Any = "zeros",
        regularizer: Any = None,
        constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=full_precision() if dtype is None else dtype, **kwargs)
        self.variable_shape = _as_vector(shape)
        self.activation = keras.activations.get(activation)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)
        self.constant = self.add_weight(
            name="constant",
            shape=self.variable_shape,
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
        )
        self.built = True

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, (int, float)):  # `layer(0.)`: Keras takes tensors only
            inputs = tf.constant(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any) -> tf.Tensor:
        return self.activation(tf.convert_to_tensor(self.constant.value))

    def compute_output_shape(self, input_shape: Any) -> tuple[int, ...]:
        return self.variable_shape

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.variable_shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.variable_shape)}


def _as_vector(shape: Any) -> tuple[int, ...]:
    array = np.asarray(shape.as_list() if isinstance(shape, tf.TensorShape) else shape)
    if array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError("Expected shape to be an int or a vector of ints.", repr(shape))
    return tuple(int(size) for size in array.reshape(-1))
