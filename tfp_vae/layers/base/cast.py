"""A cast of a distribution, as Keras casts tensors between layers of different dtypes."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.layers.base.symbolic import DistributionTensor


@keras.saving.register_keras_serializable(package="tfp_vae")
class CastDistribution(keras.layers.Layer):
    """The same distribution, as a tensor of another dtype.

    Args:
      dtype: of the tensor.
      **kwargs: as for any Keras layer.

    Example:
      >>> from tfp_vae import layers
      >>> q = layers.IndependentNormal(2)(tf.zeros([1, 4]))
      >>> wide = CastDistribution("float64")(q)
      >>> wide.dtype, wide.log_prob([[0., 0.]]).dtype
      (tf.float64, tf.float32)
    """

    def __init__(self, dtype: Any, **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self._convert_input_args = False  # a cast would leave a tensor
        self.supports_masking = True
        self.built = True

    def call(self, distribution: Any) -> Any:
        return tf.cast(distribution, self.compute_dtype)

    def undrawn(self, distribution: Any) -> Any:
        """Returns the cast distribution, as `DistributionLayer.undrawn` does."""
        return self.call(distribution)

    def compute_output_spec(self, distribution: Any) -> DistributionTensor:
        return DistributionTensor(distribution.shape, self.compute_dtype, self, (distribution,), {})


class GivenDistributions:
    """A layer whose symbolic inputs stay distributions where Keras casts tensors."""

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, DistributionTensor) and self.autocast:  # type: ignore[attr-defined]
            dtype = self.input_dtype  # type: ignore[attr-defined]
            if tf.as_dtype(inputs.dtype).is_floating and inputs.dtype != dtype:
                inputs = CastDistribution(dtype)(inputs)
        return super().__call__(inputs, *args, **kwargs)  # type: ignore[misc]
