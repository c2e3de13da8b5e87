"""Named variables in ancestral order, and the one loop over them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.masks import mask_of
from tfp_vae.bridge.origins import moved
from tfp_vae.bridge.side_effects import further_pass, seeds_of
from tfp_vae.model.conditional import Conditional, Emitted, Value, tiled
from tfp_vae.objectives.draw_axis import folded, unfolded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.gradient_gate import Gate, recorded
from tfp_vae.objectives.term import Term
from tfp_vae.wiring import Ports

Values: TypeAlias = dict[str, Value]
# From a variable's number and name and its q to a value `[samples, batch, ...]`, and what gives
# log q there.
Chooser: TypeAlias = Callable[[int, str, Emitted], tuple[tf.Tensor, Any]]


@dataclasses.dataclass
class Outset:
    """What of a pass does not depend on a draw: it is made once, however many draws there are.

    Attributes:
      data: what the user gave, by name.
      values: the data, features of these, and states that networks of these put out.
      emitted: what networks of these gave, by "p" or "q" and the variable's name.
    """

    data: Mapping[str, Any]
    values: Values
    emitted: dict[tuple[str, str], Emitted] = dataclasses.field(default_factory=dict)


class Variables:
    """The conditionals of a model: each latent variable's posterior and prior, and likelihoods.

    Args:
      posteriors: of the latent variables, in ancestral order.
      priors: of the same ones.
      likelihoods: of the observed variables.
      features: a network of data that puts out a dict of deterministic values, or None.
    """

    def __init__(
        self,
        posteriors: dict[str, Conditional],
        priors: dict[str, Conditional],
        likelihoods: dict[str, Conditional],
        features: keras.Model | None = None,
    ) -> None:
        self.posteriors, self.priors, self.likelihoods = posteriors, priors, likelihoods
        self.features = None if features is None else Ports(features)

    @property
    def conditionals(self) -> list[Conditional]:
        """All of them: for each latent variable prior and posterior, then the likelihoods."""
        pairs = zip(self.priors.values(), self.posteriors.values(), strict=True)
        return [*(one for pair in pairs for one in pair), *self.likelihoods.values()]

    def begin(
        self, data: Mapping[str, Any], training: bool | None = None, undrawn: bool = False
    ) -> Outset:
        """What does not depend on a draw; `undrawn`: nor is anything drawn by its networks."""
        values = {n: Value(tensor) for n, tensor in data.items() if n not in self.posteriors}
        names = [] if self.features is None else [t.name for t in self.features.tensors]
        if self.features is not None and set(names) <= set(data):
            given = {name: data[name] for name in names}
            made = self.features.network(self.features.pack_all(given), training=training)
            values.update({name: Value(tensor) for name, tensor in made.items()})
        outset = Outset(data, values)
        for name in self.posteriors:
            for kind, one in (("p", self.priors[name]), ("q", self.posteriors[name])):
                if one.network is not None and set(one.inputs) <= set(values):
                    found = one.infer(values) if undrawn else one(values, 1, training)
                    outset.emitted[kind, name] = found
                    values.update(found.more)
        return outset

    def forward(
        self,
        outset: Outset,
        samples: Any = 1,
        training: bool | None = None,
        choose: Chooser | None = None,
        gate: Gate | None = None,
        by_xla: bool = False,
    ) -> Forward:
        """The terms of all variables.

        Args:
          outset: what `begin` gave.
          samples: how many draws.
          training: as for Keras' layers.
          choose: gives the values of latent variables; None: draws from the posteriors.
          gate: what the draws go through. Densities are then taken at values that have gone through
            it, and draws depend on each other as they would without.
          by_xla: densities of data are compiled.
        """
        one = _Pass(self, outset, samples, training, runs_again=gate is not None)
        terms, values = one.latents(choose or drawing(samples))
        fixed, gated = None, {}
        if gate is not None:
            gated = {name: moved(gate, term.value) for name, term in terms.items()}
            still = at({name: moved(tf.stop_gradient, z) for name, z in gated.items()})
            fixed = lambda: one.latents(still)[0]  # noqa: E731
        with recorded(gate):
            if gate is not None:
                terms, values = one.latents(at(gated))
            return Forward({**terms, **self._observed(one, values, by_xla)}, gate=gate, fixed=fixed)

    def _observed(self, one: _Pass, values: Values, by_xla: bool) -> dict[str, Term]:
        terms = {}
        for name, likelihood in self.likelihoods.items():
            emitted = likelihood(values, one.samples, one.training)
            values.update(emitted.more)
            terms[name] = Term(
                one.outset.data.get(name),
                functools.partial(_of_rows, emitted),
                samples=one.samples,
                mask=_mask(emitted, one.samples),
                of_steps=likelihood.of_steps,
                by_xla=by_xla,
            )
        return terms

    def encode(
        self, outset: Outset, choose: Chooser, samples: Any = 1
    ) -> tuple[dict[str, Term], Values]:
        """The terms of the latent variables, and all values by then, outside of training."""
        return _Pass(self, outset, samples, False).latents(choose)

    def decode(
        self, latents: Mapping[str, Any], data: Mapping[str, Any], training: bool | None = False
    ) -> dict[str, Any]:
        """The likelihoods at values of the latent variables, `[batch, ...]`, by name.

        What a prior puts out beside its distribution is made on the way.
        """
        one = _Pass(self, self.begin(data, training), 1, training)
        chosen = at({name: tf.convert_to_tensor(z)[tf.newaxis] for name, z in latents.items()})
        _, values = one.latents(chosen, with_posteriors=False)
        return {n: c.infer(values).distribution for n, c in self.likelihoods.items()}


@dataclasses.dataclass
class _Pass:
    """One pass: what has run in it runs again as a further pass, with the same noise."""

    variables: Variables
    outset: Outset
    samples: Any
    training: bool | None
    runs_again: bool = False
    ran: dict[tuple[str, str], Any] = dataclasses.field(default_factory=dict)

    def emit(self, kind: str, name: str, values: Values) -> Emitted:
        """What p or q of a latent variable gives."""
        found = self.outset.emitted.get((kind, name))
        if found is None:
            of = self.variables.posteriors if kind == "q" else self.variables.priors
            run = functools.partial(of[name], values, self.samples, self.training)
            network = of[name].network
            if (kind, name) in self.ran and network is not None:
                with further_pass(network, self.ran[kind, name]):
                    found = run()
            else:
                seeds = seeds_of(network) if self.runs_again and network is not None else None
                found = run()
                self.ran[kind, name] = seeds
        values.update(found.more)
        return found

    def latents(
        self, choose: Chooser, with_posteriors: bool = True
    ) -> tuple[dict[str, Term], Values]:
        """The terms of the latent variables, and all values by then."""
        values, terms = dict(self.outset.values), {}
        for number, (name, posterior) in enumerate(self.variables.posteriors.items()):
            prior = self.variables.priors[name]
            if prior.puts_out:
                self.emit("p", name, values)
            q = self.emit("q", name, values) if with_posteriors else Emitted(None)
            value, log_q = choose(number, name, q)
            value, known = _known(self.outset.data.get(name), value)
            mask = _mask(q, self.samples)
            values[name] = Value(_as_input(value, mask, self.samples), is_drawn=True)
            terms[name] = Term(
                value,
                functools.partial(self._p, name, values),
                q.distribution,
                samples=self.samples,
                q_is_drawn=q.is_drawn,
                log_q=log_q,
                known=known,
                mask=mask,
                has_density=posterior.has_density,
                of_steps=posterior.of_steps,
            )
        return terms, values

    def _p(self, name: str, values: Values) -> tuple[Any, bool, bool]:
        """p of a variable when it is asked for, all values of the pass being there."""
        p = self.emit("p", name, values)
        return p.distribution, p.is_drawn, self.variables.priors[name].network is not None


def drawing(samples: Any, seed: Any = None) -> Chooser:
    """Draws from the posteriors, by a seed or each posterior's own."""
    alone = isinstance(samples, int) and samples == 1

    def choose(number: int, name: str, q: Emitted) -> tuple[tf.Tensor, Any]:
        del name
        d, its = q.distribution, seed
        if seed is not None and number:
            its = tf.random.experimental.stateless_fold_in(seed, number)
        if q.is_drawn:
            drawn = tf.convert_to_tensor(d) if its is None else d.sample(seed=its)
            unfold = functools.partial(unfolded, samples=samples)
            return moved(unfold, drawn), lambda: unfold(d.log_prob(drawn))
        if alone and its is None:
            drawn = tf.convert_to_tensor(d)
            value = moved(lambda t: t[tf.newaxis], drawn)
            # A flow knows the density for the tensor that it drew.
            return value, lambda: d.log_prob(drawn)[tf.newaxis]
        drawn = d.sample(samples, seed=its)
        return drawn, lambda: d.log_prob(drawn)

    return choose


