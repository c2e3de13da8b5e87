"""Each recipe's model, small, and what it takes."""

import numpy as np

from tfp_vae import recipes
from tfp_vae.model import main_variable

LABELS = 10


# What a recipe is for, if it is not for any data.
SHAPES = dict.fromkeys(
    ["ms_ssim_vae", "deep_feature_vae", "recurrent_vae", "sentence_vae", "vrnn"], (8, 8, 1)
)


def made(name, labelled=None, **fields):
    """The recipe's model, small, conditioned on labels if it must be or if so asked."""
    conditional = recipes.RECIPES[name].conditional if labelled is None else labelled
    usual = {"shape": (8, 8, 1), "latent_size": 3, "widths": (12,), "steps": 100}
    classes = LABELS if conditional else None
    setting = recipes.Setting(num_examples=1500, num_classes=classes, **{**usual, **fields})
    return recipes.build(name, setting)


def inputs(model, x):
    labels = np.arange(len(x), dtype="int32") % LABELS
    if main_variable.conditions(model):
        return {"x": x, "label": labels}
    if "y" not in model.graph.posteriors:
        return x
    known = np.eye(LABELS, dtype="float32")[labels]
    known[1::2] = np.nan  # labels are values, and every other one is not known
    return {"x": x, "y": known}


def conditions(model, num):
    labels = np.arange(num, dtype="int32")
    return {"label": labels} if main_variable.conditions(model) else None


def kind(model):
    """What is exported: the layers of posteriors and likelihood, and the priors."""
    priors = getattr(model, "priors", None) or {"z": model.prior}
    ends = [*model.posterior_layers.values(), *priors.values()]
    return tuple(type(one).__name__ for one in [*ends, main_variable.likelihood(model).layers[-1]])
