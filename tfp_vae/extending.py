"""The base classes of new objectives, priors, distribution layers and recipes."""

from tfp_vae.bridge.marginals import Prior
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.base.parametric import (
    IndependentLayer,
    ParametricLayer,
    independent,
    to_event_shape,
)
from tfp_vae.objectives import Forward, Objective, Term, Terms
from tfp_vae.recipes.base import RECIPES, Recipe, Setting, recipe

__all__ = [
    "RECIPES",
    "DistributionLayer",
    "Forward",
    "IndependentLayer",
    "Objective",
    "ParametricLayer",
    "Prior",
    "Recipe",
    "Setting",
    "Term",
    "Terms",
    "independent",
    "recipe",
    "to_event_shape",
]
