"""What a saved config stands for, where a file may come from anybody: nothing in it is called.

Keras loads any public function of its own by name. Where this package would call what it is given
(`make_distribution_fn`, a prior's function, what a TFP distribution is constructed from), a crafted
file could so have `keras.datasets.mnist.load_data` called, or a setting changed.
"""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.errors import InputError


def loaded(config: Any, custom_objects: Any = None) -> Any:
    """As `keras.saving.deserialize_keras_object`, of whose functions only these are let in.

    Functions that were registered (`keras.saving.register_keras_serializable`), and Keras'
    activations; a lambda where Keras' own `safe_mode` is off.

    Raises:
      InputError: another function is named anywhere in the config.

    Example:
      >>> loaded({"class_name": "function", "config": "relu", "module": "keras.activations",
      ...         "registered_name": None}).__name__
      'relu'
    """
    _look_through(config, custom_objects)
    return keras.saving.deserialize_keras_object(config, custom_objects)


def _look_through(config: Any, custom_objects: Any) -> None:
    """Raises `InputError` where a function stands in the config that may not be called."""
    if isinstance(config, (list, tuple)):
        for each in config:
            _look_through(each, custom_objects)
    elif isinstance(config, dict):
        name = config.get("class_name")
        if name == "function" or (isinstance(name, str) and not _is_class(config, name)):
            function = str(config.get("config") if name == "function" else name)
            _let_in(config, function, custom_objects)
        for key, each in config.items():
            if key != "compile_config":  # losses and metrics, which nobody calls before training
                _look_through(each, custom_objects)


def _is_class(config: dict[str, Any], name: str) -> bool:
    """Whether Keras makes an object of it: it takes a class' name for a function's too."""
    public = _public(config.get("module"), name)
    return public is None or isinstance(public, type)


def _public(module: Any, name: str) -> Any:
    """What stands under a public name of Keras; None where nothing does."""
    found: Any = keras
    for part in [*str(module).split(".")[1:], name] if str(module).split(".")[0] == "keras" else []:
        found = getattr(found, part, None)
    return None if found is keras else found


def _let_in(config: dict[str, Any], name: str, custom_objects: Any) -> None:
    pure = name in vars(keras.activations) and name not in ("get", "serialize", "deserialize")
    if keras.saving.get_registered_object(name, custom_objects) is None and not pure:
        raise InputError(
            "Expected functions in a saved model that were registered with "
            "keras.saving.register_keras_serializable before it is loaded, or are given as "
            "custom_objects.",
            f"{config.get('module')}.{name}",
        )
