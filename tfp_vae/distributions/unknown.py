"""Densities of the known entries of data, and the unknown entries given the known ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfp_vae.distributions import containers
from tfp_vae.distributions.blockwise import SideBySide
from tfp_vae.distributions.categorical import Categories

_STAND_IN = (
    0.5  # inside the support of reals, of positive numbers, of shares and, floored, of counts
)


def apart(x: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x with 0 in place of NaN, and which entries are known.

    Example:
      >>> [t.numpy().tolist() for t in apart([1.0, float("nan")])]
      [[1.0, 0.0], [True, False]]
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return x, tf.ones(tf.shape(x), tf.bool)
    known = ~tf.math.is_nan(x)
    return tf.where(known, x, tf.zeros_like(x)), known


def log_prob_of_known(p: tfd.Distribution, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns `log p(x_known)`, the marginal density of the known entries, in nats.

    Of independent entries it is the sum over the known ones, of a multivariate Normal that of
    `N(loc_known, cov_known)`, of a mixture the mixture of the components' marginals. An event that
    is one category is known as a whole or not at all. No known entry gives 0.

    Args:
      p: batch `[...]`; see `why_not` for which.
      x: `[..., *event]`; what stands in unknown entries changes nothing.
      known: of x's shape.

    Example:
      >>> p = tfd.MultivariateNormalTriL([1., 0.], [[1., 0.], [1., 1.]])
      >>> marginal = tfd.Normal(0., 2 ** .5).log_prob(3.)
      >>> known = tf.constant([False, True])
      >>> bool(abs(log_prob_of_known(p, tf.constant([9., 3.]), known) - marginal) < 1e-5)
      True
    """
    p = _inner(p)
    return _rule(p).log_prob(p, x, known)


def completed(p: tfd.Distribution, x: tf.Tensor, known: tf.Tensor, seed: Any = None) -> tf.Tensor:
    """Returns x with the unknown entries drawn given the known ones, or their mean without a seed.

    Args:
      p: as in `log_prob_of_known`.
      x: likewise.
      known: likewise.
      seed: a pair of integers for the draws; None: `E[x_unknown | x_known]`.

    Example:
      >>> p = tfd.MultivariateNormalTriL([0., 0.], [[1., 0.], [1., 1.]])
      >>> completed(p, tf.constant([3., 9.]), tf.constant([True, False])).numpy().tolist()
      [3.0, 3.0]
    """
    p = _inner(p)
    return _rule(p).complete(p, x, known, seed)


def why_not(p: tfd.Distribution) -> str | None:
    """Returns what stands in the way of unknown entries; None: nothing.

    Example:
      >>> why_not(tfd.Dirichlet([1., 1.]))
      'the entries of a Dirichlet have no marginal densities here'
    """
    p = _inner(p)
    if isinstance(p, (SideBySide, containers.Blockwise)):
        return next((reason for part in p.distributions if (reason := why_not(part))), None)
    if p.event_shape.rank == 0:
        return None
    if isinstance(p, containers.Independent):
        return why_not(p.distribution)
    if isinstance(p, containers.MixtureSameFamily):
        return why_not(p.components_distribution)
    if _rule(p) is not _NONE:
        return None
    return f"the entries of a {p.name} have no marginal densities here"


def are_categories(p: tfd.Distribution) -> bool:
    """Tells whether the entries are categories or bits, for which a mean says little."""
    p = _inner(p)
    if isinstance(p, containers.Independent):
        return are_categories(p.distribution)
    return isinstance(p, (tfd.Bernoulli, tfd.Categorical, Categories, tfd.OneHotCategorical))


class _Rule(NamedTuple):
    log_prob: Callable[[Any, tf.Tensor, tf.Tensor], tf.Tensor]
    complete: Callable[[Any, tf.Tensor, tf.Tensor, Any], tf.Tensor]


def _inner(p: Any) -> Any:
    return getattr(p, "tensor_distribution", p)


def _rule(p: Any) -> _Rule:
    if p.event_shape.rank == 0:
        return _ENTRY
    return next((rule for kind, rule in _RULES.items() if isinstance(p, kind)), _NONE)


