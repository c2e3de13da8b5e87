"""What a function takes, and the config of an object that keeps what its constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfp_vae.bridge.loading import loaded

# Keras' own `get` takes the configs of these arguments, in the constructor.
_OF_KERAS = ("activation", "initializer", "initializers", "regularizer", "constraint")


def has_parameter(function: Callable[..., Any], name: str) -> bool:
    """Returns whether the function has a parameter of that name.

    Example:
      >>> has_parameter(lambda z, training=None: z, "training")
      True
    """
    try:
        return name in parameters_of(function)
    except (TypeError, ValueError):  # a builtin, which has no signature to look at
        return False


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """Returns the names of the function's parameters, without `*args` and `**kwargs`."""
    of = inspect.signature(function).parameters.values()
    return [p.name for p in of if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def arguments_of(cls: type) -> list[str]:
    """Returns the names of what the constructors of `cls` take, those of the classes above too.

    Keras' own arguments are left out, and those of a class outside this package: Keras asks such a
    class for a `get_config` of its own.
    """
    inits = [vars(base).get("__init__") for base in cls.__mro__ if _is_ours(base)]
    names = [name for init in inits if init is not None for name in parameters_of(init)]
    of_keras = parameters_of(keras.layers.Layer.__init__)
    return [name for name in dict.fromkeys(names) if name not in of_keras]


def first_of_ours(cls: type) -> type:
    """Returns the class itself, or the nearest class above a user's that is of this package."""
    return next(base for base in cls.__mro__ if _is_ours(base))


def _is_ours(cls: type) -> bool:
    return cls.__module__.split(".")[0] == "tfp_vae"


class ConfigFromSignature:
    """For an object that Keras saves: argument = attribute = key of the config.

    Example:
      >>> from tfp_vae.layers import CouplingNetwork
      >>> config = CouplingNetwork(1, 2, [8]).get_config()
      >>> config["hidden_units"], CouplingNetwork.from_config(config).output_size
      ([8], 2)
    """

    def saved_arguments(self) -> list[str]:
        """Returns the names of the arguments that the config has."""
        return [name for name in arguments_of(type(self)) if hasattr(self, name)]

    def config_of(self, name: str) -> Any:
        """Returns one argument in JSON's types."""
        value = getattr(self, name)
        if isinstance(value, np.ndarray):
            return value.tolist()
        if isinstance(value, (list, tuple)):
            return [keras.saving.serialize_keras_object(each) for each in value]
        if name == "activation":
            return keras.activations.serialize(value)  # its own are names
        return keras.saving.serialize_keras_object(value)

    def get_config(self) -> dict[str, Any]:
        above = super().get_config() if isinstance(self, keras.layers.Layer) else {}  # type: ignore[misc]
        return {**above, **{name: self.config_of(name) for name in self.saved_arguments()}}

    @classmethod
    def load(cls, config: Any) -> Any:
        """Returns what stands for an object in a config."""
        return loaded(config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        theirs = [n for n in arguments_of(cls) if n.split("_")[-1] not in _OF_KERAS]
        objects = {n: cls.load(config[n]) for n in theirs if _has_objects(config.get(n))}
        return cls(**{**config, **objects})


def _has_objects(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(each, dict) for each in value)
    return isinstance(value, dict)
