"""What an objective is given: each variable of a model in one pass over a batch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import moved
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.distributions import shapes
from tfp_vae.distributions.density import log_density
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.distributions.relaxation import discrete
from tfp_vae.errors import InputError
from tfp_vae.objectives.gate import Gate
from tfp_vae.objectives.likelihood import log_likelihood, summed
from tfp_vae.wiring import tile


class Term:
    """One variable in one pass: its value, p(value | parents), and of a latent one q too.

    A distribution has one row for each example, `[batch]`, or, where it depends on a draw, one for
    each draw, `[samples * batch]`; a prior has none, `[]`. Further axes of the batch, such as the
    steps of a sequence, are summed, without those that a mask hides.

    Attributes:
      value: of a latent variable `[samples, batch, ...]`, of an observed one `[batch, ...]`.
      p: p(value | parents).
      q: of a latent variable q(value | parents); None of an observed one.
      samples: how many draws there are.
      known: of a latent variable, `[batch]`: where its value was given, not drawn; None: nowhere.
      mask: of Keras, `[batch, ...]`; None: all counts.
      has_density: False where q is a point mass: there is no log q, and no KL.
      of_steps: whether it is a sequence of any number of steps.
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
        q_is_drawn: bool = False,
        log_q: Callable[[], tf.Tensor] | None = None,
        known: tf.Tensor | None = None,
        mask: Any = None,
        has_density: bool = True,
        of_steps: bool = False,
        by_xla: bool = False,
    ) -> None:
        self.value, self.q, self.samples = value, q, samples
        self.known, self.mask, self.has_density = known, mask, has_density
        self.of_steps, self.by_xla = of_steps, by_xla
        self._given_p = p
        self._q_is_drawn, self._given_log_q = q_is_drawn, log_q

    @functools.cached_property
    def _p(self) -> tuple[tfd.Distribution, bool, bool]:
        """p, whether its rows are of draws, and whether it has rows."""
        given = self._given_p
        return given() if callable(given) else (given, False, False)

    @property
    def p(self) -> tfd.Distribution:
        """p(value | parents), made when it is asked for."""
        return self._p[0]

    @property
    def q_is_drawn(self) -> bool:
        """Whether q depends on a draw, and has a distribution for each draw."""
        return self._q_is_drawn

    @property
    def p_is_drawn(self) -> bool:
        """Whether p depends on a draw, and has a distribution for each draw."""
        return self._p[1]

    @property
    def p_has_rows(self) -> bool:
        """Whether p depends on other values, and has a distribution for each row."""
        return self._p[2]

    def log_p(self) -> tf.Tensor:
        """`log p(value | parents)`, `[samples, batch]`, in nats."""
        p, is_drawn, _ = self._p
        if self.q is not None:
            return self._log(p, is_drawn)
        samples, mask = self.samples if is_drawn else 1, self.mask
        if mask is not None and is_drawn and not self._is_alone:
            mask = tile(tf.convert_to_tensor(mask), samples)
        return log_likelihood(p, self.value, samples, self.by_xla, mask, self.of_steps)

    def log_q(self) -> tf.Tensor:
        """`log q(value | parents)`, `[samples, batch]`, in nats; 0 where the value is known."""
        if self._given_log_q is not None:
            log_q = self._summed(self._given_log_q())
        else:
            log_q = self._log(self.q, self._q_is_drawn)
        return log_q if self.known is None else tf.where(self.known, tf.zeros_like(log_q), log_q)

    def log_known(self) -> tf.Tensor:
        """`log p(value | parents)` where the value is known, else 0, `[samples, batch]`, in nats.

        Of a relaxed variable it is the probability of what it stands for, such as a category.
        """
        p, is_drawn, _ = self._p
        mass = discrete(p)
        log_p = self._log(p if mass is None else mass, is_drawn)
        return tf.where(self.known, log_p, tf.zeros_like(log_p))

    def log_q_of_known(self) -> tf.Tensor:
        """`log q(value | parents)` where the value is known, else 0, `[samples, batch]`, in nats.

        Of a relaxed variable it is the probability of what it stands for, such as a category.
        """
        mass = discrete(self.q)
        log_q = self._log(self.q if mass is None else mass, self._q_is_drawn)
        zero = tf.zeros_like(log_q)
        return zero if self.known is None else tf.where(self.known, log_q, zero)

    def kl(self) -> tf.Tensor:
        """`KL[q || p]`, `[batch]`, in nats: in closed form, else the mean over the draws.

        0 where the value is known.
        """
        return self.mean_over_draws(self.kl_of_draws())

    def kl_of_draws(self) -> tf.Tensor:
        """`[batch]` of a closed form that is the same for all draws, else `[samples, batch]`."""
        p, p_is_drawn, has_rows = self._p
        alike = p_is_drawn == self._q_is_drawn or not has_rows
        if not alike and not self._is_alone:
            return self._of_unknown(self.log_q() - self.log_p())
        log_q, value = self._given_log_q, self.value
        if self._q_is_drawn or p_is_drawn:  # rows are of draws
            value = moved(folded, value)
            flat = None if log_q is None else lambda: folded(log_q())
            kl = kl_divergence(self.q, p, lambda: value, log_q=flat)
            return self._of_unknown(self._summed(unfolded(kl, self.samples)))
        kl = kl_divergence(self.q, p, lambda: value, log_q=log_q)
        is_drawn = kl.shape.rank == self.q.batch_shape.rank + 1  # type: ignore[union-attr]
        return self._of_unknown(self._summed(kl, axes=2 if is_drawn else 1))

    def block(self, q: tfd.Distribution, p: tfd.Distribution, value: tf.Tensor) -> Term:
        """The term of a block of the value."""
        made = Term(
            value,
            lambda: (p, *self._p[1:]),
            q,
            samples=self.samples,
            q_is_drawn=self._q_is_drawn,
            known=self.known,
            mask=self.mask,
            has_density=self.has_density,
            of_steps=self.of_steps,
        )
        made.shares = self.shares
        return made

    def of_examples(self, kl: tf.Tensor) -> tf.Tensor:
        """`[batch]` of a KL in closed form, whose batch is that of q."""
        if self._q_is_drawn or self._p[1]:
            kl = self.mean_over_draws(self._summed(unfolded(kl, self.samples)))
        else:
            kl = self._summed(kl, axes=1)
        return self._of_unknown(kl)

    def kl_of_dimensions(self) -> tf.Tensor:
        """`KL[q || p]` of each latent dimension, `[batch, dimensions]`, in nats.

        Raises:
          InputError: the dimensions of q or p are not independent, or not one axis.
        """
        q, p = independent_base(self.q), independent_base(self.p)
        kl = kl_divergence(q, p, q.mean, exact=True)
        if kl.shape.rank > 2:  # over the steps of a sequence
            last = tf.transpose(kl, [0, kl.shape.rank - 1, *range(1, kl.shape.rank - 1)])
            mask = None if self.mask is None else tf.convert_to_tensor(self.mask)[:, tf.newaxis]
            kl = summed(last, mask, 2)
        if self.known is not None:
            kl = tf.where(self.known[:, tf.newaxis], tf.zeros_like(kl), kl)
        return kl

    def draws(self, seed: Any) -> tf.Tensor:
        """Draws from q, independent of the value, `[samples, batch, ...]`."""
        q: Any = self.q
        if self._q_is_drawn:
            return unfolded(q.sample(seed=seed), self.samples)
        return q.sample(self.samples, seed=seed)

    def draws_from_p(self, seed: Any, beside: tf.Tensor | None = None) -> tf.Tensor:
        """Draws from p, as many as there are of the value, `[samples, batch, ...]`.

        `beside`: the values of all replicas, of a batch that they share.
        """
        p, is_drawn, has_rows = self._p
        if has_rows:
            own = (
                unfolded(p.sample(seed=seed), self.samples)
                if is_drawn
                else p.sample(self.samples, seed=seed)
            )
            return own if beside is None else global_batch(own, axis=1)
        value = self.value if beside is None else beside
        return p.sample(tf.shape(value)[: value.shape.rank - p.event_shape.rank], seed=seed)

    def mean_over_draws(self, kl: tf.Tensor) -> tf.Tensor:
        """A KL of each example, which may be there for each draw too."""
        return mean_of_draws(kl, self.shares) if kl.shape.rank == 2 else kl

    def _of_unknown(self, kl: tf.Tensor) -> tf.Tensor:
        """A KL, 0 where the value was given."""
        return kl if self.known is None else tf.where(self.known, tf.zeros_like(kl), kl)

    @property
    def _is_alone(self) -> bool:
        return isinstance(self.samples, int) and self.samples == 1

    def _log(self, distribution: Any, is_drawn: bool) -> tf.Tensor:
        if not is_drawn:
            return self._summed(log_density(distribution, self.value))
        values = log_density(distribution, moved(folded, self.value))
        return self._summed(unfolded(values, self.samples))

    def _summed(self, values: tf.Tensor, axes: int = 2) -> tf.Tensor:
        if values.shape.rank is None or values.shape.rank <= axes:
            return values
        return summed(values, None if self.mask is None else _beside(self.mask, axes), axes)


