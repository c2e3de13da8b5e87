"""One pass over the latent variables, and what of it does not depend on a draw."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from tfp_vae.bridge.masks import along, mask_of
from tfp_vae.bridge.side_effects import further_pass, seeds_of
from tfp_vae.model.choosers import Chooser
from tfp_vae.model.conditional import Conditional, Emitted, Value, tiled
from tfp_vae.objectives.draw_axis import folded, unfolded
from tfp_vae.objectives.term import Term

Values: TypeAlias = dict[str, Value]


@dataclasses.dataclass
class Outset:
    """What of a pass does not depend on a draw, made once, however many draws there are.

    Attributes:
      data: what the user gave, by name.
      values: the data, features of these, and states that networks of these put out.
      emitted: what networks of these gave, by "p" or "q" and the variable's name.
    """

    data: Mapping[str, Any]
    values: Values
    emitted: dict[tuple[str, str], Emitted] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class LatentPass:
    """One pass over latent variables: what has run in it runs again with the same noise.

    Args:
      posteriors: of the latent variables, in the order of inference.
      priors: of the same ones, in ancestral order.
      outset: what does not depend on a draw.
      samples: how many draws.
      training: as for Keras' layers.
    """

    posteriors: Mapping[str, Conditional]
    priors: Mapping[str, Conditional]
    outset: Outset
    samples: Any
    training: bool | None
    ran: dict[tuple[str, str], Any] = dataclasses.field(default_factory=dict)

    def emit(self, kind: str, name: str, values: Values) -> Emitted:
        """Returns what p or q of a latent variable gives."""
        found = self.outset.emitted.get((kind, name))
        if found is None:
            of = self.posteriors if kind == "q" else self.priors
            found = self.run(kind, of[name], values)
        values.update(found.more)
        return found

    def run(self, kind: str, one: Conditional, values: Values) -> Emitted:
        """Returns what a conditional gives; a network that has run in this pass keeps its noise."""
        given = (values, self.samples, self.training)
        if one.network is None:
            return one(*given)
        name = (kind, one.variable)
        if name in self.ran:
            with further_pass(one.network, self.ran[name]):
                return one(*given)
        self.ran[name] = seeds_of(one.network) if self.training else None
        return one(*given)

    def one_of(self, times: int, values: Values) -> tuple[LatentPass, Values]:
        """Returns the pass and the values of each `times`-th draw alone."""
        if times == 1:
            return self, values
        fewer = {
            n: Value(folded(unfolded(v.tensor, self.samples)[::times]), True) if v.is_drawn else v
            for n, v in values.items()
        }
        return dataclasses.replace(self, samples=self.samples // times), fewer

    def latents(self, choose: Chooser) -> tuple[dict[str, Term], Values]:
        """Returns the terms of the latent variables, and all values by then."""
        values, terms = dict(self.outset.values), {}
        handed: dict[str, Emitted] = {}
        for number, (name, posterior) in enumerate(self.posteriors.items()):
            handed |= self._hand_down(values)
            q = self.emit("q", name, values)
            value, log_q = choose(number, name, q)
            mask = mask_on(q, self.samples)
            value, known = _known(self.outset.data.get(name), value, mask)
            values[name] = Value(_as_input(value, mask, self.samples), is_drawn=True)
            terms[name] = Term(
                value,
                functools.partial(self._p, name, values, handed),
                q.distribution,
                samples=self.samples,
                q_is_drawn=q.is_drawn,
                log_q=log_q,
                known=known,
                mask=mask,
                has_density=posterior.has_density,
                of_steps=posterior.of_steps,
            )
        handed |= self._hand_down(values)
        return {name: terms[name] for name in self.priors}, values

    def _hand_down(self, values: Values) -> dict[str, Emitted]:
        """Adds the states that priors put out, and returns what those gave that ran for these."""
        found = {}
        for name, prior in self.priors.items():
            lacking = set(prior.puts_out) - set(values)
            if lacking and set(prior.inputs) <= set(values):
                found[name] = self.emit("p", name, values)
        return found

    def _p(
        self, name: str, values: Values, handed: Mapping[str, Emitted]
    ) -> tuple[Any, bool, bool]:
        """Returns p of a variable when it is asked for, all values of the pass being there."""
        p = handed[name] if name in handed else self.emit("p", name, values)
        return p.distribution, p.is_drawn, self.priors[name].network is not None


def _known(given: Any, drawn: tf.Tensor, mask: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the value, given in the rows where it is known, and which rows these are.

    A row is known if it has no NaN among the steps that its mask does not hide.
    """
    if given is None:
        return drawn, None
    given = tf.convert_to_tensor(given)
    numbers = given.dtype.is_floating
    missing = tf.math.is_nan(given) if numbers else tf.zeros(tf.shape(given), tf.bool)
    given = tf.cast(tf.where(missing, tf.zeros_like(given), given), drawn.dtype)
    if mask is not None:
        missing &= along(missing, mask)
    known = ~tf.reduce_any(missing, axis=list(range(1, given.shape.rank)))
    rows = tf.reshape(known, tf.concat([[1, -1], tf.ones([drawn.shape.rank - 2], tf.int32)], 0))
    return tf.where(rows, given, drawn), known


def mask_on(emitted: Emitted, samples: Any) -> tf.Tensor | None:
    """Returns the mask on a distribution, `[batch, ...]`."""
    mask = mask_of(emitted.distribution)
    if mask is None or not emitted.is_drawn:
        return mask
    return unfolded(tf.convert_to_tensor(mask), samples)[0]


def _as_input(value: tf.Tensor, mask: Any, samples: Any) -> tf.Tensor:
    """Returns a value as networks take it: a row for each draw, with its mask."""
    alone = isinstance(samples, int) and samples == 1
    flat = tf.squeeze(value, 0) if alone else folded(value)
    if mask is not None:
        flat._keras_mask = tiled(tf.convert_to_tensor(mask), samples)
    return flat
