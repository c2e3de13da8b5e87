"""Training batches as a function of the training step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.data.pixels import training_images
from tfp_vae.errors import InputError
from tfp_vae_cli.options import Binarize

_AHEAD, _AHEAD_BYTES = 64, 2**26  # batches made in advance


@checked
def batches(
    images: np.ndarray,
    batch_size: int,
    binarize: Binarize = "dynamic",
    seed: int = 0,
    first_step: int = 0,
    labels: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Makes an endless data set of float32 batches: batch t is a function of (seed, t) alone.

    Each epoch of `len(images) // batch_size` steps has an order of its own; images that do not fill
    a batch are left out, others each time. So a run that stopped at a step goes on from that step
    (`first_step`) as if it had not stopped, with nothing to store.

    Args:
      images: uint8, `[n, ...]`; other examples are left as they are.
      batch_size: at most n.
      binarize: "dynamic": each pixel is 1 with probability pixel / 255 (to within 1/512), drawn
        afresh each time (Burda et al., arXiv:1509.00519); "fixed": drawn once; "none": pixel / 255.
      seed: for order and pixels. The noise is the same for all images: other images that are used
        beside these need another seed.
      first_step: the first batch's t.
      labels: `[n]`; a batch with labels is a dict of "x" and "label".

    Example:
      >>> from tfp_vae.data import load
      >>> x = next(iter(batches(load("digits").train, 32)))
      >>> x.shape.as_list(), float(tf.reduce_max(x))
      ([32, 8, 8, 1], 1.0)
    """
    if not 1 <= batch_size <= len(images):
        raise InputError(f"Expected a batch size from 1 to {len(images)} images.", batch_size)
    steps = len(images) // batch_size
    ready = binarize == "fixed" or images.dtype != np.uint8
    table = tf.constant(training_images(images, binarize, seed) if ready else images)
    known = None if labels is None else tf.constant(labels, tf.int32)

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(images)), [seed, epoch])
        whole = tf.reshape(shuffled[: steps * batch_size], [steps, batch_size])
        return tf.data.Dataset.from_tensor_slices(whole)

    def batch(step: tf.Tensor, rows: tf.Tensor) -> Any:
        x = pixels(step, tf.gather(table, rows))
        return x if known is None else {"x": x, "label": tf.gather(known, rows)}

    def pixels(step: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        if ready:
            return x
        if binarize == "dynamic":
            return tf.cast(_random_bytes(x.shape, [seed, step]) < x, tf.float32)
        return tf.cast(x, tf.float32) / 255

    forever = np.iinfo(np.int64).max
    rows = tf.data.Dataset.range(first_step // steps, forever).flat_map(order)
    numbered = tf.data.Dataset.zip(
        tf.data.Dataset.range(first_step, forever), rows.skip(first_step % steps)
    )
    # As many ahead as `fit` takes at once: batches are made while it computes.
    ahead = max(4, min(_AHEAD, _AHEAD_BYTES // (4 * batch_size * math.prod(images.shape[1:]))))
    made = numbered.map(batch, num_parallel_calls=2, deterministic=True).prefetch(ahead)
    return made.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _random_bytes(shape: tf.TensorShape, seed: Any) -> tf.Tensor:
    """Draws bytes of 0 to 254, 127 twice as often: white pixels stay white.

    It takes a quarter of the random bits of a uniform, and turns four bytes at a time to 0 to 254.
    """
    size = shape.num_elements()
    words = tf.random.stateless_uniform([-(-size // 4)], seed, None, None, tf.int32)
    high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, 7), 0x01010101)
    return tf.reshape(tf.reshape(tf.bitcast(words - high, tf.uint8), [-1])[:size], shape)
