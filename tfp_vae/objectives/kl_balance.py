"""The balance of the KL of several latent variables."""

from __future__ import annotations

import tensorflow as tf

from tfp_vae.objectives.batch import batch_mean
from tfp_vae.objectives.forward import Forward

_LEAST = 0.01  # nats, as the published code adds: no variable's share is 0


def balanced(forward: Forward) -> dict[str, tf.Tensor]:
    """Returns `gamma_l = L s_l a_l / sum_k s_k a_k` of each latent variable with a density.

    s_l is the number of values of variable l, `a_l = E|KL_l| + 0.01` the mean over the batch; the
    mean of gamma over the L variables is 1. No gradient passes. Vahdat and Kautz (NVAE),
    arXiv:2007.03898, appendix A.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q, p = tfd.Normal([1.], 1.), tfd.Normal(0., 1.)
      >>> forward = ForwardPass(q, p, z=tf.zeros([1, 1]), log_likelihood=tf.zeros([1, 1]))
      >>> float(balanced(forward)["z"])
      1.0
    """
    each = {}
    for name, kl in forward.kls.items():
        shape = tf.shape(forward.latent[name].value)
        size = tf.cast(tf.reduce_prod(shape[2:]), kl.dtype)
        each[name] = size * (batch_mean(tf.abs(kl), forward) + _LEAST)
    mean = tf.add_n(list(each.values())) / len(each)
    return {name: tf.stop_gradient(share / mean) for name, share in each.items()}
