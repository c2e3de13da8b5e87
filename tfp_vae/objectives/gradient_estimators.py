"""Estimators of the gradient of a bound with several samples.

A bound L is a function of the log-weights `log w_k = log p(x, z_k) - log q(z_k|x)`, with slopes
`c_k = dL / d log w_k`. Its gradient has three parts, and an estimator gives each a weight for each
draw: the model's parameters (`model * grad log p(x, z_k)`), the path through z to the encoder
(`path * d log w_k / dz_k`), and the density of q at a fixed z (`score * -grad log q(z_k|x)`).
Automatic differentiation has the weight c_k for all three.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfp_vae.objectives.forward import Forward

# A weight for the model no smaller than this share of the path's keeps their ratio, by which the
# gate multiplies, finite; in float32 it is lost in the rounding of the sum over draws.
_LEAST = 2.0**-20


class Weights(NamedTuple):
    """The weights of the parts of the gradient, each `[num_samples, batch]`; None: 0."""

    model: tf.Tensor
    path: tf.Tensor | None
    score: tf.Tensor | None


def sticking_the_landing(slopes: tf.Tensor) -> Weights:
    """Leaves out the score: its mean is 0 at constant slopes (Roeder et al., arXiv:1703.09194)."""
    return Weights(slopes, slopes, None)


def doubly_reparameterized(slopes: tf.Tensor, curvatures: tf.Tensor) -> Weights:
    """Leaves out the score, and subtracts its mean, `dc_k / d log w_k` through z, from the path.

    `E[c_k grad log q] = E[(dc_k / d log w_k) (d log w_k / dz_k) dz_k/dphi]` by reparameterizing
    once more (Tucker et al., arXiv:1810.04152).
    """
    return Weights(slopes, slopes - curvatures, None)


def vimco(log_weights: tf.Tensor, slopes: tf.Tensor, bound: Callable, groups: int) -> Weights:
    """Leaves out the path: REINFORCE on `L - L_k`, L_k with log w_k the mean of its group.

    For z without a gradient, such as one-hot vectors (Mnih and Rezende, arXiv:1602.06725).
    """
    count = log_weights.shape[0]
    each = tf.reshape(log_weights, [groups, count // groups, -1])
    others = (tf.reduce_sum(each, axis=1, keepdims=True) - each) / (count // groups - 1)
    others = tf.reshape(others, tf.shape(log_weights))
    own = tf.eye(count, dtype=tf.bool)[:, :, tf.newaxis]  # [draw, the one that is replaced, batch]
    replaced = tf.where(own, others[:, tf.newaxis], log_weights[:, tf.newaxis])
    without = tf.reshape(bound(tf.reshape(replaced, [count, -1])), tf.shape(log_weights))
    advantage = bound(log_weights) - without
    return Weights(slopes, None, slopes - advantage)


def surrogate(forward: Forward, bound: tf.Tensor, weights: Weights) -> tf.Tensor:
    """Returns the value of the bound, `[batch]`, with the gradient that the weights say.

    z went through `forward.gate`, where the gradient through z is multiplied by path / model.
    """
    model, path, score = (None if part is None else tf.stop_gradient(part) for part in weights)
    assert forward.gate is not None
    if path is None:
        forward.gate.weights = tf.zeros_like(model)
    else:
        model = tf.maximum(model, _LEAST * tf.abs(path))
        forward.gate.weights = tf.math.divide_no_nan(path, model)
    assert forward.fixed is not None
    fixed = functools.reduce(tf.add, [term.log_q() for term in forward.fixed().values()])
    total = model * forward.log_joint
    if path is not None:  # log q through z alone
        total -= model * (forward.log_q - fixed)
    if score is not None:
        total -= score * fixed
    total = tf.reduce_sum(total, axis=0)
    return tf.stop_gradient(bound - total) + total
