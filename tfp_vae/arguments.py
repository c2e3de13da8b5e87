"""Checks of the arguments of constructors and methods, in one way: a rule for each name.

A name means the same wherever it stands (`num_samples`, `beta`, `min_scale`), so that its rule is
written down once; `checked` holds the arguments of a function against the rules of their names.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import operator
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


class Rule(NamedTuple):
    """What a value is expected to be, in words, and whether it is."""

    expected: str
    holds: Callable[[Any], bool]


def checked(function: F, **called: str) -> F:
    """Makes `function` check its arguments, before it does anything, by the rules of their names.

    None is right where the argument may be None, and a value that is not given is not looked at.
    `called` says under which name the rule of an argument stands that means something else here.

    Raises:
      InputError: (when `function` is called) an argument is not what its rule says.

    Example:
      >>> @checked
      ... def draw(num_samples=1):
      ...     return num_samples
      >>> draw(2.5)
      Traceback (most recent call last):
      tfp_vae.errors.InputError: draw: expected num_samples >= 1, an integer. Received: 2.5
    """
    signature = inspect.signature(function)
    of_method = next(iter(signature.parameters), "") in ("self", "cls")
    names = {name: called.get(name, name) for name in signature.parameters}
    rules = {name: RULES[rule] for name, rule in names.items() if rule in RULES}
    of = signature.parameters
    optional = {n for n in rules if of[n].default is None or "None" in str(of[n].annotation)}

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given: dict[str, Any] = {}
        with contextlib.suppress(TypeError):  # then Python's own message is the right one
            given = signature.bind_partial(*args, **kwargs).arguments
        for name, rule in rules.items():
            if name in given and not (given[name] is None and name in optional):
                _hold(rule, name, given[name], function, args[0] if of_method else None)
        return function(*args, **kwargs)

    # Keras and jsonargparse read the arguments of a constructor; not all they use follow a wrapper.
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _hold(rule: Rule, name: str, value: Any, function: Callable[..., Any], owner: Any) -> None:
    if rule.holds(value):
        return
    of = owner.__name__ if inspect.isclass(owner) else type(owner).__name__
    where = function.__name__ if owner is None else of
    if owner is not None and function.__name__ != "__init__":
        where = f"{of}.{function.__name__}"
    raise InputError(f"{where}: expected {name} {rule.expected}.", shown(value))


def shown(value: Any) -> str:
    """A value in a message: a class as what it is, of an array its shape, all else as Python's."""
    if inspect.isclass(value):
        return f"the class {value.__name__}, not an instance of it"
    if isinstance(value, (np.ndarray, tf.Tensor)) and value.shape != ():
        return f"an array of {value.dtype}, shape {tuple(value.shape)}"
    return repr(value)


def number(value: Any) -> float | None:
    """The value of a number, also in an array or tensor of no axes; None for anything else."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or inspect.isclass(value):
        return None
    if isinstance(value, (np.ndarray, tf.Tensor)):
        numeric = value.shape == () and not _is_symbolic(value)
        value = np.asarray(value)[()] if numeric else None
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_symbolic(value: Any) -> bool:
    return tf.is_tensor(value) and not hasattr(value, "numpy")


def _known_later(value: Any) -> bool:
    """A scalar of which only a run knows the value: a variable, or a tensor in a graph."""
    variable = isinstance(value, (tf.Variable, keras.Variable))
    return (variable or _is_symbolic(value)) and len(value.shape) == 0


def is_integer(value: Any, low: int = 1, high: float = math.inf) -> bool:
    """Whether it is an integer within the bounds: Python's, NumPy's or a tensor's, and no bool."""
    if _known_later(value):
        return bool(tf.as_dtype(value.dtype).is_integer)
    if isinstance(value, (bool, np.bool_)) or inspect.isclass(value):
        return False
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    try:
        return low <= operator.index(value) <= high
    except TypeError:
        return False


def is_sizes(value: Any) -> bool:
    """Whether it is a shape: an integer from 1, or a sequence or vector of them."""
    if isinstance(value, tf.TensorShape):
        value = value.as_list() if value.rank is not None else [None]
    if isinstance(value, (np.ndarray, tf.Tensor)):
        if _is_symbolic(value) or value.ndim > 1:
            return False
        value = np.asarray(value).tolist()
        value = value if value or not isinstance(value, list) else ()  # np.array([]) is of floats
    return all(map(is_integer, value)) if isinstance(value, (list, tuple)) else is_integer(value)


def _is_real(value: Any, low: float, above: bool = False, high: float = math.inf) -> bool:
    found = number(value)
    if found is None or not math.isfinite(found):
        return False
    return (low < found if above else low <= found) and found <= high


