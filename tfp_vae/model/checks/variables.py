"""Checks of a model's variables: their names, their order, and the sizes of what networks take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables


def are_named(latents: Any, observed: Any) -> None:
    """Raises `InputError` unless there are variables of both kinds, each with a name of its own."""
    for what, given in (("latents", latents), ("observed", observed)):
        named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
        if not named or not given:
            raise InputError(f"Expected {what} to be a dict of variables by name.", given)
    for name, pair in latents.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"Expected (posterior, prior) for the latent variable {name}.", pair)
    twice = set(latents) & set(observed)
    if twice:
        raise InputError("Expected each variable to be latent or observed.", ", ".join(twice))


def are_in_order(graph: Variables) -> None:
    """Raises `InputError` where a network takes what is not there by then."""
    taken = set(graph.made) & {*graph.posteriors, *graph.likelihoods}
    if taken:
        raise InputError(
            "Expected deterministic values to have names of their own.", ", ".join(taken)
        )
    of_posteriors = {state for q in graph.posteriors.values() for state in q.puts_out}
    order = [*graph.priors.items(), *graph.likelihoods.items()]
    for number, (name, one) in enumerate(order):
        for other in set(one.inputs) & of_posteriors:
            raise InputError(
                f"Expected the {one.role} to take values that are there without posteriors too.",
                f"{other}, which a posterior puts out",
            )
        for other in set(one.inputs) & {n for n, _ in order[number:]} - {name}:
            ours, theirs = (_steps(graph, n) for n in (name, other))
            if ours is None or ours != theirs:
                raise InputError(
                    f"Expected the {one.role} to take variables that come before it; sequences of "
                    "one length may depend on their steps before.",
                    other,
                )
        if name in one.inputs and not graph.shaped(name).shape:
            raise InputError(
                f"Expected the {one.role} to take variables that come before it: a single number "
                "has no steps before.",
                name,
            )
    unnamed = [n for one in graph.conditionals for n in one.inputs if n.startswith("keras_tensor")]
    if unnamed:
        raise InputError(
            "Expected each keras.Input of a network to have the name of what it takes.",
            ", ".join(unnamed),
        )


def are_of_one_size(graph: Variables) -> None:
    """Raises `InputError` where a network takes a value of another shape than the value has.

    Two networks that take the same data have to agree on its shape, too.
    """
    made = dict(graph.made)
    made.update({name: q.output for name, q in graph.posteriors.items()})
    for one in graph.conditionals:
        for name, tensor in one.inputs.items():
            there = made.setdefault(name, tensor)
            if not _alike(there, tensor):
                raise InputError(
                    f"Expected the {one.role} to take {name} of shape {tuple(there.shape[1:])}.",
                    f"a network that takes {tuple(tensor.shape[1:])}",
                )


def _alike(one: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    a, b = one.shape[1:], other.shape[1:]
    return len(a) == len(b) and all(None in (m, n) or m == n for m, n in zip(a, b, strict=True))


def _steps(graph: Variables, name: str) -> tuple[int | None, ...] | None:
    """Returns the number of steps of a variable, as far as it is known, if it is a sequence."""
    one = graph.shaped(name)
    of_many = one.event_shape is not None and len(one.event_shape) < len(one.shape)
    return one.shape[:1] if one.of_steps or len(one.shape) > 1 or of_many else None
