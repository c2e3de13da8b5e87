"""The discrete distribution of the logits of a relaxed one."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.containers import Independent, TransformedDistribution


def discrete(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """Returns the discrete distribution of the same logits; None where there is none.

    That of a relaxed one-hot vector, also of its logarithms, is over one-hot vectors, that of a
    relaxed bit over bits; of several, over their own axes. A discrete distribution of these kinds
    is its own; another class has an attribute `discrete`.

    Example:
      >>> discrete(tfd.RelaxedOneHotCategorical(0.5, [0., 0., 0.])).event_shape.as_list()
      [3]
    """
    d = getattr(distribution, "tensor_distribution", distribution)
    named = getattr(d, "discrete", None)
    if named is not None:
        return named
    if isinstance(d, (tfd.OneHotCategorical, tfd.Bernoulli)):
        return d
    if isinstance(d, tfd.ExpRelaxedOneHotCategorical):
        return tfd.OneHotCategorical(logits=d.logits_parameter(), dtype=d.dtype)
    if isinstance(d, tfd.RelaxedBernoulli):
        return tfd.Bernoulli(logits=d.logits_parameter(), dtype=d.dtype)
    if isinstance(d, Independent):
        each = discrete(d.distribution)
        ndims = d.event_shape.rank - d.distribution.event_shape.rank
        return None if each is None else tfd.Independent(each, reinterpreted_batch_ndims=ndims)
    if isinstance(d, TransformedDistribution):  # a softmax, or another shape
        return discrete(d.distribution)
    return None


def discrete_kl(q: tfd.Distribution, p: tfd.Distribution) -> tf.Tensor | None:
    """Returns KL[q || p] of both discrete distributions: at most log k for k equal categories.

    The KL of the relaxed densities has no bound. None: one has no discrete distribution, or the two
    are over different axes.

    Example:
      >>> q, p = (tfd.RelaxedOneHotCategorical(0.5, t) for t in ([99., 0.], [0., 0.]))
      >>> round(float(discrete_kl(q, p)), 4)  # log 2
      0.6931
    """
    ours, theirs = discrete(q), discrete(p)
    if ours is None or theirs is None:
        return None
    try:
        return tfd.kl_divergence(ours, theirs)
    except NotImplementedError:
        return None