def standing_in(variables: Variables) -> Chooser:
    """The one value that stands for each posterior: its mean, unless its layer says otherwise."""

    def choose(number: int, name: str, q: Emitted) -> tuple[tf.Tensor, Any]:
        del number
        layer = variables.posteriors[name].layer
        value = getattr(layer, "representative", tfd.Distribution.mean)(q.distribution)
        return value[tf.newaxis], None

    return choose


def at(values: Mapping[str, tf.Tensor]) -> Chooser:
    """These values, `[samples, batch, ...]`."""
    return lambda number, name, q: (values[name], None)


def _known(given: Any, drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The value, given in the rows where it is known, and which these are: those without a NaN."""
    if given is None:
        return drawn, None
    given = tf.convert_to_tensor(given)
    numbers = given.dtype.is_floating
    missing = tf.math.is_nan(given) if numbers else tf.zeros(tf.shape(given), tf.bool)
    given = tf.cast(tf.where(missing, tf.zeros_like(given), given), drawn.dtype)
    known = ~tf.reduce_any(missing, axis=list(range(1, given.shape.rank)))
    rows = tf.reshape(known, tf.concat([[1, -1], tf.ones([drawn.shape.rank - 2], tf.int32)], 0))
    return tf.where(rows, given, drawn), known


def _of_rows(emitted: Emitted) -> tuple[Any, bool, bool]:
    return emitted.distribution, emitted.is_drawn, True


def _mask(emitted: Emitted, samples: Any) -> tf.Tensor | None:
    """The mask on a distribution, `[batch, ...]`."""
    mask = mask_of(emitted.distribution)
    if mask is None or not emitted.is_drawn:
        return mask
    return unfolded(tf.convert_to_tensor(mask), samples)[0]


def _as_input(value: tf.Tensor, mask: Any, samples: Any) -> tf.Tensor:
    """A value as networks take it: a row for each draw, with its mask."""
    flat = folded(value)
    if mask is not None:
        flat._keras_mask = tiled(tf.convert_to_tensor(mask), samples)
    return flat