def _made(p: Any, seed: Any, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(p.mean() if seed is None else p.sample(seed=seed), dtype)


# -- single entries ----------------------------------------------------------------------------


def _log_prob_of_entries(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    safe = tf.cast(tf.where(known, x, tf.constant(_STAND_IN, x.dtype)), p.dtype)
    log_p = p.log_prob(safe)
    return tf.where(known, log_p, tf.zeros_like(log_p))


def _complete_entries(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    return tf.where(known, x, _made(p, seed, x.dtype))


def _log_prob_of_independent(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    each = log_prob_of_known(p.distribution, x, known)
    count = p.event_shape.rank - _inner(p.distribution).event_shape.rank
    return tf.reduce_sum(each, axis=list(range(-count, 0))) if count else each


def _complete_independent(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    return completed(p.distribution, x, known, seed)


# -- one category ------------------------------------------------------------------------------


def _log_prob_of_whole(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    all_known = tf.reduce_all(known, axis=-1, keepdims=True)
    first = tf.one_hot(tf.zeros(tf.shape(x)[:-1], tf.int32), tf.shape(x)[-1], dtype=x.dtype)
    log_p = p.log_prob(tf.cast(tf.where(all_known, x, first), p.dtype))
    return tf.where(all_known[..., 0], log_p, tf.zeros_like(log_p))


def _complete_whole(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    return tf.where(tf.reduce_all(known, axis=-1, keepdims=True), x, _made(p, seed, x.dtype))


# -- Normals with a covariance -----------------------------------------------------------------


def _of_known(p: Any, difference: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the difference where known, and a triangular R, `R'R` being its covariance there.

    Unknown entries are independent standard Normals at 0 in both. R is that of a QR decomposition
    of the scale: a Cholesky factor of the covariance would lose half of the digits.
    """
    mask = tf.cast(known, difference.dtype) + tf.zeros_like(difference)
    scale = p.scale.to_dense() * mask[..., tf.newaxis]
    scale = tf.linalg.matrix_transpose(tf.concat([scale, tf.linalg.diag(1 - mask)], axis=-1))
    return difference * mask, tf.linalg.qr(scale).r


def _solve(upper: tf.Tensor, right: tf.Tensor, adjoint: bool = False) -> tf.Tensor:
    return tf.linalg.triangular_solve(upper, right, lower=False, adjoint=adjoint)


def _log_prob_of_normal(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    difference, upper = _of_known(p, x - p.loc, known)
    white = _solve(upper, difference[..., tf.newaxis], adjoint=True)[..., 0]
    half_log_2_pi = tf.constant(0.9189385332046727, x.dtype) * tf.cast(known, x.dtype)
    each = white**2 / 2 + tf.math.log(tf.abs(tf.linalg.diag_part(upper))) + half_log_2_pi
    return -tf.reduce_sum(each, axis=-1)


def _complete_normal(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    # Matheron's rule: a draw of all entries, moved by the gain times what the known ones miss.
    start = _made(p, seed, x.dtype)
    difference, upper = _of_known(p, x - start, known)
    solved = _solve(upper, difference[..., tf.newaxis], adjoint=True)
    solved = _solve(upper, solved)
    solved *= tf.cast(known, x.dtype)[..., tf.newaxis]
    scale = p.scale.to_dense()
    moved = tf.linalg.matmul(scale, tf.linalg.matmul(scale, solved, adjoint_a=True))[..., 0]
    return tf.where(known, x, start + moved)


def _as_independent(p: Any) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(p.loc, p.stddev()), reinterpreted_batch_ndims=1)


# -- of parts ----------------------------------------------------------------------------------


def _blocks(p: Any, *tensors: tf.Tensor) -> list[tuple[Any, ...]]:
    sizes = [part.event_shape[-1] for part in p.distributions]
    pieces = [tf.split(t, sizes, axis=-1) for t in tensors]
    return list(zip(p.distributions, *pieces, strict=True))


def _log_prob_of_blocks(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    return tf.add_n([log_prob_of_known(*block) for block in _blocks(p, x, known)])


def _complete_blocks(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    count = len(p.distributions)
    seeds = [None] * count if seed is None else tf.unstack(tfp_random.split_seed(seed, count))
    blocks = zip(_blocks(p, x, known), seeds, strict=True)
    return tf.concat([completed(q, z, of, own) for (q, z, of), own in blocks], axis=-1)


def _of_components(p: Any, x: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    axis = -1 - p.event_shape.rank
    return tf.expand_dims(x, axis), tf.expand_dims(known, axis)


def _log_weights(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns `log p(component, x_known)`, `[..., components]`."""
    weights = tf.math.log_softmax(p.mixture_distribution.logits_parameter())
    each = log_prob_of_known(p.components_distribution, *_of_components(p, x, known))
    return weights + each


def _log_prob_of_mixture(p: Any, x: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    return tf.reduce_logsumexp(_log_weights(p, x, known), axis=-1)


def _complete_mixture(p: Any, x: tf.Tensor, known: tf.Tensor, seed: Any) -> tf.Tensor:
    logits = _log_weights(p, x, known)
    wide = _of_components(p, x, known)
    axis = -1 - p.event_shape.rank
    if seed is None:
        shares, own = tf.nn.softmax(logits), None
    else:
        first, own = tf.unstack(tfp_random.split_seed(seed, 2))
        chosen = Categories(logits=logits).sample(seed=first)
        shares = tf.one_hot(chosen, tf.shape(logits)[-1], dtype=x.dtype)
    each = completed(p.components_distribution, *wide, own)
    shares = tf.reshape(
        tf.cast(shares, x.dtype), tf.concat([tf.shape(shares), [1] * p.event_shape.rank], 0)
    )
    return tf.where(known, x, tf.reduce_sum(shares * each, axis=axis))


def _refuse(p: Any, *_: Any) -> tf.Tensor:
    raise NotImplementedError(why_not(p))


_ENTRY = _Rule(_log_prob_of_entries, _complete_entries)
_NONE = _Rule(_refuse, _refuse)
# The first that fits.
_RULES: dict[Any, _Rule] = {
    containers.Independent: _Rule(_log_prob_of_independent, _complete_independent),
    tfd.MultivariateNormalDiag: _Rule(
        lambda p, *given: log_prob_of_known(_as_independent(p), *given),
        lambda p, *given: completed(_as_independent(p), *given),
    ),
    tfd.MultivariateNormalLinearOperator: _Rule(_log_prob_of_normal, _complete_normal),
    tfd.OneHotCategorical: _Rule(_log_prob_of_whole, _complete_whole),
    SideBySide: _Rule(_log_prob_of_blocks, _complete_blocks),
    containers.Blockwise: _Rule(_log_prob_of_blocks, _complete_blocks),
    containers.MixtureSameFamily: _Rule(_log_prob_of_mixture, _complete_mixture),
}
