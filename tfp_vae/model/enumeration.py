"""Latent variables of few values, each of which is tried: draw s has value s."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.bridge.origins import moved
from tfp_vae.errors import InputError
from tfp_vae.model.choosers import Chooser, drawing
from tfp_vae.model.conditional import Conditional, Emitted
from tfp_vae.objectives.term import Term


def enumerating(
    posteriors: Mapping[str, Conditional],
    order: Sequence[str],
    enumerated: Sequence[str],
    samples: int,
) -> Chooser:
    """Returns a chooser of each value of some variables in turn, which draws the others.

    The layer of such a posterior has `all_values()`, `[count, ...]`; the draws are as many as there
    are combinations of values, or a multiple of this number. Variables before an enumerated one
    have the same draw for all of its values, so that q of these values sums to 1.

    Args:
      posteriors: of the latent variables.
      order: the names in the order of inference.
      enumerated: the variables that take each of their values.
      samples: the number of draws.

    Raises:
      InputError: a posterior's values cannot be counted, or the draws are not such a number.
    """
    values: dict[str, np.ndarray] = {}
    for name in [name for name in order if name in enumerated]:
        layer = posteriors[name].layer
        if not hasattr(layer, "all_values"):
            raise InputError(
                f"Expected the posterior of {name} to have few values, such as OneHotCategorical.",
                type(layer).__name__,
            )
        values[name] = layer.all_values()
    counts = [len(each) for each in values.values()]
    if samples % math.prod(counts):
        raise InputError(f"Expected a multiple of {math.prod(counts)} draws.", samples)
    places = np.unravel_index(np.arange(samples) % math.prod(counts), counts)
    chosen = {n: v[place] for (n, v), place in zip(values.items(), places, strict=True)}
    draw, alike = drawing(samples), alike_draws(posteriors, order, enumerated)

    def choose(number: int, name: str, q: Emitted) -> tuple[tf.Tensor, Any]:
        if name not in chosen:
            value, log_q = draw(number, name, q)
            times = alike[name]
            if times == 1:
                return value, log_q
            return moved(lambda t: tf.repeat(t[::times], times, axis=0), value), None
        each = tf.constant(chosen[name], q.distribution.dtype)[:, tf.newaxis]
        batch = q.distribution.batch_shape_tensor()[:1] // (samples if q.is_drawn else 1)
        tail = tf.ones([each.shape.rank - 2], tf.int32)
        return tf.tile(each, tf.concat([[1], batch, tail], 0)), None

    return choose


def alike_draws(
    posteriors: Mapping[str, Conditional], order: Sequence[str], enumerated: Sequence[str]
) -> dict[str, int]:
    """Returns of each variable how many draws in a row are the same: of all values that follow."""
    counts = {name: len(posteriors[name].layer.all_values()) for name in enumerated}
    return {
        name: math.prod(counts.get(later, 1) for later in order[place + 1 :])
        for place, name in enumerate(order)
    }


def share_draws(terms: Mapping[str, Term], enumerated: Sequence[str]) -> tf.Tensor | None:
    """Tells terms, and returns, the share of each draw in a mean over the draws; None: all equal.

    That of a combination of values is q of it, `[samples, batch]`; the draws of one combination
    are alike, and so are all draws where the values are known.
    """
    if not enumerated:
        return None
    log_q = functools.reduce(tf.add, [terms[name].log_q() for name in enumerated])
    shares = tf.nn.softmax(log_q, axis=0)
    for term in terms.values():
        term.shares = shares
    return shares
