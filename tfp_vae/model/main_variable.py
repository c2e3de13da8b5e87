"""A model by its main observed variable, x: one way to use a `VAE` and a `LatentModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.model.base import ProbabilisticModel
from tfp_vae.model.choosers import standing_in
from tfp_vae.model.vae import VAE
from tfp_vae.networks import categories
from tfp_vae.objectives import SemiSupervised


def conditions(model: ProbabilisticModel) -> dict[str, keras.KerasTensor]:
    """Returns what a model takes beside x, by name, without a mask that x says itself.

    Example:
      >>> from tfp_vae import layers, networks
      >>> vae = VAE(networks.encoder((5,), 2, num_classes=3),
      ...           networks.decoder(2, layers.IndependentNormal(5), num_classes=3))
      >>> list(conditions(vae))
      ['label']
    """
    main = model.wiring.main
    return {n: t for n, t in model.wiring.ports.items() if n not in (main, f"{main}_known")}


def likelihood(model: ProbabilisticModel) -> keras.Model:
    """Returns the network of p(x | ...)."""
    network = model.graph.likelihoods[model.wiring.main].network
    assert network is not None
    return network


def num_labels(model: ProbabilisticModel) -> int | None:
    """Returns the number of labels that p(x | ...) is of; None: it takes no label."""
    of_values = labels_that_are_values(model)
    return next(iter(of_values.values()), categories(likelihood(model)).get("label"))


def labels_that_are_values(model: ProbabilisticModel) -> dict[str, int]:
    """Returns the label that is a latent variable, with the number of labels, if there is one."""
    objective = model.objective
    if not isinstance(objective, SemiSupervised) or not isinstance(objective.labels, str):
        return {}
    return {objective.labels: int(model.graph.posteriors[objective.labels].shape[0] or 0)}


def labels_in_turn(model: ProbabilisticModel, num: int) -> dict[str, np.ndarray] | None:
    """Returns each label after the other, as the model takes these; None: it takes no label."""
    classes = num_labels(model)
    return None if classes is None else as_labels(model, np.arange(num) % classes)


def as_labels(model: ProbabilisticModel, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Returns labels by their numbers, `[n]`, as a model takes these that takes labels."""
    for name, classes in labels_that_are_values(model).items():
        return {name: np.eye(classes, dtype=np.float32)[numbers]}
    return {"label": numbers.astype(np.int32)}


def causal(model: ProbabilisticModel) -> list[str]:
    """Returns the observed variables that are drawn step by step, given their steps before."""
    priors, found = list(model.graph.priors.values()), []
    for name, likelihood in model.graph.likelihoods.items():
        if any(name in one.inputs for one in [*priors, likelihood]):
            found.append(name)
    return found


def at_prior_draws(
    model: ProbabilisticModel,
    num: int,
    seed: Any,
    given: Mapping[str, Any],
    length: int | None = None,
) -> Any:
    """Returns p(x | ...) at draws of all latent variables from their priors, by a pair of seeds.

    `given`: values of the conditions by name; `length`: of sequences whose number of steps is open.
    The model's own draws go on as if this had not been.
    """
    graph = model.graph
    own = causal(model)
    values = model.answers.draw(num, seed, given, mean=False, length=length)
    latents = {name: values[name] for name in graph.posteriors}
    seen = {name: values[name] for name in own}  # by a network of the steps before
    return model.answers.likelihoods(latents, {**seen, **given})[model.wiring.main]


def sampled(
    model: Any, num: int, given: Mapping[str, Any] | None = None, **kwargs: Any
) -> tf.Tensor:
    """Returns new x, as `VAE.sample`; `given`: values of the conditions by name."""
    if isinstance(model, VAE):
        taken = None if given is None else {n: given[n] for n in model.wiring.drawn_given}
        return model.sample(num, conditions=taken, **kwargs)
    return model.sample(num, given=given, **kwargs)[model.wiring.main]


def reconstructed(model: Any, data: Any) -> tf.Tensor:
    """Returns the reconstruction of x."""
    found = model.reconstruct(data)
    return found if isinstance(model, VAE) else found[model.wiring.main]


def codes(model: ProbabilisticModel, data: Any) -> dict[str, np.ndarray]:
    """Returns the value that stands for each latent variable, by name, `[n, ...]`."""
    outset = model.graph.infer(model.wiring.by_name(data), with_priors=False)
    terms, _ = model.graph.encode(outset, standing_in(model.graph.posteriors))
    return {name: np.asarray(term.value[0]) for name, term in terms.items()}
