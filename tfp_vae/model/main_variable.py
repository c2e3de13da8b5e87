"""A model by its main observed variable, x: one way to use a `VAE` and a `LatentModel`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.model.ancestral import standing_in
from tfp_vae.model.vae import VAE


def conditions(model: Any) -> dict[str, keras.KerasTensor]:
    """Returns what a model takes beside x, by name.

    Example:
      >>> from tfp_vae import layers, networks
      >>> vae = VAE(networks.encoder((5,), 2, num_classes=3),
      ...           networks.decoder(2, layers.IndependentNormal(5), num_classes=3))
      >>> list(conditions(vae))
      ['label']
    """
    if isinstance(model, VAE):
        return model.wiring.conditions
    return {name: t for name, t in model.wiring.ports.items() if name != model.wiring.main}


def likelihood(model: Any) -> keras.Model:
    """Returns the network of p(x | ...)."""
    return model.decoder if isinstance(model, VAE) else model.likelihoods[model.wiring.main]


def shape(model: Any) -> tuple[int | None, ...]:
    """Returns the shape of one x."""
    return tuple(likelihood(model).output_shape[1:])


def sampled(model: Any, num: int, given: Any = None, **kwargs: Any) -> tf.Tensor:
    """Returns new x, as `VAE.sample`; `given`: values of the conditions by name."""
    if isinstance(model, VAE):
        taken = None if given is None else {n: given[n] for n in model.wiring.drawn_given}
        return model.sample(num, conditions=taken, **kwargs)
    return model.sample(num, given=given, **kwargs)[model.wiring.main]


def reconstructed(model: Any, data: Any) -> tf.Tensor:
    """Returns the reconstruction of x."""
    found = model.reconstruct(data)
    return found if isinstance(model, VAE) else found[model.wiring.main]


def codes(model: Any, data: Any) -> dict[str, np.ndarray]:
    """Returns the value that stands for each latent variable, by name, `[n, ...]`."""
    outset = model.graph.begin(model.wiring.by_name(data), training=False, undrawn=True)
    terms, _ = model.graph.encode(outset, standing_in(model.graph))
    return {name: np.asarray(term.value[0]) for name, term in terms.items()}
