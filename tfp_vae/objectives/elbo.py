"""The ELBO, with a weight, free bits or a capacity of its KL."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.batch import batch_mean, share_of_unknown
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.kl_balance import balanced
from tfp_vae.objectives.kl_capacity import CAPACITY_OF, away_from_capacity
from tfp_vae.objectives.weights import is_zero, now, of_variable, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class ELBO(Objective):
    """`-E_q[log p(x|z)] + beta KL[q(z|x) || p(z)]`: at beta = 1 the negative ELBO.

    With a capacity C the second term is `beta |KL - C|`, KL its mean over the batch. With free bits
    it is `beta sum_j max(lambda, KL_j)`, KL_j the mean over the batch of the KL of latent dimension
    j, so that no dimension gains from a KL below lambda; posterior and prior are then independent
    over the dimensions. The KL is in closed form where there is one, else by Monte Carlo at the
    decoder's z. In nats.

    A capacity is of the KL in closed form, and for a relaxed one-hot vector of the KL of its
    categories, at most log k for k of them (the metric `kl` is that of the densities). Where there
    is no closed form it is of the Monte Carlo KL at z, with the sign of `KL - C` at other draws, so
    that noise does not count as a distance. Both |.| and max are larger for a mean over few
    examples than over many: batches are best of one size.

    Kingma and Welling, arXiv:1312.6114; beta: Higgins et al., beta-VAE (ICLR 2017); capacity:
    Burgess et al., arXiv:1804.03599; free bits: Kingma et al., arXiv:1606.04934.

    The KL of several latent variables is the sum over the variables; each of the three numbers may
    be a dict by variable, such as `beta={"z1": 1., "z2": .5}`. With balance, variable l has the
    weight `beta gamma_l` while its beta is below 1, `gamma_l = L s_l a_l / sum_k s_k a_k`, s_l the
    number of its values, `a_l = E|KL_l| + 0.01` over the batch, without a gradient: small groups,
    and those hardly in use yet, pay less. Vahdat and Kautz, arXiv:2007.03898, appendix A.

    Args:
      beta: the weight of the KL: a number, a variable, or a schedule over training steps, such as
        `tfp_vae.schedules.warm_up(1000)`.
      free_bits: lambda, in nats for each dimension, likewise; 0: none.
      capacity: C, in nats, likewise; None: none. One for each block of a `layers.Joint`
        posterior: each block's KL is held to its own (Dupont, arXiv:1804.00104).
      capacity_of: "mean": the mean KL of the batch is held to C, as published; "example": the KL
        of each example, all of which then tell as much.
      balance: whether the KL is balanced over several latent variables, in validation too.

    Raises:
      InputError: both free bits and a capacity are given, `capacity_of` is another word, the
        capacities are not one or one for each block, or free bits are given where posterior or
        prior are not independent over the dimensions.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> q, p = tfd.Normal([1.], 1.), tfd.Normal(0., 1.)
      >>> forward = ForwardPass(q, p, z=tf.zeros([1, 1]), log_likelihood=tf.fill([1, 1], -3.))
      >>> ELBO(beta=2.)(forward).loss.numpy().tolist()
      [4.0]
    """

    takes_several = True

    @functools.partial(
        checked,
        beta="beta_by_variable",
        free_bits="free_bits_by_variable",
        capacity="capacity_by_variable",
    )
    def __init__(
        self,
        beta: Scheduled | dict[str, Scheduled] = 1.0,
        free_bits: Scheduled | dict[str, Scheduled] = 0.0,
        capacity: Scheduled | Sequence[Scheduled] | dict[str, Any] | None = None,
        capacity_of: str = "mean",
        balance: bool = False,
    ) -> None:
        self.beta = beta
        self.free_bits = free_bits
        self.capacity = list(capacity) if isinstance(capacity, (list, tuple)) else capacity
        self.capacity_of, self.balance = capacity_of, balance
        if capacity_of not in CAPACITY_OF:
            raise InputError(f"Expected capacity_of to be one of {CAPACITY_OF}.", capacity_of)
        if capacity is not None and not is_zero(free_bits):
            raise InputError(
                "Expected free_bits or capacity, not both.",
                f"free_bits={free_bits}, capacity={capacity}",
            )

    @property
    def needs_density(self) -> bool:
        """Not at beta = 0: an autoencoder."""
        betas = self.beta.values() if isinstance(self.beta, dict) else [self.beta]
        return not all(map(is_zero, betas))

    def needs_density_of(self, name: str) -> bool:
        return not is_zero(of_variable(self.beta, name))

    @property
    def sees_whole_batch(self) -> bool:  # type: ignore[override]
        """True with free bits, a balance, or a capacity of the mean KL."""
        held = self.capacity is not None and self.capacity_of == "mean"
        return held or self.balance or not is_zero(self.free_bits)

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        for name in ("beta", "free_bits", "capacity"):
            given = getattr(self, name)
            if isinstance(given, dict) and set(given) != set(latents):
                raise InputError(
                    f"Expected {name} for each latent variable: {', '.join(latents)}.",
                    ", ".join(map(str, given)),
                )

    def __call__(self, forward: Forward) -> Terms:
        nll = loss = forward.nll
        shares = balanced(forward) if self.balance else {}
        for name, kl in forward.kls.items():
            penalized, beta = self._penalized(forward, name, kl), of_variable(self.beta, name)
            if name in shares:
                warming = now(beta, forward.step, kl.dtype) < 1
                penalized *= tf.where(warming, shares[name], tf.ones_like(shares[name]))
            loss += weighted(penalized, beta, forward.step)
        return Terms(loss, nll, forward.kl)

    def _penalized(self, forward: Forward, name: str, kl: tf.Tensor) -> tf.Tensor:
        """Returns the part of a variable's KL that has the weight beta."""
        capacity = of_variable(self.capacity, name)
        if capacity is not None:
            return away_from_capacity(forward, name, capacity, self.capacity_of)
        free_bits = of_variable(self.free_bits, name)
        if is_zero(free_bits):
            return kl
        term = forward.latent[name]
        share, _ = share_of_unknown(forward, term)  # a known value has no KL, and no free bits
        each = tf.math.divide_no_nan(batch_mean(term.kl_of_dimensions(), forward), share)
        return share * tf.reduce_sum(tf.maximum(each, now(free_bits, forward.step, kl.dtype)))
