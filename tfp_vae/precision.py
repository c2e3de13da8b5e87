"""The dtype that densities are computed in."""

from __future__ import annotations

import keras


def full_precision() -> str:
    """The dtype of Keras' variables under the present policy, float32 at least.

    Several densities fail in half precision, and a sum over pixels loses its digits, so that under
    a mixed policy distributions stay in the dtype of the variables.
    """
    stored = keras.config.dtype_policy().variable_dtype
    return "float32" if stored in ("float16", "bfloat16") else stored
