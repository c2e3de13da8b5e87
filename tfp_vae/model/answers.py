"""What a model of named variables says of data outside of training, by the variables' names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfp_vae.bridge import sparse
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.choosers import standing_in
from tfp_vae.model.conditional import Value
from tfp_vae.model.generation import generate
from tfp_vae.model.inference import ROWS, large


class Answers:
    """Posteriors, likelihoods, reconstructions and draws of variables; large ones are compiled.

    Data are given by name, as arrays or tensors.

    Args:
      graph: the variables.
    """

    def __init__(self, graph: Variables) -> None:
        self.graph = graph
        compiled = functools.partial(tf.function, autograph=False, reduce_retracing=True)
        self.means_of_many, self.draw_many = compiled(self._means), compiled(self._draw)

    def posteriors(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns q of each latent variable, given the values that stand for those before it."""
        outset = self.graph.infer(data, with_priors=False)
        names = list(self.graph.posteriors)
        if all(("q", name) in outset.emitted for name in names):
            return {name: outset.emitted["q", name].distribution for name in names}
        terms, _ = self.graph.encode(outset, standing_in(self.graph.posteriors))
        return {name: term.q for name, term in terms.items()}

    def likelihoods(self, latents: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns p of each observed variable, at values of all latent ones, `[batch, ...]`."""
        values = {name: Value(value) for name, value in data.items()}
        values |= self.graph.features_of(values)
        values |= {name: Value(value) for name, value in latents.items()}
        for prior in self.graph.priors.values():
            if prior.puts_out:
                values |= prior.infer(values).more
        return self.graph.decode(values)

    def means(self, data: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Returns the mean of each observed variable at values that stand for the latent ones."""
        data = sparse.dense(dict(data))
        return (self.means_of_many if large(data) else self._means)(data)

    def _means(self, data: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        outset = self.graph.infer(data, with_priors=False)
        _, values = self.graph.encode(outset, standing_in(self.graph.posteriors))
        return {name: p.mean() for name, p in self.graph.decode(values).items()}

    def draw(
        self, num: Any, seed: Any, given: Mapping[str, Any], mean: bool = True, length: Any = None
    ) -> dict[str, tf.Tensor]:
        """Returns new values of all variables: see `generate`."""
        if tf.executing_eagerly() and num >= ROWS:
            return self.draw_many(tf.constant(num, tf.int32), seed, given, mean, length)
        return self._draw(num, seed, given, mean, length)

    def _draw(self, num: Any, seed: Any, given: Any, mean: bool, length: Any) -> Any:
        return generate(self.graph, num, seed, given, mean, length)
