"""The table of recipes in `docs/variants.md`, read off the models that the recipes make."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tfp_vae import recipes
from tfp_vae.bridge.marginals import DistributionPrior
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import RegularizedAE

_HEAD = ("`--recipe`", "model", "posterior", "prior", "likelihood", "objective", "good for")

_PRIORS = {
    "Normal": "unit Normal",
    "Gamma": "Gamma(1, 1)",
    "RelaxedOneHotCategorical": "uniform relaxed",
}


def table() -> str:
    """Returns a row for each recipe, in Markdown: its choice on each axis, for images."""
    rows = [_HEAD, ["---"] * len(_HEAD), *map(_row, recipes.RECIPES.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(recipe: recipes.Recipe) -> list[str]:
    classes = 10 if recipe.conditional else None
    setting = recipes.Setting((8, 8, 1), 1500, latent_size=4, widths=(8,), num_classes=classes)
    vae = recipe.make(setting)
    likelihood = vae.decoder.layers[-1]
    prior = _prior(vae)
    if recipe.prior_after is not None:
        prior = f"{type(recipe.prior_after(setting)).__name__}, fitted afterwards"
    return [
        f"`{recipe.name}`",
        f"{recipe.title}, {_linked(recipe.paper)}",
        _call(vae.posterior_layer, ("num_flows",)),
        prior,
        _call(likelihood, ("family", "scale", "trainable_scale")),
        _call(vae.objective),
        recipe.good_for,
    ]


def _prior(vae: VAE) -> str:
    if isinstance(vae.objective, RegularizedAE):
        return "none"
    if isinstance(vae.prior, DistributionPrior):
        given = vae.prior.given
        blocks = getattr(given, "distributions", None) or [given]
        return " and ".join(_PRIORS.get(_kind(block), _kind(block)) for block in blocks)
    if isinstance(vae.prior, keras.Model):
        return f"a network of the {vae.prior.inputs[0].name}"
    return type(vae.prior).__name__


def _kind(distribution: Any) -> str:
    while type(distribution).__name__ in ("Independent", "TransformedDistribution"):
        distribution = distribution.distribution
    return type(distribution).__name__


def _call(made: Any, names: tuple[str, ...] | None = None) -> str:
    """Returns `Class(argument=value)` with the arguments that are not the usual ones."""
    usual = inspect.signature(type(made)).parameters
    config = {name: getattr(made, name, None) for name in (names or made.get_config())}
    said = [
        f"{name}={_value(value)}"
        for name, value in config.items()
        if name in usual
        and name != "num_examples"
        and value != usual[name].default
        and value is not None
    ]
    return type(made).__name__ + (f"({', '.join(said)})" if said else "")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if hasattr(value, "end_learning_rate"):
        return f"0 to {value.end_learning_rate:g}"
    return repr(value)


def _linked(paper: str) -> str:
    head, arxiv, number = paper.partition("arXiv:")
    if not arxiv:
        return paper
    number, *rest = number.split(maxsplit=1)
    digits = number.rstrip(";,")
    mark = number[len(digits) :]
    after = f"{mark} {_linked(rest[0])}" if rest else mark
    return f"{head}[{digits}](https://arxiv.org/abs/{digits}){after}"
