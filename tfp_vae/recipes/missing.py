"""Published models of data with entries that are not known."""

from __future__ import annotations

import keras

from tfp_vae import layers
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import IWAE
from tfp_vae.recipes import parts
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them


@recipe(
    "MIWAE for missing data",
    "Mattei and Frellsen, arXiv:1812.02633",
    "tables with holes that are there by chance; not Rainforth's MIWAE",
)
def missing_miwae(s: Setting) -> VAE:
    return s.vae(objective=IWAE(20))


@recipe(
    "not-MIWAE",
    "Ipsen et al., arXiv:2006.12871",
    "holes that are there because of what they hide: the mask is observed too",
)
def not_miwae(s: Setting) -> LatentModel:
    z = layers.IndependentNormal(s.latent_size)
    x = parts.data(s)
    given = x["x"]
    standard = given if s.scale is None else s.scale.to_standard()(given)
    flat = standard if len(s.shape) == 1 else keras.layers.Flatten()(standard)
    logits = layers.SelfMasking()(flat)
    mask = keras.Model(given, layers.IndependentBernoulli(s.shape)(logits))
    return LatentModel(
        {"z": (parts.conditional(s, x, z), None)},
        {"x": parts.likelihood(s, z=s.latent_size), "x_known": mask},
        objective=s.chosen(IWAE(20)),
    )
