"""How far the KL is from the capacity that it is held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfp_vae.distributions.divergence import blocks
from tfp_vae.distributions.relaxation import discrete_kl
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import batch_mean, draws_of_its_own, now, share_of_unknown
from tfp_vae.objectives.forward import Forward, Term

CAPACITY_OF = ("mean", "example")


class Estimate(NamedTuple):
    """The KL of each example, `[batch]`, and whether it is by Monte Carlo."""

    kl: tf.Tensor
    is_drawn: bool


def away_from_capacity(forward: Forward, name: str, capacity: Any, of: str) -> tf.Tensor:
    """`|KL - C|` of each example or, of the "mean", what has the mean `|mean KL - C|`, `[batch]`.

    That is `s (KL - C)` with s the sign of `KL - C`, or of `mean KL - C`: each example has a share,
    by which its `sample_weight` counts. s has no gradient, and is of closed forms, or else of draws
    of its own: the noise of a KL by Monte Carlo, which |.| would make a distance, is as often above
    0 as below, and the mean of the gradient is that of the exact KL, times the mean of s.

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
    """The blocks that q and p are made of, at a value."""
    found = blocks(term.q, term.p, value)
    if len(found) == 1 and value is term.value:
        return [term]
    return [term.block(*block) for block in found]


def _estimate(term: Term) -> Estimate:
    # A relaxed KL has no bound: held to log k nats it would take few of them from the categories.
    kl = discrete_kl(term.q, term.p)
    if kl is not None:
        return Estimate(term.of_examples(kl), is_drawn=False)
    kl = term.kl_of_draws()
    return Estimate(term.mean_over_draws(kl), is_drawn=kl.shape.rank == 2)


def _sum(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(tf.add_n([e.kl for e in estimates]), any(e.is_drawn for e in estimates))
