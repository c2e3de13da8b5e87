"""How far the KL is from the capacity that it is held to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfp_vae.divergence import Block, blocks, kl_divergence
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import batch_mean, draws_of_its_own, mean_over_draws, now
from tfp_vae.objectives.forward import ForwardPass
from tfp_vae.relaxation import discrete_kl

CAPACITY_OF = ("mean", "example")


class Estimate(NamedTuple):
    """The KL of each example, `[batch]`, and whether it is by Monte Carlo."""

    kl: tf.Tensor
    is_drawn: bool


def away_from_capacity(forward: ForwardPass, capacity: Any, of: str) -> tf.Tensor:
    """`|KL - C|` of each example or, of the "mean", what has the mean `|mean KL - C|`, `[batch]`.

    That is `s (KL - C)` with s the sign of `KL - C`, or of `mean KL - C`: each example has a share,
    by which its `sample_weight` counts. s has no gradient, and is of closed forms, or else of draws
    of its own: the noise of a KL by Monte Carlo, which |.| would make a distance, is as often above
    0 as below, and the mean of the gradient is that of the exact KL, times the mean of s.

    Args:
      forward: the forward pass.
      capacity: C, a number, variable or schedule; or a list, one for each block.
      of: "mean" or "example".
    """
    whole, alone = not isinstance(capacity, list), functools.partial(_estimates, forward)
    estimates = alone(forward.z)
    if not whole and len(estimates) != len(capacity):
        raise InputError(
            "Expected one capacity for all of z, or one for each block of posterior and prior, "
            f"of which there are {len(estimates)}.",
            capacity,
        )
    signed = estimates
    if any(estimate.is_drawn for estimate in estimates):
        signed = alone(draws_of_its_own(forward, number=3))
    if whole:
        capacity, estimates, signed = [capacity], [_sum(estimates)], [_sum(signed)]
    parts = []
    for c, estimate, other in zip(capacity, estimates, signed, strict=True):
        c = now(c, forward.step, estimate.kl.dtype)
        beyond = (batch_mean(other.kl, forward) if of == "mean" else other.kl) - c
        parts.append(tf.stop_gradient(tf.sign(beyond)) * (estimate.kl - c))
    return tf.add_n(parts)


def _estimates(forward: ForwardPass, z: tf.Tensor) -> list[Estimate]:
    """Of each block of posterior and prior at z."""
    found = blocks(forward.posterior, forward.prior, z)
    log_q = forward.log_posterior if len(found) == 1 and z is forward.z else None
    return [_estimate(block, log_q, forward) for block in found]


def _estimate(block: Block, log_q: Any, forward: ForwardPass) -> Estimate:
    q, p, z = block
    # A relaxed KL has no bound: held to log k nats it would take few of them from the categories.
    kl = discrete_kl(q, p)
    if kl is None:
        kl = kl_divergence(q, p, lambda: z, log_q=log_q)
    mean = mean_over_draws(kl, forward)
    return Estimate(mean, mean is not kl)


def _sum(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(tf.add_n([e.kl for e in estimates]), any(e.is_drawn for e in estimates))
