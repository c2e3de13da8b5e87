"""The terms of one pass over a batch: what an objective is given."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.origins import moved
from tfp_vae.distributions import shapes
from tfp_vae.errors import InputError
from tfp_vae.objectives.draw_axis import mean_of_draws
from tfp_vae.objectives.gradient_gate import Gate
from tfp_vae.objectives.term import Term


class Forward(Mapping[str, Term]):
    """The terms of one pass by the names of the variables, in ancestral order.

    `posterior`, `prior`, `z` and `log_posterior()` are of a model with one latent variable.

    Attributes:
      latent: the terms of the latent variables by name.
      observed: those of the observed ones.
      step: training steps so far, for schedules and for draws of the objective's own.
      training: whether the model trains.
      weights: the examples' sample weights, `[batch]`; None: all are 1. The model multiplies the
        loss by the weights; an objective needs them for means over the batch.
      decode: z `[batch, ...]` -> p(x|z), for an objective that wants the decoder at other z.
      decoder: the network of `decode`.
      gate: the `Gate` that the values went through, if the objective `weighs_gradients`.
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
        """Returns the same pass with other values of observed variables, and more attributes."""
        terms = {**self._terms, **{name: self[name].at(value) for name, value in values.items()}}
        own = {"gate": self.gate, "fixed": self.fixed, "again": self._again, "shares": self.shares}
        return Forward(terms, **{**own, **kwargs})

    def at(self, values: Mapping[str, tf.Tensor]) -> Forward:
        """Returns the pass at other values of latent variables, `[samples, batch, ...]` by name.

        Variables that are not named keep their values. Networks run with the same noise, and leave
        moving averages and losses as they are; the gradient goes through the values. So
        `forward.at({"z": z}).log_joint` is `log p(x, z)` for an objective that moves z.

        Raises:
          InputError: the pass has no model, such as a `ForwardPass`.
        """
        if self._again is None:
            raise InputError("Expected a pass of a model.", type(self).__name__)
        observed = {name: term.value for name, term in self.observed.items()}
        of_model = {"step": self.step, "training": self.training, "weights": self.weights}
        return self._again(values).observing(observed, **of_model)

    @functools.cached_property
    def log_likelihood(self) -> tf.Tensor:
        """`log p` of all that is observed, known latent values too, `[samples, batch]`, in nats."""
        found = [term.log_p() for term in self.observed.values()]
        found += [term.log_known() for term in self.latent.values() if term.known is not None]
        return functools.reduce(operator.add, [tf.cast(each, found[0].dtype) for each in found])

    @property
    def has_density(self) -> bool:
        """Whether each posterior has a density."""
        return all(term.has_density for term in self.latent.values())

    @functools.cached_property
    def log_joint(self) -> tf.Tensor:
        """`log p(x, z)` at the values, `[samples, batch]`, in nats."""
        found = [term.of_unknown(term.log_p()) for term in self.latent.values()]
        return functools.reduce(operator.add, found, self.log_likelihood)

    @functools.cached_property
    def log_q(self) -> tf.Tensor:
        """`log q(z|x)` at the values, `[samples, batch]`, in nats."""
        return functools.reduce(operator.add, [term.log_q() for term in self.latent.values()])

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
        """The sum of `kls`; None where no posterior has a density."""
        return functools.reduce(operator.add, self.kls.values()) if self.kls else None

    def fits(self) -> None:
        """Checks that posteriors, priors and likelihoods go together, else raises `InputError`."""
        for name, term in self.latent.items():
            called = "" if len(self.latent) == 1 else f" of {name}"
            shapes.posterior_fits(term.q, called, term.of_steps)
            shapes.prior_fits(term.p, term.q, called, term.p_has_rows)
            shapes.dtypes_fit(self.log_likelihood, term.q)

    def number(self, name: str) -> int:
        """Returns the place of a latent variable among the others, from 0."""
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
        """Returns `log q(z|x)` at z, `[samples, batch]`, of the one latent variable."""
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
        samples = z.shape[0]
        term = Term(
            z, prior, posterior, samples=samples, log_q=log_posterior, has_density=has_density
        )
        fixed = kwargs.pop("fixed", None) or (lambda: {"z": term.at(moved(tf.stop_gradient, z))})
        super().__init__({"z": term}, step=step, fixed=fixed, **kwargs)
        self.latent, self.observed = {"z": term}, {}
        self.log_likelihood = tf.convert_to_tensor(log_likelihood)
