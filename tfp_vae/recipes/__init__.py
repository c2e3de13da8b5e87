"""Published models, each a few choices on the four axes with its paper's defaults."""

from tfp_vae.recipes import (
    critics,
    geometry,
    hierarchies,
    labels,
    missing,
    published,
    quantized,
    residual,
    sequences,
    two_levels,
)
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
    "geometry",
    "hierarchies",
    "labels",
    "likelihood_named",
    "missing",
    "published",
    "quantized",
    "recipe",
    "residual",
    "sequences",
    "two_levels",
]
