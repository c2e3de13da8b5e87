"""TFP distributions as plain configs, so that a prior is saved with its model without pickle.

TFP keeps what each distribution and bijector was constructed from in `parameters`. A config is the
class' name and these, so loading one can only ever construct a class that TFP exports.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

_EXPORTED = {"distribution": tfp.distributions, "bijector": tfp.bijectors}


def distribution_to_config(distribution: tfp.distributions.Distribution) -> dict[str, Any]:
    """The JSON form of a distribution whose parameters are constants.

    Raises:
      ValueError: for a class that TFP does not export, or a parameter that is a variable or a
        function: subclass `tfp_vae.priors.Prior` for these.

    Example:
      >>> d = distribution_from_config(distribution_to_config(tfp.distributions.Normal(0., 2.)))
      >>> float(d.stddev())
      2.0
    """
    return _encode(distribution, where=type(distribution).__name__)


def distribution_from_config(config: dict[str, Any]) -> Any:
    """The inverse of `distribution_to_config`."""
    return _decode(config)


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic):
        return value
    for kind, module in _EXPORTED.items():
        name = type(value).__name__
        if getattr(module, name, None) is type(value):
            defaults = inspect.signature(type(value).__init__).parameters
            parameters = {
                key: _encode(entry, f"{where}.{key}")
                for key, entry in value.parameters.items()
                if key in defaults and entry is not defaults[key].default
            }
            return {kind: name, "parameters": parameters}
    if isinstance(value, tf.DType):
        return {"dtype": value.name}
    if isinstance(value, (list, tuple)):
        return {"sequence": [_encode(entry, where) for entry in value]}
    if isinstance(value, (np.ndarray, np.generic)) or (
        tf.is_tensor(value) and not isinstance(value, tf.Variable)
    ):
        array = np.asarray(value)
        return {"array": array.tolist(), "of": array.dtype.name}
    raise ValueError(
        f"{where} cannot be saved with a model: expected a constant, or a distribution or bijector "
        "of TensorFlow Probability. A prior with variables or functions of its own is a subclass "
        f"of tfp_vae.priors.Prior. Received: {value}"
    )


def _decode(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    if "sequence" in config:
        return [_decode(entry) for entry in config["sequence"]]
    if "dtype" in config:
        return tf.as_dtype(config["dtype"])
    if "array" in config:
        return np.asarray(config["array"], config["of"])
    kind = next(kind for kind in _EXPORTED if kind in config)
    constructor = getattr(_EXPORTED[kind], config[kind], None)
    base = getattr(_EXPORTED[kind], kind.capitalize())
    if not (isinstance(constructor, type) and issubclass(constructor, base)):
        raise ValueError(f"Expected the name of a TFP {kind}. Received: {config[kind]!r}")
    return constructor(**{key: _decode(entry) for key, entry in config["parameters"].items()})
