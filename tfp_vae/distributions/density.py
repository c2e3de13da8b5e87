"""The density at the origin of a draw, where the tensor z is too coarse."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import blocks_of, log_floor, log_of, moved
from tfp_vae.distributions import containers
from tfp_vae.distributions.blockwise import parts


def log_density(p: tfd.Distribution, z: Any) -> tf.Tensor:
    """Returns `p.log_prob(z)`, at the logarithm that z was drawn as, where z carries one.

    A tensor cannot hold numbers below 1e-38. A density with a power or the logarithm of such a
    number, such as that of the Gamma or of relaxed one-hot vectors, differs at the smallest number
    (see `origins`); other densities do not.

    Example:
      >>> from tfp_vae.bridge.origins import positive
      >>> z = positive(tf.constant([-400.]))  # z^(1 / 2 - 1) exp(-z) / Gamma(1 / 2)
      >>> round(float(log_density(tfd.Gamma(.5, 1.), z)[0]), 3)
      199.428
    """
    p = getattr(p, "tensor_distribution", p)
    if log_of(z) is None:
        return p.log_prob(z)
    if len(parts(p)) > 1:
        pieces = blocks_of(z, [part.event_shape[-1] for part in parts(p)])
        return tf.add_n([log_density(*pair) for pair in zip(parts(p), pieces, strict=True)])
    for kind, rule in _RULES.items():
        if isinstance(p, kind):
            return rule(p, z)
    return p.log_prob(z)


def with_power(
    log_prob: Callable[[tf.Tensor], tf.Tensor], power: tf.Tensor, z: tf.Tensor, ndims: int = 0
) -> tf.Tensor:
    """Returns `log_prob(z)` of a density that goes as `z^power` near 0, z of `ndims` axes.

    The gradient of raised entries is through the logarithm alone: the one through 1 / z overflows.
    """
    log = log_of(z)
    if log is None:
        return log_prob(z)
    floor = log_floor(z.dtype)
    raised = log < floor
    value = log_prob(tf.where(raised, tf.exp(tf.constant(floor, z.dtype)), z))
    below = power * tf.where(raised, log - floor, tf.zeros_like(log))
    return value + tf.reduce_sum(below, axis=list(range(-ndims, 0)))


def _independent(p: Any, z: tf.Tensor) -> tf.Tensor:
    each = log_density(p.distribution, z)
    count = p.event_shape.rank - p.distribution.event_shape.rank
    return tf.reduce_sum(each, axis=list(range(-count, 0)))


def _sample(p: Any, z: tf.Tensor) -> tf.Tensor:
    if p.distribution.batch_shape.rank or p.distribution.event_shape.rank:
        return p.log_prob(z)
    return tf.reduce_sum(log_density(p.distribution, z), axis=list(range(-p.event_shape.rank, 0)))


def _transformed(p: Any, z: tf.Tensor) -> tf.Tensor:
    if isinstance(p.bijector, tfb.Reshape):
        return log_density(p.distribution, moved(p.bijector.inverse, z))
    chain = p.bijector.bijectors if isinstance(p.bijector, tfb.Chain) else [p.bijector]
    if not chain or not isinstance(chain[0], tfb.Exp):
        return p.log_prob(z)
    log, base = log_of(z), p.distribution
    if chain[1:]:
        base = tfd.TransformedDistribution(base, tfb.Chain(chain[1:]))
    return base.log_prob(log) - tf.reduce_sum(log, axis=list(range(-p.event_shape.rank, 0)))


def _mixture_same_family(p: Any, z: tf.Tensor) -> tf.Tensor:
    weights = tf.math.log_softmax(p.mixture_distribution.logits_parameter())
    axis = -1 - p.event_shape.rank
    each = log_density(p.components_distribution, moved(functools.partial(_expand, axis), z))
    return tf.reduce_logsumexp(weights + each, axis=-1)


def _mixture(p: Any, z: tf.Tensor) -> tf.Tensor:
    weights = tf.math.log_softmax(p.cat.logits_parameter())
    each = tf.stack([log_density(component, z) for component in p.components], axis=-1)
    return tf.reduce_logsumexp(weights + each, axis=-1)


def _expand(axis: int, t: tf.Tensor) -> tf.Tensor:
    return tf.expand_dims(t, axis)


def _power(power: Callable[[Any], Any], ndims: int = 0) -> Callable[[Any, Any], tf.Tensor]:
    return lambda p, z: with_power(p.log_prob, tf.convert_to_tensor(power(p)), z, ndims)


# The first that fits: some distributions with a power are transformed ones too.
_RULES: dict[Any, Callable[[Any, Any], tf.Tensor]] = {
    tfd.Gamma: _power(lambda p: p.concentration - 1),
    tfd.Chi2: _power(lambda p: p.df / 2 - 1),
    tfd.Chi: _power(lambda p: p.df - 1),
    tfd.Beta: _power(lambda p: p.concentration1 - 1),
    tfd.Kumaraswamy: _power(lambda p: p.concentration1 - 1),
    tfd.Weibull: _power(lambda p: p.concentration - 1),
    tfd.Dirichlet: _power(lambda p: p.concentration - 1, ndims=1),
    containers.Independent: _independent,
    containers.Sample: _sample,
    containers.MixtureSameFamily: _mixture_same_family,
    containers.Mixture: _mixture,
    containers.TransformedDistribution: _transformed,
}
