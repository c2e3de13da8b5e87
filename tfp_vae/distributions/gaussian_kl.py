"""KL[q || p] of any two Normal distributions, of any of TFP's classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.containers import Independent, Sample
from tfp_vae.errors import InputError

_MVN = tfd.MultivariateNormalLinearOperator
_LowRank = tfd.MultivariateNormalDiagPlusLowRankCovariance


class Gaussian(NamedTuple):
    """A Normal over single numbers, or over vectors with a full covariance, many side by side.

    Attributes:
      base: a `tfd.Normal`, or a `tfd.MultivariateNormalLinearOperator` that is not diagonal.
      axes: how many of the last axes of the batch of `base` belong to the event.
    """

    base: tfd.Distribution
    axes: int


def gaussian(distribution: tfd.Distribution) -> Gaussian:
    """Returns the distribution as a `Gaussian`.

    Raises:
      NotImplementedError: the distribution is of none of TFP's classes of Normals.

    Example:
      >>> found = gaussian(tfd.Sample(tfd.Normal(tf.zeros([5]), 1.), [2, 3]))
      >>> found.base.batch_shape.as_list(), found.axes
      ([5, 1, 1], 2)
    """
    d = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(d, tfd.Normal):
        return Gaussian(d, 0)
    if isinstance(d, _LowRank):
        root = tf.linalg.cholesky(d.covariance())
        return Gaussian(tfd.MultivariateNormalTriL(d.mean(), root), 0)
    if isinstance(d, _MVN):
        single = (tf.linalg.LinearOperatorDiag, tf.linalg.LinearOperatorScaledIdentity)
        if isinstance(d.scale, (*single, tf.linalg.LinearOperatorIdentity)):
            return Gaussian(tfd.Normal(d.mean(), d.stddev()), 1)
        return Gaussian(d, 0)
    if isinstance(d, (Independent, Sample)):
        base, axes = gaussian(d.distribution)
        new = d.event_shape.rank - d.distribution.event_shape.rank
        if isinstance(d, Sample):  # its new axes stand in front of those that the event has
            base = base[(..., *[tf.newaxis] * new, *[slice(None)] * axes)]
        return Gaussian(base, axes + new)
    raise NotImplementedError(f"No Normal: {type(d).__name__}.")


def gaussian_kl(q: tfd.Distribution, p: tfd.Distribution, name: Any = None) -> tf.Tensor:
    """Returns `1/2 (tr(P^-1 Q) + (m_p - m_q)' P^-1 (m_p - m_q) - k + log |P| / |Q|)`, in nats.

    q = N(m_q, Q) and p = N(m_p, P) are over k numbers, of any event shape: Normal, Independent and
    Sample of Normals, and the multivariate Normals, in any pair. Shape: their batch shapes,
    broadcast. The rule is registered for the pairs that TFP has no rule for.

    Raises:
      NotImplementedError: one is no Normal.
      InputError: their event shapes differ.

    Example:
      >>> q = tfd.Independent(tfd.Normal(tf.ones([5, 3]), 1.), 1)
      >>> tfd.kl_divergence(q, tfd.MultivariateNormalTriL(tf.zeros(3), tf.eye(3))).numpy().tolist()
      [1.5, 1.5, 1.5, 1.5, 1.5]
    """
    first, other = gaussian(q), gaussian(p)
    same_events(q, p)
    shape = q.event_shape_tensor()
    if isinstance(first.base, _MVN) or isinstance(other.base, _MVN):
        first, other = (_over_vectors(each, shape[-1:]) for each in (first, other))
        shape = shape[:-1]
    each = tfd.kl_divergence(first.base, other.base, name=name)
    if first.axes == 0:
        return each
    # An axis may be there in one of the two only, or as an axis of 1 in both.
    each = tf.broadcast_to(each, tf.broadcast_dynamic_shape(tf.shape(each), shape))
    return tf.reduce_sum(each, axis=list(range(-first.axes, 0)))


def same_events(q: tfd.Distribution, p: tfd.Distribution) -> None:
    """Raises `InputError` where q and p are known to be over events of different shapes.

    Shapes that differ by an axis of 1, or by a missing axis, would be broadcast without a word.
    """
    ours, theirs = q.event_shape, p.event_shape
    shapes = isinstance(ours, tf.TensorShape) and isinstance(theirs, tf.TensorShape)
    if shapes and not ours.is_compatible_with(theirs):
        raise InputError(
            "A KL divergence is between distributions over the same events: expected q and p of "
            "one event shape (tfd.Independent takes axes of the batch into the event).",
            f"{ours} (q, {q.name}) and {theirs} (p, {p.name})",
        )


def _over_vectors(given: Gaussian, size: tf.Tensor) -> Gaussian:
    """Returns the same with a base over vectors, the last axis of the event."""
    if isinstance(given.base, _MVN):
        return given
    shape = tf.broadcast_dynamic_shape(given.base.batch_shape_tensor(), size)
    loc, scale = (tf.broadcast_to(value, shape) for value in (given.base.loc, given.base.scale))
    return Gaussian(tfd.MultivariateNormalDiag(loc, scale), given.axes - 1)


def _register() -> None:
    kinds = (_MVN, Independent, Sample, _LowRank)
    for pair in ((a, b) for a in kinds for b in kinds):
        try:
            tfd.RegisterKL(*pair)(gaussian_kl)
        except ValueError:  # TFP has a rule of its own, which stays
            continue


_register()
