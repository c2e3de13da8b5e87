"""Named variables in ancestral order, and the one loop over them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge.origins import moved
from tfp_vae.model.choosers import Chooser, at, drawing
from tfp_vae.model.conditional import Conditional, Emitted, Value, filled
from tfp_vae.model.enumeration import alike_draws, enumerating, share_draws
from tfp_vae.model.latent_pass import LatentPass, Outset, Values, mask_on
from tfp_vae.model.posterior_order import posterior_order
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.gradient_gate import Gate, recorded
from tfp_vae.objectives.term import Term
from tfp_vae.wiring import Ports


class Variables:
    """The conditionals of a model: each latent variable's posterior and prior, and likelihoods.

    Args:
      posteriors: of the latent variables, in ancestral order.
      priors: of the same ones.
      likelihoods: of the observed variables.
      features: a network of data that puts out a dict of deterministic values, or None.

    Attributes:
      made: the names of the deterministic values, each with its `keras.KerasTensor`.
      inferred: the names of the latent variables in the order of their posteriors.
      has_unknown: whether entries of observed variables may be NaN, which are not known.
    """

    def __init__(
        self,
        posteriors: dict[str, Conditional],
        priors: dict[str, Conditional],
        likelihoods: dict[str, Conditional],
        features: keras.Model | None = None,
    ) -> None:
        self.posteriors, self.priors, self.likelihoods = posteriors, priors, likelihoods
        self.inferred = posterior_order(posteriors, priors)
        self.has_unknown = any(one.takes_unknown for one in posteriors.values())
        self.features = None if features is None else Ports(features)
        outputs: Any = {} if features is None else features._outputs_struct
        self.made: dict[str, keras.KerasTensor] = dict(outputs)
        for one in self.conditionals:
            self.made.update(one.puts_out)

    @property
    def conditionals(self) -> list[Conditional]:
        """All of them: for each latent variable prior and posterior, then the likelihoods."""
        pairs = zip(self.priors.values(), self.posteriors.values(), strict=True)
        return [*(one for pair in pairs for one in pair), *self.likelihoods.values()]

    @property
    def alone(self) -> Conditional | None:
        """The likelihood, where there is one latent variable and one observed."""
        one_each = len(self.posteriors) == len(self.likelihoods) == 1
        return next(iter(self.likelihoods.values())) if one_each else None

    def shaped(self, name: str) -> Conditional:
        """Returns the network that a variable has its shape from: posterior or likelihood."""
        return self.posteriors.get(name) or self.likelihoods[name]

    def features_of(self, values: Mapping[str, Value], training: bool | None = False) -> Values:
        """Returns the deterministic values of data, where all data that these take are there."""
        features = self.features
        if features is None or not {t.name for t in features.tensors} <= set(values):
            return {}
        packed = features.pack({t.name: filled(values[t.name]).tensor for t in features.tensors})
        return {n: Value(v) for n, v in features.network(packed, training=training).items()}

    def begin(self, data: Mapping[str, Any], training: bool | None = None) -> Outset:
        """Returns what does not depend on a draw, of a pass through all networks."""
        return self._begin(data, training, drawn=True)

    def infer(self, data: Mapping[str, Any], with_priors: bool = True) -> Outset:
        """Returns the same outside of training: networks draw nothing.

        `with_priors=False`: of the priors those run that put out states.
        """
        return self._begin(data, False, drawn=False, with_priors=with_priors)

    def _begin(
        self, data: Mapping[str, Any], training: bool | None, drawn: bool, with_priors: bool = True
    ) -> Outset:
        values = {
            n: Value(tensor, has_unknown=self.has_unknown and n in self.likelihoods)
            for n, tensor in data.items()
            if n not in self.posteriors
        }
        values.update(self.features_of(values, training))
        outset = Outset(data, values)
        for name in self.posteriors:
            for kind, one in (("p", self.priors[name]), ("q", self.posteriors[name])):
                wanted = kind == "q" or with_priors or one.puts_out
                if wanted and one.network is not None and set(one.inputs) <= set(values):
                    found = one(values, 1, training) if drawn else one.infer(values)
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
        enumerated: Sequence[str] = (),
    ) -> Forward:
        """Returns the terms of all variables.

        Args:
          outset: what `begin` or `infer` gave.
          samples: how many draws.
          training: as for Keras' layers.
          choose: gives the values of latent variables; None: draws from the posteriors.
          gate: what the draws go through. Densities are then taken at values that have gone through
            the gate, and draws depend on each other as they would without.
          by_xla: densities of data are compiled.
          enumerated: the latent variables that take each of their values in turn.
        """
        one, alike = self._pass(outset, samples, training), {}
        if enumerated:
            choose = enumerating(self.posteriors, self.inferred, enumerated, samples)
            alike = alike_draws(self.posteriors, self.inferred, enumerated)
        terms, values = one.latents(choose or drawing(samples))
        fixed, gated = None, {}
        if gate is not None:
            gated = {name: moved(gate, term.value) for name, term in terms.items()}
            still = at({name: moved(tf.stop_gradient, z) for name, z in gated.items()})
            fixed = lambda: one.latents(still)[0]  # noqa: E731
        with recorded(gate):
            if gate is not None:
                terms, values = one.latents(at(gated))
            observed = self._observed(one, values, by_xla, alike)
        again = functools.partial(self._again, one, {n: term.value for n, term in terms.items()})
        shares = share_draws(terms, enumerated)
        return Forward({**terms, **observed}, gate=gate, fixed=fixed, again=again, shares=shares)

    def _again(
        self, one: LatentPass, own: Mapping[str, tf.Tensor], values: Mapping[str, tf.Tensor]
    ) -> Forward:
        """Returns a further pass at these values, and at their own of the other variables."""
        terms, all_values = one.latents(at({**own, **values}))
        return Forward({**terms, **self._observed(one, all_values, False, {})})

    def _pass(self, *args: Any, **kwargs: Any) -> LatentPass:
        posteriors = {name: self.posteriors[name] for name in self.inferred}
        return LatentPass(posteriors, self.priors, *args, **kwargs)

    def _observed(
        self, every: LatentPass, values: Values, by_xla: bool, alike: Mapping[str, int]
    ) -> dict[str, Term]:
        """Returns the terms of the observed variables; of draws that are alike one is decoded."""
        terms = {}
        for name, likelihood in self.likelihoods.items():
            times, completes = 1, self.has_unknown and name in values and self._is_shared(name)
            if alike and not (likelihood.puts_out or likelihood.of_steps or completes):
                drawn = [n for n in likelihood.inputs if n in values and values[n].is_drawn]
                times = min([alike.get(n, 1) for n in drawn], default=1)
            one, given = every.one_of(times, values)
            emitted = one.run("likelihood", likelihood, given)
            values.update(emitted.more)
            terms[name] = Term(
                one.outset.data.get(name),
                functools.partial(_of_rows, emitted),
                samples=one.samples,
                alike=times,
                mask=mask_on(emitted, one.samples),
                of_steps=likelihood.of_steps,
                by_xla=by_xla,
                has_unknown=self.has_unknown,
            )
            if completes:
                whole = terms[name].with_draws(emitted.distribution.draw_seed())
                values[name] = Value(whole, emitted.is_drawn)
        return terms

    def _is_shared(self, name: str) -> bool:
        """Tells whether the likelihood of another observed variable takes this one."""
        return any(name in one.inputs for n, one in self.likelihoods.items() if n != name)

    def encode(
        self, outset: Outset, choose: Chooser, samples: Any = 1
    ) -> tuple[dict[str, Term], Values]:
        """Returns the terms of the latent variables outside of training, and all values by then."""
        return self._pass(outset, samples, False).latents(choose)

    def decode(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Returns the likelihoods at values of all that these take, by name; nothing is drawn."""
        values, found = dict(values), {}
        for name, likelihood in self.likelihoods.items():
            emitted = likelihood.infer(values)
            values.update(emitted.more)
            found[name] = emitted.distribution
            if name not in values and self._is_shared(name):
                values[name] = Value(emitted.distribution.mean())
        return found


def _of_rows(emitted: Emitted) -> tuple[Any, bool, bool]:
    return emitted.distribution, emitted.is_drawn, True