def _is_scheduled(value: Any, low: float = 0.0, above: bool = False) -> bool:
    if inspect.isclass(value):
        return False
    return callable(value) or _known_later(value) or _is_real(value, low, above)


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1))


def _all_scheduled(value: Any) -> bool:
    several = isinstance(value, (list, tuple)) and len(value) > 0
    return all(map(_is_scheduled, value)) if several else _is_scheduled(value)


def _is_callable(value: Any) -> bool:
    return callable(value) and not (  # a class of TFP's distributions is one, of its parameters
        inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    )


_COUNT = Rule(">= 1, an integer", is_integer)
_COUNT_FROM_0 = Rule(">= 0, an integer", functools.partial(is_integer, low=0))
_SIZES = Rule("to be an integer >= 1, or a sequence of them", is_sizes)
_SEQUENCE = Rule(
    "to be a sequence of integers >= 1, such as [64, 64]",
    lambda value: is_sizes(value) and np.ndim(value) == 1,
)
_ANY_REAL = Rule("to be a finite number", functools.partial(_is_real, low=-math.inf))
_POSITIVE = Rule("> 0, a finite number", functools.partial(_is_real, low=0, above=True))
_FROM_0 = Rule(">= 0, a finite number", functools.partial(_is_real, low=0))
_SHARE = Rule("to be a number in 0..1", functools.partial(_is_real, low=0, high=1))
_WEIGHT = Rule("to be a number >= 0, a variable or a schedule", _is_scheduled)
_BOOL = Rule("to be True or False", _is_bool)
_SEED = Rule("to be None, or an integer in 0..2**32-1", lambda v: is_integer(v, 0, 2**32 - 1))
_OBJECT = Rule("to be an object", lambda v: v is not None and not inspect.isclass(v))
_FUNCTION = Rule("to be a function", _is_callable)
_LAYER = Rule(
    "to be a distribution layer, such as IndependentNormal(8)",
    lambda value: isinstance(value, keras.layers.Layer),
)


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_rules(
        _COUNT,
        "batch_size conditional_size context_size dimension epochs event_size filters input_size "
        "num_bounds num_categories num_classes num_codes num_components num_examples num_flows "
        "num_inducing_points num_projections num_samples num_samples_each num_variables "
        "output_size params period total units",
    ),
    **_rules(_COUNT_FROM_0, "done first_step"),
    **_rules(_SIZES, "event_shape kernel_size strides dilation_rate latent_shape"),
    **_rules(_SEQUENCE, "hidden_units widths"),
    **_rules(_ANY_REAL, "end middle"),
    **_rules(
        _POSITIVE,
        "epsilon every_seconds min_concentration min_rate min_scale min_slope min_total_count "
        "prior_temperature scale width",
    ),
    **_rules(_FROM_0, "commitment diagonal jitter"),
    **_rules(_SHARE, "decay restart"),
    **_rules(_WEIGHT, "alpha beta free_bits gamma gradient_penalty kl_weight l2 weight z_weight"),
    **_rules(_BOOL, "conditional is_singular mean trainable_scale use_bias validate_args"),
    **_rules(_BOOL, "kl_use_exact use_exact_kl"),
    **_rules(_SEED, "seed"),
    **_rules(_OBJECT, "distribution_b encoder decoder objective prior"),
    **_rules(_FUNCTION, "make_distribution_fn make_posterior_fn make_prior_fn component_layer"),
    **_rules(_LAYER, "likelihood kernel_provider"),
    "capacity": Rule(f"{_WEIGHT.expected}, or a list of them", _all_scheduled),
    "temperature": Rule(
        "to be a number > 0, a variable or a schedule",
        functools.partial(_is_scheduled, above=True),
    ),
    "steps": Rule(">= 1, a number", functools.partial(_is_real, low=1)),
    "rise": Rule(
        "to be a number, 0 < rise <= 1", functools.partial(_is_real, low=0, above=True, high=1)
    ),
    "posterior": Rule(
        "to be a number of latents, an integer >= 1, or a layer such as IndependentNormal(8)",
        lambda value: is_integer(value) or isinstance(value, keras.layers.Layer),
    ),
    "posteriors": Rule(
        "to be a sequence of layers such as [IndependentNormal(8), PowerSpherical(3)]",
        lambda value: (
            isinstance(value, (list, tuple))
            and all(isinstance(each, keras.layers.Layer) for each in value)
        ),
    ),
    "body": Rule("to be 'mlp' or 'conv'", lambda value: value in ("mlp", "conv")),
    "binarize": Rule(
        "to be 'dynamic', 'fixed' or 'none'", lambda value: value in ("dynamic", "fixed", "none")
    ),
    "name_or_path": Rule(
        "to be the name of a data set, or the path of a .npy or .npz file (`fit` takes arrays as "
        "they are)",
        lambda value: isinstance(value, (str, os.PathLike)),
    ),
}
