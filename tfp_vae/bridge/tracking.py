"""The variables and layers within a function or a distribution, in the form that Keras tracks.

Keras tracks attributes of a layer, but neither a `tf.Variable` nor what a function closes over: a
trainable prior, or a network inside a bijector, would neither be trained nor saved.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae.bridge.eager_variables import made_outside, stateless
from tfp_vae.errors import InputError

_PARAMETERIZED = (
    tfp.distributions.Distribution,
    tfp.bijectors.Bijector,
    tfp.math.psd_kernels.PositiveSemidefiniteKernel,
)
# Their functions' globals are no state of a model.
_LIBRARIES = {"keras", "numpy", "tensorflow", "tensorflow_probability", "tf_keras", "tfp_vae"}


class Held:
    """The variables and layers within `root`: in closures, globals of functions, and parameters.

    Args:
      root: a function, a distribution, or what may lead to one.
      owner: the layer that tracks them, of which only the attributes are searched.

    Attributes:
      variables: as `keras.Variable`s, one for each `tf.Variable` or `keras.Variable`.
      layers: the Keras layers and models.
      leads_back: whether the owner was found.

    Raises:
      InputError: a distribution or bijector was constructed from a `keras.Variable`, whose value
        TFP reads once.

    Example:
      >>> base = tfd.Normal(tf.Variable(0.), tfp.util.TransformedVariable(1., tfp.bijectors.Exp()))
      >>> len(Held(base).variables)
      2
    """

    def __init__(self, root: Any, owner: keras.layers.Layer | None = None) -> None:
        self.variables: list[keras.Variable] = []
        self.layers: list[keras.layers.Layer] = []
        self.leads_back = False
        self._owner = owner
        self._seen: dict[int, Any] = {}  # keeps what was seen alive, for ids to stay its own
        self._walk(root)

    def _walk(self, value: Any) -> None:
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, keras.Variable):
            self.variables.append(value)
        elif isinstance(value, tf.Variable):
            self._walk(as_keras_variable(value))
        elif value is self._owner and value is not None:
            self.leads_back = True
            for part in list(vars(value).values()):
                self._walk(part)
        elif isinstance(value, keras.layers.Layer):
            self.layers.append(value)
        else:
            for part in _parts(value):
                self._walk(part)


def as_keras_variable(variable: tf.Variable) -> keras.Variable:
    """Returns the one `keras.Variable` whose storage is this `tf.Variable`."""
    known = getattr(variable, "_keras_variable", None)
    if known is None:
        name = variable.name.split(":")[0].replace("/", "_")
        make = functools.partial(keras.Variable, variable, name=name, trainable=variable.trainable)
        known = made_outside(make) if stateless() else make()
        variable._keras_variable = known
    return known


def _parts(value: Any) -> Iterator[Any]:
    """Yields the parts of `value` that may be, or lead to, a variable or a layer."""
    if isinstance(value, _PARAMETERIZED):
        parameters = getattr(value, "tensor_distribution", value).parameters
        for key, entry in parameters.items():
            if isinstance(entry, keras.Variable):
                raise InputError(
                    f"Expected {key} of {type(value).__name__} to be a tf.Variable: TFP reads a "
                    "keras.Variable once, when the distribution is made. Give it `variable.value`, "
                    "or make the distribution anew in a function.",
                    entry,
                )
        yield from parameters.values()
        yield from value.variables
    elif isinstance(value, tf.Module):
        yield from value.variables
        yield getattr(value, "transform_fn", None)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from _held_by_function(value)
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif not isinstance(value, (type, types.ModuleType)) and _is_of_users(type(value)):
        yield from getattr(value, "__dict__", {}).values()


def _held_by_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is not bound yet holds nothing
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    if _is_of_users(function):
        for name in _global_names(function.__code__):
            yield function.__globals__.get(name)


def _global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _is_of_users(value: Any) -> bool:
    """Tells whether a class or function is the user's own, and no library's of `_LIBRARIES`."""
    top = (getattr(value, "__module__", None) or "builtins").split(".")[0]
    return top not in _LIBRARIES and top != "builtins"
