"""A lambda from a file: Keras loads the code without the globals that the code reads."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.errors import InputError

_USUAL: dict[str, Any] = {
    "tf": tf,
    "tfp": tfp,
    "tfd": tfp.distributions,
    "tfb": tfp.bijectors,
    "np": np,
    "keras": keras,
    "tfk": keras,
    "tfkl": keras.layers,
}


def with_names(function: Any) -> Any:
    """Returns `function`, with globals where it is a lambda from a file.

    The globals are those of `custom_objects`, and `tf`, `tfp`, `tfd`, `tfb`, `tfpl`, `np` and
    `keras` as programs of TFP use these names.
    """
    if not isinstance(function, types.FunctionType) or not _from_a_file(function):
        return function
    known = dict(function.__globals__)
    missing = []
    for name in sorted(set(_globals_of(function.__code__))):
        value = keras.saving.get_registered_object(name)
        value = _usual(name) if value is None else value
        if value is not None:
            known[name] = value
        elif name not in known and name not in known["__builtins__"]:
            missing.append(name)
    if missing:
        raise InputError(
            "Expected every name that a lambda of the file uses, which Keras does not save: give "
            "load_model custom_objects={...} with these, or save a function that is registered "
            "with keras.saving.register_keras_serializable.",
            f"a lambda that uses {', '.join(missing)}",
        )
    made = types.FunctionType(
        function.__code__, known, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _from_a_file(function: types.FunctionType) -> bool:
    module = function.__globals__.get("__name__", "")
    return function.__name__ == "<lambda>" and module.startswith("keras.src.")


def _usual(name: str) -> Any:
    return sys.modules["tfp_vae.layers"] if name == "tfpl" else _USUAL.get(name)


def _globals_of(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)
