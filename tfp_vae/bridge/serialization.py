"""TFP distributions as plain configs, by which a prior is saved with its model, without pickle.

A config is the name of a class and the `parameters` that TFP keeps. Loading constructs only classes
that TFP exports, Keras layers, and registered functions.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.bridge.loading import loaded
from tfp_vae.errors import InputError

_EXPORTED = {"distribution": tfp.distributions, "bijector": tfp.bijectors}


def distribution_to_config(distribution: tfp.distributions.Distribution) -> dict[str, Any]:
    """Returns the JSON form of a distribution: the name of its class, and its parameters.

    Parameters are constants, `tf.Variable`s (by their values; a variable that occurs twice stays
    one), `tfp.util.TransformedVariable`s, Keras layers, registered functions, and distributions and
    bijectors of these.

    Raises:
      InputError: TFP does not export the class: expected a subclass of `tfp_vae.priors.Prior`.
    """
    return _Encoder().encode(distribution, where=type(distribution).__name__)


def distribution_from_config(config: dict[str, Any]) -> Any:
    """Returns the distribution that `distribution_to_config` gave."""
    return _Decoder().decode(config)


class _Encoder:
    """The encoding of one distribution, with a number for each of its variables."""

    def __init__(self) -> None:
        self.variables: list[tf.Variable] = []

    def encode(self, value: Any, where: str) -> Any:
        if isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic):
            return value
        for kind, module in _EXPORTED.items():
            # TFP makes a `_Sample` of a `Sample` whose parts are no composite tensors.
            name = type(value).__name__.removeprefix("_")
            exported = getattr(module, name, None)
            if isinstance(exported, type) and issubclass(exported, type(value)):
                return {kind: name, "parameters": self._parameters(value, where)}
        if isinstance(value, tf.DType):
            return {"dtype": value.name}
        if isinstance(value, (list, tuple)):
            return {"sequence": [self.encode(entry, where) for entry in value]}
        if isinstance(value, tf.Variable):
            return self._variable(value)
        if isinstance(value, tfp.util.DeferredTensor):
            transform = value.transform_fn  # of a bijector it is the bound `forward`
            bijector = getattr(transform, "__self__", None)
            return {
                "deferred": self.encode(value.pretransformed_input, where),
                "transform": self.encode(transform if bijector is None else bijector, where),
            }
        if isinstance(value, (np.ndarray, np.generic)) or tf.is_tensor(value):
            array = np.asarray(value)
            return {"array": array.tolist(), "of": array.dtype.name}
        ours = isinstance(value, (tfp.distributions.Distribution, tfp.bijectors.Bijector))
        if callable(value) and not ours:  # a layer or a function
            return {"keras": keras.saving.serialize_keras_object(value)}
        raise InputError(
            f"{where} cannot be saved with a model: expected a constant, a tf.Variable, or a "
            "distribution or bijector of TensorFlow Probability. A prior of other parts is a "
            f"subclass of tfp_vae.priors.Prior.",
            value,
        )

    def _parameters(self, value: Any, where: str) -> dict[str, Any]:
        defaults = inspect.signature(type(value).__init__).parameters
        return {
            key: self.encode(entry, f"{where}.{key}")
            for key, entry in value.parameters.items()
            if key in defaults and entry is not defaults[key].default
        }

    def _variable(self, variable: tf.Variable) -> dict[str, Any]:
        for number, known in enumerate(self.variables):
            if known is variable:
                return {"variable": number}
        self.variables.append(variable)
        return {
            "variable": len(self.variables) - 1,
            "value": variable.numpy().tolist(),
            "of": variable.dtype.name,
            "trainable": variable.trainable,
            "name": variable.name.split(":")[0],
        }


class _Decoder:
    """The decoding of one distribution."""

    def __init__(self) -> None:
        self.variables: dict[int, tf.Variable] = {}

    def decode(self, config: Any) -> Any:
        if not isinstance(config, dict):
            return config
        if "sequence" in config:
            return [self.decode(entry) for entry in config["sequence"]]
        if "dtype" in config:
            return tf.as_dtype(config["dtype"])
        if "array" in config:
            return np.asarray(config["array"], config["of"])
        if "variable" in config:
            return self._variable(config)
        if "deferred" in config:
            inner, transform = self.decode(config["deferred"]), self.decode(config["transform"])
            return tfp.util.DeferredTensor(inner, transform)
        if "keras" in config:
            return loaded(config["keras"])
        kind = next(kind for kind in _EXPORTED if kind in config)
        constructor = getattr(_EXPORTED[kind], config[kind], None)
        base = getattr(_EXPORTED[kind], kind.capitalize())
        if not (isinstance(constructor, type) and issubclass(constructor, base)):
            raise InputError(
                f"Expected the name of a TFP {kind}.",
                repr(config[kind]),
            )
        parameters = config["parameters"].items()
        return constructor(**{key: self.decode(entry) for key, entry in parameters})

    def _variable(self, config: dict[str, Any]) -> tf.Variable:
        number = config["variable"]
        if number not in self.variables:
            self.variables[number] = tf.Variable(
                np.asarray(config["value"], config["of"]),
                trainable=config["trainable"],
                name=config["name"],
            )
        return self.variables[number]
