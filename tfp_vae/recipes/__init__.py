"""Published models, each a few choices on the four axes with its paper's defaults."""

from tfp_vae.recipes import critics, hierarchies, published, quantized, residual, two_levels
from tfp_vae.recipes.base import (
    LIKELIHOODS,
    RECIPES,
    USUAL,
    Recipe,
    Setting,
    build,
    find,
    likelihood_named,
    recipe,
)

__all__ = [
    "LIKELIHOODS",
    "RECIPES",
    "USUAL",
    "Recipe",
    "Setting",
    "build",
    "critics",
    "find",
    "hierarchies",
    "likelihood_named",
    "published",
    "quantized",
    "recipe",
    "residual",
    "two_levels",
]
