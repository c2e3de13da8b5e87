"""Estimates of a covariance and its square whose mean does not depend on the batch size."""

from __future__ import annotations

import tensorflow as tf


def covariance_and_square(
    x: tf.Tensor, within: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `C = Cov[x] + E[within]` and the squares of its entries, `[d, d]`, without bias.

    C^2 is a sum of products of expectations, and each product is estimated by the mean over
    different examples (a U-statistic): `Cov_ab^2 = E[x_a x_b]^2 - 2 E[x_a x_b] E[x_a] E[x_b] +
    E[x_a]^2 E[x_b]^2` by pairs, triples and quadruples. Shifting x changes nothing; around the
    batch's mean most sums over different examples are 0.

    Args:
      x: `[n, d]`; the estimates of less than four examples are finite, and mean nothing.
      within: `[n, d, d]`; None: 0.

    Source: Chen, Zhang and Zhong, doi:10.1198/jasa.2010.tm09560.

    Example:
      >>> x = tf.constant([[1., 1.], [1., 1.], [-1., -1.], [-1., -1.]])
      >>> [round(float(value[0, 1]), 2) for value in covariance_and_square(x)]
      [1.33, 2.67]
    """
    x -= tf.reduce_mean(x, axis=0)
    n = tf.cast(tf.shape(x)[0], x.dtype)
    pairs = tf.maximum(n * (n - 1), 1)
    triples = tf.maximum(pairs * (n - 2), 1)
    quadruples = tf.maximum(triples * (n - 3), 1)
    both = tf.matmul(x, x, transpose_a=True)  # sum x_a x_b
    fourth = tf.matmul(x**2, x**2, transpose_a=True)  # sum x_a^2 x_b^2
    variances = tf.linalg.diag_part(both)
    of_pairs = both**2 - fourth
    of_triples = 2 * fourth - both**2
    of_quadruples = 2 * both**2 - 6 * fourth + variances[:, tf.newaxis] * variances
    covariance = both / tf.maximum(n - 1, 1)
    square = of_pairs / pairs - 2 * of_triples / triples + of_quadruples / quadruples
    if within is None:
        return covariance, square
    total = tf.reduce_sum(within, axis=0)
    mixed = tf.einsum("na,nb,nab->ab", x, x, within)
    # Cov E[within], and E[within]^2, over different examples likewise.
    product = (both * total - mixed) / pairs - (2 * mixed - both * total) / triples
    own = (total**2 - tf.reduce_sum(within**2, axis=0)) / pairs
    return covariance + total / n, square + 2 * product + own
