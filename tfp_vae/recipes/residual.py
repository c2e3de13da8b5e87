"""The top-down VAE of many groups of latent variables, a residual step of one state each."""

from __future__ import annotations

from tfp_vae import schedules
from tfp_vae.errors import InputError
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import ELBO
from tfp_vae.recipes.base import Setting, recipe
from tfp_vae.recipes.groups import Groups

__all__: list[str] = []  # `RECIPES` has them


@recipe(
    "top-down residual VAE",
    "Vahdat and Kautz (NVAE), arXiv:2007.03898; Child (VDVAE), arXiv:2011.10650",
    "likelihood: a deep hierarchy, coarse to fine with a conv body",
)
def top_down_vae(s: Setting, groups: int = 5) -> LatentModel:
    if groups < 2:
        raise InputError("Expected at least two groups of latent variables.", groups)
    objective = ELBO(beta=schedules.warm_up(max(1, round(0.3 * s.steps))), free_bits=0.01)
    return Groups(s, groups).model(objective)
