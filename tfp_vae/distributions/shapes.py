"""Checks that the distributions of a model fit each other and the data.

TensorFlow would broadcast: a batch of 32 and a prior of 32 separate numbers give a wrong KL.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError


def posterior_fits(posterior: tfd.Distribution, called: str = "", of_steps: bool = False) -> None:
    """Raises `InputError` unless there is one distribution over z for each example.

    `of_steps`: or for each step of a sequence.
    """
    if not _has_one_for_each(posterior, of_steps):
        raise InputError(
            f"The encoder{called} is expected to give one distribution over z for each example, "
            f"batch shape (batch,).{_joined(posterior.batch_shape[1:])}",
            _said(posterior),
        )


def _has_one_for_each(distribution: tfd.Distribution, of_steps: bool) -> bool:
    """Returns whether there is one distribution for each example, or for each step of a sequence.

    An axis of separate numbers is one of steps only where the network takes any number of steps.
    """
    rank = distribution.batch_shape.rank
    return (
        rank in (None, 1)
        or (rank == 2 and distribution.event_shape.rank != 0)
        or (rank != 0 and of_steps)
    )


def prior_fits(
    prior: tfd.Distribution, posterior: tfd.Distribution, called: str = "", of_rows: bool = False
) -> None:
    """Raises `InputError` unless the prior is one distribution over the same z.

    `of_rows`: the prior depends on other values: one distribution for each row.
    """
    wanted, batch = posterior.event_shape, prior.batch_shape
    event = prior.event_shape
    rank = posterior.batch_shape.rank if of_rows else 0
    alike = None in (batch.rank, rank) or batch.rank == rank
    if not (event.is_compatible_with(wanted) and alike):
        hint = ""
        if wanted.is_fully_defined() and batch.concatenate(event).is_compatible_with(wanted):
            hint = _joined(batch)
        elif wanted.is_fully_defined() and batch.rank == event.rank == 0:
            hint = f" Wrap it: tfd.Sample(prior, {wanted.as_list()})."
        raise InputError(
            f"The prior{called} is expected to be one distribution over z, batch shape (), event "
            f"shape {_shape(wanted)}, as the posterior's.{hint}",
            _said(prior),
        )
    ours, theirs = (_dtype(each) for each in (posterior, prior))
    if ours and theirs and ours != theirs:
        raise InputError(
            f"The prior{called} is expected to be of the posterior's dtype, {ours.name}: make it "
            "of numbers of that dtype.",
            f"{_said(prior)}, dtype {theirs.name}",
        )


def likelihood_fits(likelihood: tfd.Distribution, x: tf.Tensor, of_steps: bool = False) -> None:
    """Raises `InputError` unless there is one distribution over one x for each example.

    A sequence has one for each step: the further axes of the batch are axes of x.
    """
    one = tf.TensorShape(x.shape)[1:]
    event, batch = likelihood.event_shape, likelihood.batch_shape
    whole = event if batch.rank is None else batch[1:].concatenate(event)
    if _has_one_for_each(likelihood, of_steps) and whole.is_compatible_with(one):
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
    """Raises `InputError` unless posterior and likelihood are of one dtype, to be summed."""
    ours = _dtype(posterior)
    if ours and ours.is_floating and log_likelihood.dtype != ours:
        raise InputError(
            f"The likelihood is expected to be of the posterior's dtype, {ours.name}: give the "
            "last layers of encoder and decoder parameters of one dtype.",
            f"a log-likelihood of dtype {log_likelihood.dtype.name}",
        )


def _joined(batch: tf.TensorShape) -> str:
    """Says how to make axes of a batch part of the event."""
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
