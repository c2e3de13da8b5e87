"""The origin of a draw, before it became one tensor: its logarithm, or its blocks.

A draw near 0 underflows, or is raised to the smallest number; posterior and prior need the density
of the number before. So the tensor z carries its origin, and a new tensor that is made of z, such
as one more axis, gets the same origin (`moved`).
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
    """The logarithm of a tensor z as it was drawn, or the tensors that z is end to end."""

    log: tf.Tensor | None = None
    blocks: list[tf.Tensor] | None = None


def positive(log: tf.Tensor) -> tf.Tensor:
    """Returns `exp(log)`, at least 2.4e-38 (in float32); its `log_of` is `log`.

    The gradient is that of the exponential that was not raised, as far as its digits reach: the
    upstream gradient, such as 1 / z of a logarithm, is clipped to the largest number first.

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
    """Returns the logarithm of twice the smallest normal number: XLA takes smaller ones as 0."""
    return math.log(2 * float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny))


def known_to_tfp(z: tf.Tensor) -> tf.Tensor:
    """Returns z, a draw with its logarithm, after telling TFP that `tfb.Exp` has the inverse at z.

    TFP's bijectors of one kind share a cache. So the `log_prob` of a user's
    `tfd.RelaxedOneHotCategorical` is at the logarithm that was drawn too.
    """
    exp = tfb.Exp()
    exp._forward = lambda _: z
    exp.forward(log_of(z))
    del exp._forward  # TFP keeps the bijector, which would keep z
    return z


def end_to_end(blocks: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the blocks, joined along the last axis; `blocks_of` gives these very tensors."""
    z = tf.concat(blocks, axis=-1)
    setattr(z, _NAME, Origin(blocks=list(blocks)))
    return z


def log_of(z: Any) -> tf.Tensor | None:
    """Returns the logarithm of z as it was drawn, or None where only z is known.

    Of a z of blocks, the logarithm of those that carry none is computed.
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
    """Returns z along its last axis in pieces of these sizes, each with its origin."""
    blocks = getattr(z, _NAME, Origin()).blocks
    if blocks is not None and [block.shape[-1] for block in blocks] == list(sizes):
        return blocks
    pieces, log = tf.split(z, sizes, axis=-1), log_of(z)
    if log is None:
        return pieces
    logs = tf.split(log, sizes, axis=-1)
    return [_remembered(piece, own) for piece, own in zip(pieces, logs, strict=True)]


def moved(f: Callable[[Any], tf.Tensor], z: Any) -> tf.Tensor:
    """Returns `f(z)` with its origin; f moves entries, or changes the way of their gradient.

    Where z is of blocks, f is of axes before the last.
    """
    origin = getattr(z, _NAME, Origin())
    new = f(z)
    if origin.log is not None:
        return _remembered(new, f(origin.log))
    if origin.blocks is not None:
        setattr(new, _NAME, Origin(blocks=[moved(f, block) for block in origin.blocks]))
    return new


def _log(z: tf.Tensor) -> tf.Tensor:
    """Returns the logarithm, above the floor, so that nothing takes z for a raised number."""
    return tf.math.log(tf.maximum(z, 2 * math.exp(log_floor(z.dtype))))


def _remembered(z: tf.Tensor, log: tf.Tensor) -> tf.Tensor:
    setattr(z, _NAME, Origin(log=log))
    return z
