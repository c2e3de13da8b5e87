"""How a pass takes values of latent variables: drawn, given, or one that stands for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import moved
from tfp_vae.model.conditional import Conditional, Emitted
from tfp_vae.objectives.draw_axis import unfolded

# From a variable's number and name and its q to a value `[samples, batch, ...]`, and what gives
# log q there.
Chooser: TypeAlias = Callable[[int, str, Emitted], tuple[tf.Tensor, Any]]


def drawing(samples: Any, seed: Any = None) -> Chooser:
    """Returns a chooser that draws from the posteriors, by a seed or each posterior's own."""
    alone = isinstance(samples, int) and samples == 1

    def choose(number: int, name: str, q: Emitted) -> tuple[tf.Tensor, Any]:
        del name
        d, its = q.distribution, seed
        if seed is not None and number:
            its = tf.random.experimental.stateless_fold_in(seed, number)
        if q.is_drawn:
            drawn = tf.convert_to_tensor(d) if its is None else d.sample(seed=its)
            unfold = functools.partial(unfolded, samples=samples)
            return moved(unfold, drawn), lambda: unfold(d.log_prob(drawn))
        if alone and its is None:
            drawn = tf.convert_to_tensor(d)
            value = moved(lambda t: t[tf.newaxis], drawn)
            # A flow knows the density for the tensor that it drew.
            return value, lambda: d.log_prob(drawn)[tf.newaxis]
        drawn = d.sample(samples, seed=its)
        return drawn, lambda: d.log_prob(drawn)

    return choose


def standing_in(posteriors: Mapping[str, Conditional]) -> Chooser:
    """Returns a chooser of the mean of each posterior, or of what its layer takes instead."""

    def choose(number: int, name: str, q: Emitted) -> tuple[tf.Tensor, Any]:
        del number
        return tf.expand_dims(representative(posteriors[name].layer, q.distribution), 0), None

    return choose


def representative(layer: Any, posterior: tfd.Distribution) -> tf.Tensor:
    """Returns the value that stands for a posterior: the mean, unless the layer says otherwise."""
    return getattr(layer, "representative", tfd.Distribution.mean)(posterior)


def at(values: Mapping[str, tf.Tensor]) -> Chooser:
    """Returns a chooser of these values, `[samples, batch, ...]`."""
    return lambda number, name, q: (values[name], None)
