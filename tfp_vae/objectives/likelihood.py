"""`log p(x | values)` of data under one draw of the values or several."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.masks import along
from tfp_vae.distributions import fused, shapes, unknown
from tfp_vae.wiring import tile


def log_likelihood(
    likelihood: tfd.Distribution,
    x: Any,
    num_samples: int | tf.Tensor,
    by_xla: bool = False,
    mask: Any = None,
    of_steps: bool = False,
    has_unknown: bool = False,
) -> tf.Tensor:
    """Returns `log p(x|z)`, `[num_samples, n]`, of a likelihood of batch `[num_samples * n]`.

    Further axes of the batch, such as the steps of a sequence, are summed. The data are tiled
    (`tfd.BatchReshape` of a likelihood would need static shapes); a single x is broadcast.
    `by_xla`: in one loop, if `fused` knows the likelihood. `mask`: of Keras, over the batch; what
    it hides counts nothing. `of_steps`: a batch has axes of steps, of any number. `has_unknown`:
    entries of x may be NaN; the density is the marginal one of the others.
    """
    known = None
    if has_unknown:
        x, known = unknown.apart(x)
    x = tf.cast(x, likelihood.dtype)
    shapes.likelihood_fits(likelihood, x, of_steps)
    if by_xla and mask is None and known is None and fused.can_fuse(likelihood):
        return fused.log_likelihood(likelihood, x, num_samples)
    alone = isinstance(num_samples, int) and num_samples == 1
    if x.shape[0] != 1 and not alone:
        x = tile(x, num_samples)
        known = None if known is None else tile(known, num_samples)
    if known is None:
        values = likelihood.log_prob(x)
    else:
        values = unknown.log_prob_of_known(likelihood, x, known)
    if values.shape.rank in (None, 1) and mask is None:
        return tf.reshape(values, [num_samples, -1])
    return tf.reshape(summed(values, mask, 1), [num_samples, -1])


def summed(values: tf.Tensor, mask: Any, axes: int) -> tf.Tensor:
    """Returns the sum over all but the first axes, of what the mask does not hide."""
    if mask is not None and values.shape.rank > axes:
        mask = along(values, mask)
        values = tf.where(tf.cast(mask, tf.bool), values, tf.zeros_like(values))
    return tf.reduce_sum(values, axis=list(range(axes, values.shape.rank)))
