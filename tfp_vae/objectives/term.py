"""One variable of a model in one pass over a batch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import moved
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.distributions import unknown
from tfp_vae.distributions.density import log_density
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.distributions.relaxation import discrete
from tfp_vae.objectives.dimensions import independent_base
from tfp_vae.objectives.draw_axis import folded, mean_of_draws, unfolded
from tfp_vae.objectives.likelihood import log_likelihood, summed
from tfp_vae.wiring import tile


class Term:
    """One variable in one pass: its value, p(value | parents), and of a latent one q too.

    A distribution has one row for each example, `[batch]`, or, where it depends on a draw, one for
    each draw, `[samples * batch]`; a prior has none, `[]`. Further axes of the batch, such as the
    steps of a sequence, are summed, without those that a mask hides.

    Attributes:
      value: of a latent variable `[samples, batch, ...]`, of an observed one `[batch, ...]`.
      q: of a latent variable q(value | parents); None of an observed one.
      samples: the number of draws.
      alike: of an observed variable: each of its draws stands for so many.
      q_is_drawn: whether q depends on a draw, and has a distribution for each draw.
      known: of a latent variable, `[batch]`: where its value was given, not drawn; None: nowhere.
      mask: of Keras, `[batch, ...]`; None: all counts.
      has_density: False where q is a point mass: there is no log q, and no KL.
      of_steps: whether the variable is a sequence of any number of steps.
      has_unknown: of an observed variable: whether entries may be NaN, which are not known.
      shares: of each draw in a mean over the draws, `[samples, batch]`; None: all are equal.
    """

    shares: tf.Tensor | None = None

    def __init__(
        self,
        value: tf.Tensor,
        p: tfd.Distribution | Callable[[], tuple[tfd.Distribution, bool, bool]],
        q: tfd.Distribution | None = None,
        *,
        samples: Any = 1,
        alike: int = 1,
        q_is_drawn: bool = False,
        log_q: Callable[[], tf.Tensor] | None = None,
        known: tf.Tensor | None = None,
        mask: Any = None,
        has_density: bool = True,
        of_steps: bool = False,
        by_xla: bool = False,
        has_unknown: bool = False,
    ) -> None:
        self.value, self.q, self.samples, self.q_is_drawn = value, q, samples, q_is_drawn
        self.known, self.mask, self.has_density = known, mask, has_density
        self.of_steps, self._by_xla, self.alike = of_steps, by_xla, alike
        self.has_unknown = has_unknown
        self._given_p, self._given_log_q = p, log_q

    @functools.cached_property
    def _p(self) -> tuple[tfd.Distribution, bool, bool]:
        given = self._given_p
        return given() if callable(given) else (given, False, False)

    @property
    def p(self) -> tfd.Distribution:
        """p(value | parents), made when it is asked for."""
        return self._p[0]

    @property
    def p_is_drawn(self) -> bool:
        """Whether p depends on a draw, and has a distribution for each draw."""
        return self._p[1]

    @property
    def p_has_rows(self) -> bool:
        """Whether p depends on other values, and has a distribution for each row."""
        return self._p[2]

    def at(
        self,
        value: tf.Tensor,
        q: tfd.Distribution | None = None,
        p: tfd.Distribution | None = None,
    ) -> Term:
        """Returns the term at another value; q and p are those of a block, if they are given."""
        other = copy.copy(self)
        other.value, other._given_log_q = value, None
        if q is not None:
            other.q, other._p = q, (p, *self._p[1:])
        return other

    # -- densities -----------------------------------------------------------------------------

    def log_p(self) -> tf.Tensor:
        """Returns `log p(value | parents)`, `[samples, batch]`, in nats."""
        p, is_drawn, _ = self._p
        if self.q is not None:
            return self._log(p, is_drawn)
        samples, mask = self.samples if is_drawn else 1, self.mask
        if mask is not None and is_drawn and not self._is_alone:
            mask = tile(tf.convert_to_tensor(mask), samples)
        how = (self._by_xla, mask, self.of_steps, self.has_unknown)
        log_p = log_likelihood(p, self.value, samples, *how)
        return log_p if self.alike == 1 else tf.repeat(log_p, self.alike, axis=0)

    def log_q(self) -> tf.Tensor:
        """Returns `log q(value | parents)`, `[samples, batch]`, in nats; 0 of a known value."""
        if self._given_log_q is not None:
            return self.of_unknown(self._summed(self._given_log_q()))
        return self.of_unknown(self._log(self.q, self.q_is_drawn))

    def log_known(self) -> tf.Tensor:
        """Returns `log p(value | parents)` of a known value, else 0, `[samples, batch]`, in nats.

        Of a relaxed variable it is the probability of what it stands for, such as a category.
        """
        p, is_drawn, _ = self._p
        mass = discrete(p)
        log_p = self._log(p if mass is None else mass, is_drawn)
        return tf.where(self.known, log_p, tf.zeros_like(log_p))

    def log_q_of_known(self) -> tf.Tensor:
        """Returns `log q(value | parents)` of a known value, else 0, `[samples, batch]`, in nats.

        Of a relaxed variable it is the probability of what it stands for, such as a category.
        """
        mass = discrete(self.q)
        log_q = self._log(self.q if mass is None else mass, self.q_is_drawn)
        zero = tf.zeros_like(log_q)
        return zero if self.known is None else tf.where(self.known, log_q, zero)

    def _log(self, distribution: Any, is_drawn: bool) -> tf.Tensor:
        if not is_drawn:
            return self._summed(log_density(distribution, self.value))
        values = log_density(distribution, moved(folded, self.value))
        return self._summed(unfolded(values, self.samples))

    # -- divergences ---------------------------------------------------------------------------

    def kl(self) -> tf.Tensor:
        """Returns `KL[q || p]`, `[batch]`, in nats: in closed form, else the mean over the draws.

        0 where the value is known.
        """
        return self.mean_over_draws(self.kl_of_draws())

    def kl_of_draws(self) -> tf.Tensor:
        """Returns `[batch]` of a closed form that all draws share, else `[samples, batch]`."""
        p, p_is_drawn, has_rows = self._p
        alike = p_is_drawn == self.q_is_drawn or not has_rows
        if not alike and not self._is_alone:
            return self.of_unknown(self.log_q() - self.log_p())
        log_q, value = self._given_log_q, self.value
        if self.q_is_drawn or p_is_drawn:  # rows are of draws
            value = moved(folded, value)
            flat = None if log_q is None else lambda: folded(log_q())
            kl = kl_divergence(self.q, p, lambda: value, log_q=flat)
            return self.of_unknown(self._summed(unfolded(kl, self.samples)))
        kl = kl_divergence(self.q, p, lambda: value, log_q=log_q)
        is_drawn = kl.shape.rank == self.q.batch_shape.rank + 1  # type: ignore[union-attr]
        return self.of_unknown(self._summed(kl, axes=2 if is_drawn else 1))

    def of_examples(self, kl: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` of a KL in closed form, whose batch is that of q."""
        if self.q_is_drawn or self.p_is_drawn:
            kl = self.mean_over_draws(self._summed(unfolded(kl, self.samples)))
        else:
            kl = self._summed(kl, axes=1)
        return self.of_unknown(kl)

    def kl_of_dimensions(self) -> tf.Tensor:
        """Returns `KL[q || p]` of each latent dimension, `[batch, dimensions]`, in nats.

        Raises:
          InputError: the dimensions of q or p are not independent, or not one axis.
        """
        q, p = independent_base(self.q), independent_base(self.p)
        kl = kl_divergence(q, p, q.mean, exact=True)
        if kl.shape.rank > 2:  # over the steps of a sequence
            last = tf.transpose(kl, [0, kl.shape.rank - 1, *range(1, kl.shape.rank - 1)])
            mask = None if self.mask is None else tf.convert_to_tensor(self.mask)[:, tf.newaxis]
            kl = summed(last, mask, 2)
        return kl if self.known is None else tf.where(self.known[:, None], tf.zeros_like(kl), kl)

    def mean_over_draws(self, kl: tf.Tensor) -> tf.Tensor:
        """Returns `[batch]` of a KL of each example, or of each draw for each example."""
        return mean_of_draws(kl, self.shares) if kl.shape.rank == 2 else kl

    # -- draws ---------------------------------------------------------------------------------

    def draws(self, seed: Any) -> tf.Tensor:
        """Returns draws from q, independent of the value, `[samples, batch, ...]`."""
        return self._drawn(self.q, self.q_is_drawn, seed)

    def draws_from_p(self, seed: Any, beside: tf.Tensor | None = None) -> tf.Tensor:
        """Returns draws from p, as many as there are of the value, `[samples, batch, ...]`.

        `beside`: the values of all replicas, of a batch that they share.
        """
        p, is_drawn, has_rows = self._p
        if has_rows:
            own = self._drawn(p, is_drawn, seed)
            return own if beside is None else global_batch(own, axis=1)
        value = self.value if beside is None else beside
        return p.sample(tf.shape(value)[: value.shape.rank - p.event_shape.rank], seed=seed)

    def filled(self) -> tf.Tensor:
        """Returns the value with 0 in place of entries that are not known, for a network."""
        return (
            unknown.apart(self.value)[0] if self.has_unknown else tf.convert_to_tensor(self.value)
        )

    def with_draws(self, seed: Any = None) -> tf.Tensor:
        """Returns an observed value `[samples * batch, ...]`, its unknown entries drawn from p.

        They are drawn given the known entries; without a seed they are the mean given these.
        """
        value, known = unknown.apart(self.value)
        if self.p_is_drawn and not self._is_alone:
            value, known = tile(value, self.samples), tile(known, self.samples)
        return unknown.completed(self.p, value, known, seed)

    def _drawn(self, distribution: Any, is_drawn: bool, seed: Any) -> tf.Tensor:
        if is_drawn:
            return unfolded(distribution.sample(seed=seed), self.samples)
        return distribution.sample(self.samples, seed=seed)

    def of_unknown(self, nats: tf.Tensor) -> tf.Tensor:
        """Returns nats of each example, or of each draw too, with 0 where the value is known."""
        return nats if self.known is None else tf.where(self.known, tf.zeros_like(nats), nats)

    @property
    def _is_alone(self) -> bool:
        return isinstance(self.samples, int) and self.samples == 1

    def _summed(self, values: tf.Tensor, axes: int = 2) -> tf.Tensor:
        if values.shape.rank is None or values.shape.rank <= axes:
            return values
        mask = None if self.mask is None else tf.convert_to_tensor(self.mask)
        return summed(values, mask[tf.newaxis] if mask is not None and axes == 2 else mask, axes)
