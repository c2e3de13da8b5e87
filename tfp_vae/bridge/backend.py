"""The refusal of a Keras backend that TFP cannot use.

This module is imported before Keras is, so that its message comes before another backend's errors.
"""

import os

from tfp_vae_cli.refusal import Refusal

_EXPECTED = (
    "tfp_vae runs on Keras with the TensorFlow backend, because TensorFlow Probability does. "
    'Set the environment variable KERAS_BACKEND=tensorflow, or "backend": "tensorflow" in '
    "keras.json, before Keras is imported. Received: backend={received!r}"
)


class BackendError(Refusal, ImportError):
    """Keras runs on a backend other than TensorFlow."""


def require_tensorflow() -> None:
    """Checks that Keras' backend is, or will be, TensorFlow, else raises `BackendError`."""
    requested = os.environ.get("KERAS_BACKEND", "tensorflow")
    if requested != "tensorflow":
        raise BackendError(_EXPECTED.format(received=requested))
    try:
        import keras
    except ImportError as error:  # keras.json can name a backend that is not installed
        if error.name == "keras":
            raise
        raise BackendError(_EXPECTED.format(received=str(error))) from error
    if keras.config.backend() != "tensorflow":
        raise BackendError(_EXPECTED.format(received=keras.config.backend()))


require_tensorflow()
