"""The axis of draws: beside the batch for objectives, within the batch for networks."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def folded(t: tf.Tensor) -> tf.Tensor:
    """Returns `[samples, batch, ...]` with samples and batch as one axis."""
    flat = tf.reshape(t, tf.concat([[-1], tf.shape(t)[2:]], axis=0))
    flat.set_shape([None, *t.shape[2:]])
    return flat


def mean_of_draws(values: tf.Tensor, shares: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the mean over the draws of `[samples, batch]`; with shares, the weighted one."""
    if shares is None:
        return tf.reduce_mean(values, axis=0)
    return tf.reduce_sum(tf.cast(shares, values.dtype) * values, axis=0)


def unfolded(t: tf.Tensor, samples: Any) -> tf.Tensor:
    """Returns the inverse of `folded`."""
    made = tf.reshape(t, tf.concat([[samples, -1], tf.shape(t)[1:]], axis=0))
    made.set_shape([samples if isinstance(samples, int) else None, None, *t.shape[1:]])
    return made
