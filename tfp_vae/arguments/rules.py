"""Checks of the arguments of constructors and methods, by one rule for each name.

A name means the same everywhere (`num_samples`, `beta`, `min_scale`).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np

from tfp_vae.arguments import kinds
from tfp_vae.arguments.kinds import shown
from tfp_vae.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


class Rule(NamedTuple):
    """An expectation of a value, in words and as a function."""

    expected: str
    holds: Callable[[Any], bool]


def checked(function: F, **called: str) -> F:
    """Makes a function check its arguments first, by the rules of their names.

    None is right where the argument may be None; a default is not checked. `called` gives the rule
    of another name to an argument that means something else here.

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

    # For Keras and jsonargparse, which read the arguments of a constructor.
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


_WEIGHT = "to be a number >= 0, a variable or a schedule"


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def _is_sequence(value: Any) -> bool:
    return kinds.is_sizes(value) and np.ndim(value) == 1


def _is_object(value: Any) -> bool:
    return value is not None and not inspect.isclass(value)


def _real(low: float, **bounds: Any) -> Callable[[Any], bool]:
    return functools.partial(kinds.is_real, low=low, **bounds)


# The names of arguments, and the rule that they share.
_TABLE = {
    "batch_size block_size conditional_size context_size dimension epochs event_size filters "
    "input_size length num_bounds num_categories num_centroids num_classes num_codes "
    "num_components num_examples num_flows num_inducing_points num_iterations num_projections "
    "num_samples num_samples_each num_steps num_variables output_size params revive_after "
    "total units": Rule(">= 1, an integer", kinds.is_integer),
    "done first_step": Rule(">= 0, an integer", functools.partial(kinds.is_integer, low=0)),
    "seed": Rule(
        "to be None, or an integer in 0..2**32-1", lambda v: kinds.is_integer(v, 0, 2**32 - 1)
    ),
    "event_shape kernel_size strides dilation_rate latent_shape": Rule(
        "to be an integer >= 1, or a sequence of them", kinds.is_sizes
    ),
    "hidden_units levels widths": Rule(
        "to be a sequence of integers >= 1, such as [64, 64]", _is_sequence
    ),
    "input_shape": Rule("to be a shape, such as (28, 28, 1)", _is_sequence),
    "images": Rule("to be an array of numbers", kinds.is_array),
    "end middle value": Rule("to be a finite number", _real(-math.inf)),
    "curvature largest_step_size least prior_temperature scale step_size width": Rule(
        "> 0, a finite number", _real(0, above=True)
    ),
    "commitment diagonal epsilon every_seconds jitter min_concentration min_rate min_scale "
    "min_slope min_total_count": Rule(">= 0, a finite number", _real(0)),
    "decay dropout rate restart": Rule("to be a number in 0..1", _real(0, high=1)),
    "inverse_temperature": Rule("to be a number above 0, at most 1", _real(0, above=True, high=1)),
    "rise": Rule("to be a number, 0 < rise <= 1", _real(0, above=True, high=1)),
    "period steps": Rule(">= 1, a number", _real(1)),
    "alpha beta diversity gamma gradient_penalty kl_weight l2 trust weight z_weight": Rule(
        _WEIGHT, kinds.is_scheduled
    ),
    "beta_by_variable free_bits_by_variable": Rule(
        f"{_WEIGHT}, or a dict of one for each latent variable",
        functools.partial(kinds.by_variable, kinds.is_scheduled),
    ),
    "capacity free_bits": Rule(f"{_WEIGHT}, or a list of them", kinds.all_scheduled),
    "capacity_by_variable": Rule(
        f"{_WEIGHT}, a list of them, or a dict of one for each latent variable",
        functools.partial(kinds.by_variable, kinds.all_scheduled),
    ),
    "temperature": Rule(
        "to be a number > 0, a variable or a schedule",
        functools.partial(kinds.is_scheduled, above=True),
    ),
    "balance conditional enumerated is_singular mean shared trainable_scale use_bias validate_args "
    "kl_use_exact "
    "use_exact_kl": Rule("to be True or False", kinds.is_bool),
    "distribution_b encoder decoder prior": Rule("to be an object", _is_object),
    "make_distribution_fn make_posterior_fn make_prior_fn component_layer": Rule(
        "to be a function", kinds.is_callable
    ),
    "likelihood": Rule("to be a distribution layer, such as IndependentNormal(8)", _is_layer),
    "posterior": Rule(
        "to be a number of latents, an integer >= 1, or a layer such as IndependentNormal(8)",
        lambda v: kinds.is_integer(v) or _is_layer(v),
    ),
    "posteriors": Rule(
        "to be a sequence of layers such as [IndependentNormal(8), PowerSpherical(3)]",
        lambda v: isinstance(v, (list, tuple)) and all(map(_is_layer, v)),
    ),
    "objective": Rule(
        "to be one of tfp_vae.objectives, such as ELBO()",
        lambda v: hasattr(v, "needs_density") and not inspect.isclass(v),
    ),
    "body": Rule("to be 'mlp' or 'conv'", lambda v: v in ("mlp", "conv")),
    "binarize": Rule(
        "to be 'dynamic', 'fixed' or 'none'", lambda v: v in ("dynamic", "fixed", "none")
    ),
    "name_or_path": Rule(
        "to be the name of a data set, or the path of a .npy or .npz file (`fit` takes arrays as "
        "they are)",
        lambda v: isinstance(v, (str, os.PathLike)),
    ),
}
RULES = {name: rule for names, rule in _TABLE.items() for name in names.split()}
