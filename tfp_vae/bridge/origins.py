"""What a draw was before it became a tensor: its logarithm, or the blocks that it is made of.

A draw near 0 underflows, or is raised to the smallest number. Its density is that of the number
before, which a posterior and a prior both need: they meet at z alone. So the tensor z carries its
origin, and what makes a new tensor of z, such as one more axis, makes the origin's along with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

_NAME = "_tfp_vae_origin"


class Origin(NamedTuple):
    """Of a tensor z: its logarithm as it was drawn, or the tensors that z is end to end."""

    log: tf.Tensor | None = None
    blocks: list[tf.Tensor] | None = None


def positive(log: tf.Tensor) -> tf.Tensor:
    """`exp(log)`, raised to 2.4e-38 (in float32) where it would underflow; `log_of` is `log`.

    The gradient is that of the exponential that was not raised, as far as its digits reach: what
    comes back, such as 1 / z of a logarithm, is held to the largest number before it meets z.

    Example:
      >>> z = positive(tf.constant([-400., 0.]))
      >>> [f"{value:.1e}" for value in z.numpy()], log_of(z).numpy().tolist()
      (['2.4e-38', '1.0e+00'], [-400.0, 0.0])
    """
    log = tf.convert_to_tensor(log)

    def run(log: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        z = tf.exp(tf.maximum(log, log_floor(log.dtype)))
        largest = log.dtype.max
        return z, lambda upstream: tf.clip_by_value(upstream, -largest, largest) * z

    return _remembered(tf.custom_gradient(run)(log), log)


def log_floor(dtype: Any) -> float:
    """The logarithm of (twice) the smallest normal number: XLA takes smaller ones as 0."""
    return math.log(2 * float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny))


def known_to_tfp(z: tf.Tensor) -> tf.Tensor:
    """z, a draw that carries its logarithm: from now the inverse at z of the `tfb.Exp` of TFP.

    TFP's bijectors keep what they have computed, those of a kind together. So the `log_prob` of a
    user's `tfd.RelaxedOneHotCategorical` is at the logarithm that was drawn too.

    Example:
      >>> z = known_to_tfp(positive(tf.constant([-400.])))
      >>> tfp.bijectors.Exp().inverse(z).numpy().tolist()
      [-400.0]
    """
    exp = tfb.Exp()
    exp._forward = lambda _: z
    exp.forward(log_of(z))
    del exp._forward  # TFP keeps the bijector, which would keep z
    return z


def end_to_end(blocks: Sequence[tf.Tensor]) -> tf.Tensor:
    """The blocks, joined along the last axis; `blocks_of` gives these very tensors."""
    z = tf.concat(blocks, axis=-1)
    setattr(z, _NAME, Origin(blocks=list(blocks)))
    return z


def log_of(z: Any) -> tf.Tensor | None:
    """The logarithm of z as it was drawn; None where z is all that is known.

    Of a z of blocks, of which some carry theirs, that of the others is computed.
    """
    origin = getattr(z, _NAME, Origin())
    if origin.blocks is None:
        return origin.log
    logs = [log_of(block) for block in origin.blocks]
    if all(log is None for log in logs):
        return None
    pairs = zip(origin.blocks, logs, strict=True)
    return tf.concat([_log(block) if log is None else log for block, log in pairs], axis=-1)


def blocks_of(z: Any, sizes: Sequence[int]) -> list[tf.Tensor]:
    """z along its last axis in pieces of these sizes, each with its origin."""
    blocks = getattr(z, _NAME, Origin()).blocks
    if blocks is not None and [block.shape[-1] for block in blocks] == list(sizes):
        return blocks
    pieces, log = tf.split(z, sizes, axis=-1), log_of(z)
    if log is None:
        return pieces
    logs = tf.split(log, sizes, axis=-1)
    return [_remembered(piece, own) for piece, own in zip(pieces, logs, strict=True)]


def moved(f: Callable[[Any], tf.Tensor], z: Any) -> tf.Tensor:
    """`f(z)`, with its origin: f only moves entries, or passes their gradient another way.

    Where z is of blocks, f is one of axes before the last.

    Example:
      >>> z = positive(tf.constant([-400., 0.]))
      >>> log_of(moved(lambda t: t[tf.newaxis], z)).numpy().tolist()
      [[-400.0, 0.0]]
    """
    origin = getattr(z, _NAME, Origin())
    new = f(z)
    if origin.log is not None:
        return _remembered(new, f(origin.log))
    if origin.blocks is not None:
        setattr(new, _NAME, Origin(blocks=[moved(f, block) for block in origin.blocks]))
    return new


def _log(z: tf.Tensor) -> tf.Tensor:
    """The logarithm, where z is positive; above the floor, so that nothing takes z for raised."""
    return tf.math.log(tf.maximum(z, 2 * math.exp(log_floor(z.dtype))))


def _remembered(z: tf.Tensor, log: tf.Tensor) -> tf.Tensor:
    setattr(z, _NAME, Origin(log=log))
    return z
