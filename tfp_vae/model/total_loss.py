"""The end of every loss: what layers add to it, and the share of a replica."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tfp_vae.bridge import replicas


def total_loss(loss: tf.Tensor, added: Iterable[tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """Returns a mean over the rows of this replica with what layers have added to the losses.

    The sum of the gradients over replicas is that of the mean over all rows.

    Args:
      loss: the mean, a scalar.
      added: what layers have added.
      rows: how many.
    """
    for more in added:
        loss += tf.cast(tf.reduce_sum(more), loss.dtype)
    replicas.catch_up()
    return replicas.share_of_loss(loss, rows)
