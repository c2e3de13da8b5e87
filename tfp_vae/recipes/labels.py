"""Published models whose labels are known for some examples only."""

from __future__ import annotations

import dataclasses

import keras

from tfp_vae import layers, schedules
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import LabelCharacteristics, SemiSupervised
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
            "y": (_classifier(s, label), None),
            "z": (parts.conditional(s, parts.vectors(h=shown.shape[-1], y=k), Normal(n)), None),
        },
        {"x": parts.likelihood(s, z=n, y=k)},
        features=keras.Model(x, {"h": shown}),
        objective=s.chosen(_semi_supervised(s)),
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
        objective=s.chosen(_semi_supervised(s)),
    )


@recipe(
    "CCVAE",
    "Joy et al., arXiv:2006.10102",
    "what a label says of x as latent values of their own, which may be changed one by one",
    conditional=True,
    labels="y",
)
def ccvae(s: Setting) -> LatentModel:
    assert s.num_classes is not None
    label = layers.OneHotCategorical(s.num_classes)
    k, own = label.event_size, max(1, min(label.event_size, s.latent_size // 2))
    s = dataclasses.replace(s, num_classes=None)
    rest = max(1, s.latent_size - own)
    x = parts.data(s)
    shown = parts.shown(s, x)
    h = {"h": shown.shape[-1]}
    return LatentModel(
        {
            "z_rest": (parts.linear(s, Normal(rest), **h), None),
            "y": (parts.linear(s, label, z_c=own), None),
            "z_c": (parts.linear(s, Normal(own), **h), parts.linear(s, Normal(own), y=k)),
        },
        {"x": parts.likelihood(s, z_c=own, z_rest=rest)},
        features=keras.Model(x, {"h": shown}),
        objective=s.chosen(LabelCharacteristics("y", alpha=10.0)),
    )


def _classifier(s: Setting, label: layers.OneHotCategorical) -> keras.Model:
    """Returns the network of q(y|x): of an image the largest value of each channel decides."""
    given = parts.data(s)
    if len(s.shape) != 3:
        return parts.conditional(s, given, label)
    first = s.first_layer()
    h = given["x"] if first is None else first(given["x"])
    for channels in (16, 32, 128):
        h = keras.layers.Conv2D(channels, 3, padding="same", activation=s.activation)(h)
        h = keras.layers.MaxPooling2D(2, padding="same")(h)
    h = keras.layers.Dropout(0.5)(keras.layers.GlobalMaxPooling2D()(h))
    return keras.Model(given, label(keras.layers.Dense(label.num_parameters)(h)))


def _semi_supervised(s: Setting) -> SemiSupervised:
    """Returns the objective of Kingma et al., with a classifier that first learns from labels.

    Its alpha is of means, see there; its trust grows about a fifth of the way.
    """
    alpha = 0.1 * s.num_examples / (s.num_labelled or s.num_examples)
    trust = schedules.Sigmoid(max(1, s.steps // 5), max(1.0, s.steps / 50))
    return SemiSupervised("y", alpha=alpha, trust=trust)
