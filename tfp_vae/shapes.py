"""Whether the distributions of a model fit each other and the data: the one place that says so.

TensorFlow broadcasts what does not fit: a batch of 32 beside a prior of 32 separate numbers gives a
wrong KL, and trains.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError


def posterior_fits(posterior: tfd.Distribution) -> None:
    """Raises `InputError` unless there is one distribution over z for each example."""
    if posterior.batch_shape.rank not in (None, 1):
        raise InputError(
            "The encoder is expected to give one distribution over z for each example, batch shape "
            f"(batch,).{_joined(posterior.batch_shape[1:])}",
            _said(posterior),
        )


def prior_fits(prior: tfd.Distribution, posterior: tfd.Distribution) -> None:
    """Raises `InputError` unless the prior is one distribution over the same z."""
    wanted, batch = posterior.event_shape, prior.batch_shape
    event = prior.event_shape
    if not (event.is_compatible_with(wanted) and batch.rank in (None, 0)):
        hint = ""
        if wanted.is_fully_defined() and batch.concatenate(event).is_compatible_with(wanted):
            hint = _joined(batch)
        elif wanted.is_fully_defined() and batch.rank == event.rank == 0:
            hint = f" Wrap it: tfd.Sample(prior, {wanted.as_list()})."
        raise InputError(
            "The prior is expected to be one distribution over z, batch shape (), event shape "
            f"{_shape(wanted)}, as the posterior's.{hint}",
            _said(prior),
        )
    ours, theirs = (_dtype(each) for each in (posterior, prior))
    if ours and theirs and ours != theirs:
        raise InputError(
            f"The prior is expected to be of the posterior's dtype, {ours.name}: make it of "
            "numbers of that dtype.",
            f"{_said(prior)}, dtype {theirs.name}",
        )


def likelihood_fits(likelihood: tfd.Distribution, x: tf.Tensor) -> None:
    """Raises `InputError` unless there is one distribution over one x for each example."""
    one = tf.TensorShape(x.shape)[1:]
    event, batch = likelihood.event_shape, likelihood.batch_shape
    if event.is_compatible_with(one) and batch.rank in (None, 1):
        return
    hint = f" Give the decoder's last layer that event shape: {_shape(one)}."
    if batch.rank is not None and batch[1:].concatenate(event).is_compatible_with(one):
        hint = _joined(batch[1:])
    raise InputError(
        "Expected one log-likelihood for each example: the event shape of the decoder's "
        f"distribution is the shape of one x, {_shape(one)}, its batch shape (batch,).{hint}",
        _said(likelihood),
    )


def dtypes_fit(log_likelihood: tf.Tensor, posterior: tfd.Distribution) -> None:
    """Raises `InputError` unless posterior and likelihood, which are added up, are of one dtype."""
    ours = _dtype(posterior)
    if ours and ours.is_floating and log_likelihood.dtype != ours:
        raise InputError(
            f"The likelihood is expected to be of the posterior's dtype, {ours.name}: give the "
            "last layers of encoder and decoder parameters of one dtype.",
            f"a log-likelihood of dtype {log_likelihood.dtype.name}",
        )


def _joined(batch: tf.TensorShape) -> str:
    """How to make axes of a batch part of the event."""
    count = batch.rank
    return f" Wrap it: tfd.Independent(distribution, reinterpreted_batch_ndims={count})."


def _dtype(distribution: tfd.Distribution) -> tf.DType | None:
    dtype = getattr(distribution, "tensor_distribution", distribution).dtype
    return dtype if isinstance(dtype, tf.DType) else None


def _shape(shape: tf.TensorShape) -> Any:
    return None if shape.rank is None else tuple(shape)


def _said(distribution: tfd.Distribution) -> str:
    event, batch = _shape(distribution.event_shape), _shape(distribution.batch_shape)
    return f"event shape {event}, batch shape {batch}, of a {distribution.name}"
