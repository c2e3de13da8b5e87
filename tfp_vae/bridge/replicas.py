"""Seeds, rows and losses of the replicas of a `tf.distribute` strategy.

Each replica has some rows of a batch. Where there is one replica, nothing here does anything.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_OF_THREAD = threading.local()  # TensorFlow runs the Python code of each replica in a thread


def replica() -> Any:
    """Returns the `tf.distribute.ReplicaContext` of the step, or None of a single replica."""
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def of_replica(seed: tf.Tensor) -> tf.Tensor:
    """Returns the seed of this replica, as replicas share the state that seeds come from."""
    this = replica()
    if this is None:
        return seed
    return tf.random.experimental.stateless_fold_in(seed, this.replica_id_in_sync_group)


def global_batch(rows: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Returns the rows of all replicas in order; the gradient goes to each row's replica."""
    this = replica()
    if this is None:
        return rows
    shape = rows.shape.as_list()
    shape[axis] = None
    return tf.ensure_shape(this.all_gather(rows, axis), shape)


def own_rows(rows: tf.Tensor, count: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Returns the `count` rows of this replica, of the rows of all."""
    this = replica()
    if this is None:
        return rows
    counts = this.all_gather(tf.reshape(count, [1]), 0)
    start = tf.reduce_sum(counts[: this.replica_id_in_sync_group])
    return tf.gather(rows, start + tf.range(count), axis=axis)


def share_of_loss(loss: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns a mean over the `count` rows of this replica, for a right sum over replicas.

    Keras adds up the gradients of the replicas, so that each gradient is multiplied by its share of
    the rows. Keras averages the values by rows; the value of no rows is 0.
    """
    this = replica()
    if this is None:
        return loss
    number = this.num_replicas_in_sync
    rows = tf.cast(this.all_reduce(tf.distribute.ReduceOp.SUM, count), loss.dtype)
    share = tf.cast(count, loss.dtype) / rows
    value = tf.where(count > 0, loss, tf.zeros_like(loss))
    return tf.custom_gradient(lambda v: (v / number, lambda upstream: upstream * share))(value)


def as_keras_averages(logs: Any, strategy: Any) -> Any:
    """Returns the logs of a step as Keras averages them over the replicas of a strategy.

    For replicas of several processes each number gets an axis, along which Keras takes the mean.
    """
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not several or not strategy.cluster_resolver.cluster_spec().as_dict():
        return logs
    return tf.nest.map_structure(lambda value: tf.reshape(value, [1]), logs)


@contextlib.contextmanager
def step() -> Iterator[None]:
    """Delays `after_pass` within a `with` block until `catch_up`, after the losses are read.

    Where replicas meet, TensorFlow stops one and goes on with the next: in the middle of a pass
    another replica's losses would replace those that layers keep for the step.
    """
    _OF_THREAD.later = []
    try:
        yield
    finally:
        del _OF_THREAD.later


def after_pass(do: Callable[[], None]) -> None:
    """Runs what takes all replicas: after the pass, where there is a `step`, else at once."""
    later = getattr(_OF_THREAD, "later", None)
    if later is None or replica() is None:
        do()
    else:
        later.append(do)


def catch_up() -> None:
    """Runs what `after_pass` has delayed."""
    later = getattr(_OF_THREAD, "later", [])
    while later:
        later.pop(0)()
