"""The dtype that densities are computed in."""

from __future__ import annotations

import keras
import tensorflow as tf


def full_precision() -> str:
    """Returns the dtype of Keras' variables under the present policy, float32 at least.

    Several densities fail in half precision, and a sum over pixels loses its digits.
    """
    stored = keras.config.dtype_policy().variable_dtype
    return "float32" if stored in ("float16", "bfloat16") else stored


def wider(one: str, other: str) -> str:
    """Returns the wider dtype, such as of a policy of float64 and a floatx of float32."""
    return max(one, other, key=lambda dtype: tf.as_dtype(dtype).size)
