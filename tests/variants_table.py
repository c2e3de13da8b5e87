"""The table of recipes in `docs/variants.md`, read off the models that the recipes make."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from tfp_vae import recipes
from tfp_vae.bridge.marginals import DistributionPrior
from tfp_vae.model import main_variable
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.objectives import RegularizedAE
from tfp_vae.recipes.base import priors_after

_HEAD = ("`--recipe`", "model", "posterior", "prior", "likelihood", "objective", "good for")

_PRIORS = {
    "Normal": "unit Normal",
    "Gamma": "Gamma(1, 1)",
    "RelaxedOneHotCategorical": "uniform relaxed",
    "OneHotCategorical": "uniform",
}


def table() -> str:
    """Returns a row for each recipe, in Markdown: its choice on each axis, for images."""
    rows = [_HEAD, ["---"] * len(_HEAD), *map(_row, recipes.RECIPES.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(recipe: recipes.Recipe) -> list[str]:
    classes = 10 if recipe.conditional else None
    setting = recipes.Setting((8, 8, 1), 1500, latent_size=4, widths=(8,), num_classes=classes)
    model = recipe.make(setting)
    likelihood = main_variable.likelihood(model).layers[-1]
    posteriors, priors = model.posterior_layers, _priors(model)
    if recipe.prior_after is not None:
        after = priors_after(recipe, model, setting)
        priors = {name: f"{_fitted(one)}, fitted afterwards" for name, one in after.items()}
    return [
        f"`{recipe.name}`",
        f"{recipe.title}, {_linked(recipe.paper)}",
        _of_each({name: _call(one, ("num_flows",)) for name, one in posteriors.items()}),
        _of_each(priors),
        _call(likelihood, ("family", "scale", "trainable_scale")),
        _call(model.objective),
        recipe.good_for,
    ]


def _fitted(prior: Any) -> str:
    if isinstance(prior, keras.Model) and prior.inputs:
        return f"{type(prior.layers[-1]).__name__} of the z above"
    return type(prior).__name__


def _of_each(said: dict[str, str]) -> str:
    """What is said of each latent variable: once for those side by side of which it is the same."""
    groups = [(each, list(names)) for each, names in itertools.groupby(said, key=said.__getitem__)]
    if len(groups) == 1:
        return groups[0][0]
    ends = [(each, names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}")
            for each, names in groups]  # fmt: skip
    return "; ".join(f"{name}: {each}" for each, name in ends)


def _priors(model: Any) -> dict[str, str]:
    if isinstance(model.objective, RegularizedAE):
        return {"z": "none"}
    given = model.priors if isinstance(model, LatentModel) else {"z": model.prior}
    above = {*given, *(name for p in model.graph.priors.values() for name in p.puts_out)}
    return {name: _prior(one, above) for name, one in given.items()}


def _prior(prior: Any, above: set[str]) -> str:
    if isinstance(prior, DistributionPrior):
        given = prior.given
        blocks = getattr(given, "distributions", None) or [given]
        return " and ".join(_PRIORS.get(_kind(block), _kind(block)) for block in blocks)
    if isinstance(prior, keras.Model):
        names = {tensor.name for tensor in prior.inputs}
        return f"a network of the {'z above' if names & above else prior.inputs[0].name}"
    return type(prior).__name__


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
        and not isinstance(value, keras.Model)
    ]
    return type(made).__name__ + (f"({', '.join(said)})" if said else "")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, LearningRateSchedule):
        return f"0 to {getattr(value, 'end', None) or value.end_learning_rate:g}"
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
