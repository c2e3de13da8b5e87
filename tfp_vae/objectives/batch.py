"""What an objective asks about a step and its batch, of all replicas: seeds, and weighted means."""

from __future__ import annotations

import tensorflow as tf

from tfp_vae.bridge.replicas import global_batch, of_replica
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.term import Term


def seed_of_step(forward: Forward, number: int, of_all: bool = False) -> tf.Tensor:
    """Returns a seed for each step, number and replica, the same when a run is repeated or resumed.

    `of_all`: the same on all replicas.
    """
    seed = tf.stack([tf.cast(forward.step, tf.int32), number])
    return seed if of_all else of_replica(seed)


def draws_of_its_own(forward: Forward, term: Term, number: int) -> tf.Tensor:
    """Returns draws from q, independent of the value, other ones for each step and number."""
    return term.draws(seed_of_step(forward, number))


def share_of_unknown(forward: Forward, term: Term) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the share of examples whose value is not known, and `[batch]`, 1 for each of these.

    Both are 1 where no value is known.
    """
    if term.known is None:
        one = tf.ones_like(forward.nll)
        return tf.ones([], one.dtype), one
    unknown = tf.cast(~term.known, forward.nll.dtype)
    return batch_mean(unknown, forward), unknown


def batch_mean(values: tf.Tensor, forward: Forward) -> tf.Tensor:
    """Returns the mean over the examples of all replicas, by their sample weights."""
    values = global_batch(values)
    if forward.weights is None:
        return tf.reduce_mean(values, axis=0)
    weights = tf.cast(global_batch(forward.weights), values.dtype)
    total = tf.tensordot(weights, values, [[0], [0]])
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights))
