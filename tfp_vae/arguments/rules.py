"""Checks of the arguments of constructors and methods, in one way: a rule for each name.

A name means the same wherever it stands (`num_samples`, `beta`, `min_scale`), so that its rule is
written down once; `checked` holds the arguments of a function against the rules of their names.
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


_COUNT = Rule(">= 1, an integer", kinds.is_integer)
_COUNT_FROM_0 = Rule(">= 0, an integer", functools.partial(kinds.is_integer, low=0))
_SIZES = Rule("to be an integer >= 1, or a sequence of them", kinds.is_sizes)
_SEQUENCE = Rule(
    "to be a sequence of integers >= 1, such as [64, 64]",
    lambda value: kinds.is_sizes(value) and np.ndim(value) == 1,
)
_ANY_REAL = Rule("to be a finite number", functools.partial(kinds.is_real, low=-math.inf))
_POSITIVE = Rule("> 0, a finite number", functools.partial(kinds.is_real, low=0, above=True))
_FROM_0 = Rule(">= 0, a finite number", functools.partial(kinds.is_real, low=0))
_SHARE = Rule("to be a number in 0..1", functools.partial(kinds.is_real, low=0, high=1))
_WEIGHT = Rule("to be a number >= 0, a variable or a schedule", kinds.is_scheduled)
_BOOL = Rule("to be True or False", kinds.is_bool)
_SEED = Rule("to be None, or an integer in 0..2**32-1", lambda v: kinds.is_integer(v, 0, 2**32 - 1))
_OBJECT = Rule("to be an object", lambda v: v is not None and not inspect.isclass(v))
_FUNCTION = Rule("to be a function", kinds.is_callable)
_LAYER = Rule(
    "to be a distribution layer, such as IndependentNormal(8)",
    lambda value: isinstance(value, keras.layers.Layer),
)


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_rules(
        _COUNT,
        "batch_size block_size conditional_size context_size dimension epochs event_size filters "
        "input_size length num_bounds num_categories num_classes num_codes num_components "
        "num_examples num_flows num_inducing_points num_projections num_samples num_samples_each "
        "num_variables output_size params revive_after total units",
    ),
    **_rules(_COUNT_FROM_0, "done first_step"),
    **_rules(_SIZES, "event_shape kernel_size strides dilation_rate latent_shape"),
    **_rules(_SEQUENCE, "hidden_units levels widths"),
    **_rules(_ANY_REAL, "end middle"),
    **_rules(
        _POSITIVE,
        "prior_temperature scale width",
    ),
    **_rules(
        _FROM_0,
        "commitment diagonal epsilon every_seconds jitter min_concentration min_rate min_scale "
        "min_slope min_total_count",
    ),
    **_rules(_SHARE, "decay dropout restart"),
    **_rules(_WEIGHT, "alpha beta diversity gamma gradient_penalty kl_weight l2 weight z_weight"),
    **_rules(_BOOL, "conditional is_singular mean shared trainable_scale use_bias validate_args"),
    **_rules(_BOOL, "kl_use_exact use_exact_kl"),
    **_rules(_SEED, "seed"),
    **_rules(_OBJECT, "distribution_b encoder decoder prior"),
    **_rules(_FUNCTION, "make_distribution_fn make_posterior_fn make_prior_fn component_layer"),
    **_rules(_LAYER, "likelihood"),
    "objective": Rule(
        "to be one of tfp_vae.objectives, such as ELBO()",
        lambda value: hasattr(value, "needs_density") and not inspect.isclass(value),
    ),
    "input_shape": Rule(
        "to be a shape, such as (28, 28, 1)", lambda v: kinds.is_sizes(v) and np.ndim(v) == 1
    ),
    "images": Rule("to be an array of numbers", kinds.is_array),
    **_rules(
        Rule(f"{_WEIGHT.expected}, or a list of them", kinds.all_scheduled), "capacity free_bits"
    ),
    **_rules(
        Rule(
            f"{_WEIGHT.expected}, or a dict of one for each latent variable",
            functools.partial(kinds.by_variable, kinds.is_scheduled),
        ),
        "beta_by_variable free_bits_by_variable",
    ),
    "capacity_by_variable": Rule(
        f"{_WEIGHT.expected}, a list of them, or a dict of one for each latent variable",
        functools.partial(kinds.by_variable, kinds.all_scheduled),
    ),
    "temperature": Rule(
        "to be a number > 0, a variable or a schedule",
        functools.partial(kinds.is_scheduled, above=True),
    ),
    **_rules(Rule(">= 1, a number", functools.partial(kinds.is_real, low=1)), "period steps"),
    "rise": Rule(
        "to be a number, 0 < rise <= 1", functools.partial(kinds.is_real, low=0, above=True, high=1)
    ),
    "posterior": Rule(
        "to be a number of latents, an integer >= 1, or a layer such as IndependentNormal(8)",
        lambda value: kinds.is_integer(value) or isinstance(value, keras.layers.Layer),
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