class Forward(Mapping[str, Term]):
    """The terms of one pass by the names of the variables, in ancestral order.

    Of a model with one latent variable `posterior`, `prior`, `z` and `log_posterior()` are its own.

    Attributes:
      latent: the terms of the latent variables by name.
      observed: those of the observed ones.
      step: training steps so far, for schedules and for draws of the objective's own.
      training: whether the model trains.
      weights: the examples' sample weights, `[batch]`; None: all are 1. The model multiplies the
        loss by these; an objective needs them only for means over the batch of its own.
      decode: z `[batch, ...]` -> p(x|z), for an objective that wants the decoder elsewhere.
      decoder: the network itself.
      gate: what the values went through, if the objective `weighs_gradients`.
      fixed: gives the terms at the same values, through which no gradient passes.
      shares: of each draw in a mean over the draws, `[samples, batch]`: of an enumerated variable
        the probability of the value; None: all are equal.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        *,
        step: Any = 0,
        training: bool | None = True,
        weights: tf.Tensor | None = None,
        decode: Callable[[tf.Tensor], tfd.Distribution] | None = None,
        decoder: Any = None,
        gate: Gate | None = None,
        fixed: Callable[[], Mapping[str, Term]] | None = None,
        again: Callable[[Mapping[str, tf.Tensor]], Forward] | None = None,
        shares: tf.Tensor | None = None,
    ) -> None:
        self._terms = dict(terms)
        self._again, self.shares = again, shares
        self.latent = {name: term for name, term in terms.items() if term.q is not None}
        self.observed = {name: term for name, term in terms.items() if term.q is None}
        self.step, self.weights, self.gate, self.fixed = step, weights, gate, fixed
        self.decode, self.decoder, self.training = decode, decoder, training

    def __getitem__(self, name: str) -> Term:
        return self._terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def observing(self, values: Mapping[str, Any], **kwargs: Any) -> Forward:
        """The same pass with these values of observed variables, and further attributes."""
        terms = dict(self._terms)
        for name, value in values.items():
            terms[name] = copy.copy(terms[name])
            terms[name].value = value
        own = {"gate": self.gate, "fixed": self.fixed, "again": self._again, "shares": self.shares}
        return Forward(terms, **{**own, **kwargs})

    def at(self, values: Mapping[str, tf.Tensor]) -> Forward:
        """The pass at other values of latent variables, `[samples, batch, ...]` by name.

        Those that are not named keep their values. Networks run with the same noise, and leave
        moving averages and losses as they are; the gradient goes through the values. So
        `forward.at({"z": z}).log_joint` is `log p(x, z)` for an objective that moves z.

        Raises:
          InputError: it is a pass without a model, such as a `ForwardPass`.
        """
        if self._again is None:
            raise InputError("Expected a pass of a model.", type(self).__name__)
        observed = {name: term.value for name, term in self.observed.items()}
        of_model = {"step": self.step, "training": self.training, "weights": self.weights}
        return self._again(values).observing(observed, **of_model)

    @functools.cached_property
    def log_likelihood(self) -> tf.Tensor:
        """`log p` of all that is observed, `[samples, batch]`, in nats.

        Latent values that are known are observed too.
        """
        found = [term.log_p() for term in self.observed.values()]
        found += [term.log_known() for term in self.latent.values() if term.known is not None]
        return functools.reduce(tf.add, found)

    @property
    def has_density(self) -> bool:
        """Whether each posterior has a density."""
        return all(term.has_density for term in self.latent.values())

    @functools.cached_property
    def log_joint(self) -> tf.Tensor:
        """`log p(x, z)` at the values, `[samples, batch]`, in nats."""
        total = self.log_likelihood
        for term in self.latent.values():
            log_p = term.log_p()
            if term.known is not None:
                log_p = tf.where(term.known, tf.zeros_like(log_p), log_p)
            total += log_p
        return total

    @functools.cached_property
    def log_q(self) -> tf.Tensor:
        """`log q(z|x)` at the values, `[samples, batch]`, in nats."""
        return functools.reduce(tf.add, [term.log_q() for term in self.latent.values()])

    @functools.cached_property
    def log_weights(self) -> tf.Tensor:
        """`log p(x, z) - log q(z|x)`, `[samples, batch]`, in nats."""
        return self.log_joint - self.log_q

    @functools.cached_property
    def nll(self) -> tf.Tensor:
        """`-E_q[log p(x|z)]`, `[batch]`, in nats."""
        return -mean_of_draws(self.log_likelihood, self.shares)

    @functools.cached_property
    def kls(self) -> dict[str, tf.Tensor]:
        """`KL[q || p]` of each latent variable with a density, `[batch]`, in nats."""
        return {name: term.kl() for name, term in self.latent.items() if term.has_density}

    @functools.cached_property
    def kl(self) -> tf.Tensor | None:
        """The sum of these; None where no posterior has a density."""
        return functools.reduce(tf.add, self.kls.values()) if self.kls else None

    def fits(self) -> None:
        """Raises `InputError` unless posteriors, priors and likelihoods go together."""
        for name, term in self.latent.items():
            called = "" if len(self.latent) == 1 else f" of {name}"
            shapes.posterior_fits(term.q, called, term.of_steps)
            shapes.prior_fits(term.p, term.q, called, term.p_has_rows)
            shapes.dtypes_fit(self.log_likelihood, term.q)

    def number(self, name: str) -> int:
        """Which of the latent variables this is, counted from 0."""
        return list(self.latent).index(name)

    @property
    def only(self) -> Term:
        """The term of the one latent variable.

        Raises:
          InputError: there are several.
        """
        if len(self.latent) != 1:
            raise InputError("Expected one latent variable.", ", ".join(self.latent))
        return next(iter(self.latent.values()))

    @property
    def posterior(self) -> Any:
        """q(z|x), of the one latent variable."""
        return self.only.q

    @property
    def prior(self) -> Any:
        """p(z), of the one latent variable."""
        return self.only.p

    @property
    def z(self) -> tf.Tensor:
        """The draws, `[samples, batch, ...]`, of the one latent variable."""
        return self.only.value

    def log_posterior(self) -> tf.Tensor:
        """`log q(z|x)` at z, `[samples, batch]`, of the one latent variable."""
        return self.only.log_q()


class ForwardPass(Forward):
    """A pass of one latent variable, made of its parts: for tests of an objective, and by hand.

    Args:
      posterior: q(z|x), batch `[batch]`.
      prior: p(z), batch `[]`.
      z: draws from q, `[num_samples, batch, ...]`.
      log_likelihood: `log p(x|z)`, `[num_samples, batch]`, in nats.
      step: training steps so far.
      log_posterior: gives `log q(z|x)` at z, `[num_samples, batch]`; None: it is computed.
      has_density: False where the posterior is a point mass.
      **kwargs: as of a `Forward`.

    Example:
      >>> q = p = tfd.Normal([0.], 1.)
      >>> forward = ForwardPass(q, p, z=tf.zeros([2, 1]), log_likelihood=tf.fill([2, 1], -3.))
      >>> forward.nll.numpy().tolist(), forward.log_weights.numpy().tolist()
      ([3.0], [[-3.0], [-3.0]])
    """

    def __init__(
        self,
        posterior: Any,
        prior: Any,
        z: tf.Tensor,
        log_likelihood: tf.Tensor,
        step: Any = 0,
        log_posterior: Callable[[], tf.Tensor] | None = None,
        has_density: bool = True,
        **kwargs: Any,
    ) -> None:
        z = tf.convert_to_tensor(z)
        term = Term(
            z,
            prior,
            posterior,
            samples=z.shape[0],
            log_q=log_posterior,
            has_density=has_density,
        )
        fixed = kwargs.pop("fixed", None) or (lambda: {"z": _at(term, moved(tf.stop_gradient, z))})
        super().__init__({"z": term}, step=step, fixed=fixed, **kwargs)
        self.latent, self.observed = {"z": term}, {}
        self.log_likelihood = tf.convert_to_tensor(log_likelihood)


def _at(term: Term, value: tf.Tensor) -> Term:
    return Term(value, term.p, term.q, samples=term.samples, has_density=term.has_density)


def independent_base(distribution: tfd.Distribution) -> tfd.Distribution:
    """The distributions of the single latent dimensions, `[..., dimensions]`.

    Raises:
      InputError: the dimensions are not independent, or not one axis.
    """
    distribution = getattr(distribution, "tensor_distribution", distribution)
    if isinstance(distribution, tfd.MultivariateNormalDiag):
        return tfd.Normal(distribution.loc, distribution.stddev())
    if isinstance(distribution, tfd.Independent) and distribution.event_shape.rank == 1:
        return distribution.distribution
    raise InputError(
        "Expected a posterior and a prior over vectors whose dimensions are independent, such as "
        "IndependentNormal and a unit normal.",
        f"a {distribution.name}, event shape {distribution.event_shape}",
    )


def mean_of_draws(values: tf.Tensor, shares: tf.Tensor | None = None) -> tf.Tensor:
    """The mean over the draws of `[samples, batch]`; with shares, by these."""
    if shares is None:
        return tf.reduce_mean(values, axis=0)
    return tf.reduce_sum(tf.cast(shares, values.dtype) * values, axis=0)


def folded(t: tf.Tensor) -> tf.Tensor:
    """`[samples, batch, ...]` with samples and batch as one axis."""
    flat = tf.reshape(t, tf.concat([[-1], tf.shape(t)[2:]], axis=0))
    flat.set_shape([None, *t.shape[2:]])
    return flat


def unfolded(t: tf.Tensor, samples: Any) -> tf.Tensor:
    """The inverse of `folded`."""
    made = tf.reshape(t, tf.concat([[samples, -1], tf.shape(t)[1:]], axis=0))
    made.set_shape([samples if isinstance(samples, int) else None, None, *t.shape[1:]])
    return made


def _beside(mask: Any, axes: int) -> tf.Tensor:
    """A mask over `[batch, ...]` for values that have an axis of samples in front."""
    mask = tf.convert_to_tensor(mask)
    return mask[tf.newaxis] if axes == 2 else mask
