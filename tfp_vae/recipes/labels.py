"""Published models whose labels are known for some examples only."""

from __future__ import annotations

import dataclasses

import keras

from tfp_vae import layers
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import SemiSupervised
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them

Normal = layers.IndependentNormal


@recipe(
    "M2",
    "Kingma et al., arXiv:1406.5298",
    "a classifier from few labels and many examples",
    conditional=True,
    labels="y",
)
def m2(s: Setting) -> LatentModel:
    assert s.num_classes is not None
    label = layers.OneHotCategorical(s.num_classes)
    s = dataclasses.replace(s, num_classes=None)  # labels are values here, not conditions
    k, n = label.event_size, s.latent_size
    x = parts.data(s)
    shown = parts.shown(s, x)  # once for all labels
    return LatentModel(
        {
            "y": (parts.conditional(s, parts.data(s), label), None),
            "z": (parts.conditional(s, parts.vectors(h=shown.shape[-1], y=k), Normal(n)), None),
        },
        {"x": parts.likelihood(s, z=n, y=k)},
        features=keras.Model(x, {"h": shown}),
        objective=s.chosen(SemiSupervised("y", alpha=_share_of_classifier(s))),
    )


@recipe(
    "M1+M2",
    "Kingma et al., arXiv:1406.5298",
    "few labels: classes are told apart by a vector of features that is learnt from all examples",
    conditional=True,
    labels="y",
)
def m1_m2(s: Setting) -> LatentModel:
    # The two are trained together; the paper trains M1 first. q(y) and q(z2) are of a draw of z1.
    assert s.num_classes is not None
    label = layers.OneHotCategorical(s.num_classes)
    s = dataclasses.replace(s, num_classes=None)
    k, n = label.event_size, s.latent_size
    return LatentModel(
        {
            "y": (parts.conditional(s, parts.vectors(z1=n), label), None),
            "z2": (parts.conditional(s, parts.vectors(z1=n, y=k), Normal(n)), None),
            "z1": (
                parts.conditional(s, parts.data(s), Normal(n)),
                parts.conditional(s, parts.vectors(z2=n, y=k), Normal(n)),
            ),
        },
        {"x": parts.likelihood(s, z1=n)},
        objective=s.chosen(SemiSupervised("y", alpha=_share_of_classifier(s))),
    )


def _share_of_classifier(s: Setting) -> float:
    """Returns the weight of the classifier's loss."""
    return 0.1 * s.num_examples / (s.num_labelled or s.num_examples)
