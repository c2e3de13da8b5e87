"""What a new objective, prior, distribution layer or recipe is made of: docs/extending.md."""

from tfp_vae.layers.distribution_lambda import DistributionLayer
from tfp_vae.layers.parametric import (
    IndependentLayer,
    ParametricLayer,
    independent,
    to_event_shape,
)
from tfp_vae.objectives import Forward, Objective, Term, Terms
from tfp_vae.prior import Prior
from tfp_vae.recipe import RECIPES, Recipe, Setting, recipe

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
