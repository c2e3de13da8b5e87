"""The objects of a saved config, without functions that a crafted file could have called.

Keras loads any public function of its own by name. Where this package calls a function of a config
(`make_distribution_fn`, a prior's function, parameters of a TFP distribution), a file could so call
`keras.datasets.mnist.load_data`, or change a setting.
"""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.errors import InputError


def loaded(config: Any, custom_objects: Any = None) -> Any:
    """Returns what `keras.saving.deserialize_keras_object` gives, if its functions are allowed.

    Allowed are registered functions (`keras.saving.register_keras_serializable`), Keras'
    activations, and lambdas where Keras' own `safe_mode` is off.

    Raises:
      InputError: another function is named anywhere in the config.
    """
    _look_through(config, custom_objects)
    return keras.saving.deserialize_keras_object(config, custom_objects)


def _look_through(config: Any, custom_objects: Any) -> None:
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
    """Tells whether Keras makes an object of the config; a function may have the same form."""
    public = _public(config.get("module"), name)
    return public is None or isinstance(public, type)


def _public(module: Any, name: str) -> Any:
    """Returns what has a public name of Keras, or None."""
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
