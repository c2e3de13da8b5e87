"""The distance of the KL from a capacity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfp_vae.distributions.divergence import blocks
from tfp_vae.distributions.relaxation import discrete_kl
from tfp_vae.errors import InputError
from tfp_vae.objectives.batch import batch_mean, draws_of_its_own, share_of_unknown
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.term import Term
from tfp_vae.objectives.weights import now

CAPACITY_OF = ("mean", "example")


class Estimate(NamedTuple):
    """The KL of each example, `[batch]`, and whether it is by Monte Carlo."""

    kl: tf.Tensor
    is_drawn: bool


def away_from_capacity(forward: Forward, name: str, capacity: Any, of: str) -> tf.Tensor:
    """Returns `|KL - C|` of each example, or terms whose mean is `|mean KL - C|`, `[batch]`.

    The terms are `s (KL - C)` with s the sign of `KL - C`, or of `mean KL - C`, so that each
    example counts by its `sample_weight`. s has no gradient. s is of closed forms, or else of other
    draws than the KL: |.| would take the noise of a Monte Carlo KL for a distance. The mean of the
    gradient is that of the exact KL, times the mean of s.

    Args:
      forward: the forward pass.
      name: of the latent variable.
      capacity: C, a number, variable or schedule; or a list, one for each block.
      of: "mean" or "example".
    """
    term, whole = forward.latent[name], not isinstance(capacity, list)
    parts = _parts(term, term.value)
    if not whole and len(parts) != len(capacity):
        raise InputError(
            "Expected one capacity for all of z, or one for each block of posterior and prior, "
            f"of which there are {len(parts)}.",
            capacity,
        )
    estimates = signed = [_estimate(part) for part in parts]
    if any(estimate.is_drawn for estimate in estimates):
        number = 3 + 1000 * forward.number(name)
        others = draws_of_its_own(forward, term, number)
        signed = [_estimate(part) for part in _parts(term, others)]
    if whole:
        capacity, estimates, signed = [capacity], [_sum(estimates)], [_sum(signed)]
    found = []
    share, unknown = share_of_unknown(forward, term)
    for c, estimate, other in zip(capacity, estimates, signed, strict=True):
        c = now(c, forward.step, estimate.kl.dtype)
        mean = tf.math.divide_no_nan(batch_mean(other.kl, forward), share)
        beyond = (mean if of == "mean" else other.kl) - c
        found.append(unknown * tf.stop_gradient(tf.sign(beyond)) * (estimate.kl - c))
    return tf.add_n(found)


def _parts(term: Term, value: Any) -> list[Term]:
    """Returns a term for each block of q and p, at a value."""
    found = blocks(term.q, term.p, value)
    if len(found) == 1 and value is term.value:
        return [term]
    return [term.at(z, q, p) for q, p, z in found]


def _estimate(term: Term) -> Estimate:
    # The KL of relaxed densities has no bound, as that of the categories has.
    kl = discrete_kl(term.q, term.p)
    if kl is not None:
        return Estimate(term.of_examples(kl), is_drawn=False)
    kl = term.kl_of_draws()
    return Estimate(term.mean_over_draws(kl), is_drawn=kl.shape.rank == 2)


def _sum(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(tf.add_n([e.kl for e in estimates]), any(e.is_drawn for e in estimates))
