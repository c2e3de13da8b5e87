"""Each recipe's model, small, and what it takes."""

import numpy as np

from tfp_vae import VAE, recipes

LABELS = 10


def made(name, labelled=None, **fields) -> VAE:
    """The recipe's model, small, conditioned on labels if it must be or if so asked."""
    conditional = recipes.RECIPES[name].conditional if labelled is None else labelled
    fields = {"latent_size": 3, "widths": (12,), "steps": 100, **fields}
    classes = LABELS if conditional else None
    return recipes.build(name, recipes.Setting((8, 8, 1), 1500, num_classes=classes, **fields))


def inputs(vae, x):
    labels = np.arange(len(x), dtype="int32") % LABELS
    return {"x": x, "label": labels} if vae.wiring.conditions else x


def conditions(vae, num):
    return np.arange(num, dtype="int32") if vae.wiring.conditions else None
