"""What a recipe is: a published model as a function from data and networks to a `VAE`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfp_vae import layers, networks
from tfp_vae.bridge.marginals import Prior
from tfp_vae.errors import InputError
from tfp_vae.layers.rescaled import Rescaled, Scale
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import ELBO, Objective

LIKELIHOODS: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "bernoulli": layers.IndependentBernoulli,
    "continuous_bernoulli": layers.ContinuousBernoulli,
    "normal": layers.IndependentNormal,
    "shared_normal": functools.partial(layers.SharedScale, trainable_scale=True),
    "logistic": layers.IndependentLogistic,
    "laplace": layers.Laplace,
    "student_t": layers.StudentT,
    "poisson": layers.IndependentPoisson,
    "negative_binomial": layers.NegativeBinomial,
    "zero_inflated_negative_binomial": layers.ZeroInflatedNegativeBinomial,
}
USUAL = {"images": "bernoulli", "reals": "normal", "counts": "negative_binomial"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The data and the networks that a recipe is made for.

    Attributes:
      shape: of one x.
      num_examples: in the training set.
      steps: of the whole training, for schedules.
      latent_size: of z.
      likelihood: makes the decoder's last layer, given the shape, whatever the recipe says.
      usual_likelihood: likewise, where the recipe says nothing.
      body: see `tfp_vae.networks`.
      widths: likewise.
      activation: likewise.
      num_classes: condition the model on labels: how many there are; None: it is not conditioned.
      objective: stands in for the recipe's own; or makes it from the recipe's own and the number
        of examples.
      scale: of data that are standardized inside the model: the encoder's first layer, and the
        unit of the likelihood; None: they are taken as they are.

    Example:
      >>> setting = Setting((8, 8, 1), num_examples=1500, widths=(32,), latent_size=2)
      >>> setting.vae(posterior=layers.PowerSpherical(3)).wiring.decoder.main.shape
      (None, 3)
    """

    shape: tuple[int, ...]
    num_examples: int
    steps: int = 10_000
    latent_size: int = 16
    likelihood: Callable[[tuple[int, ...]], Any] | None = None
    usual_likelihood: Callable[[tuple[int, ...]], Any] = layers.IndependentBernoulli
    body: networks.Body = "mlp"
    widths: Sequence[int] = (400, 400)
    activation: str = "silu"
    num_classes: int | None = None
    objective: Objective | Callable[[Objective, int], Objective] | None = None
    scale: Scale | None = None

    def vae(
        self,
        posterior: Any = None,
        prior: Any = None,
        likelihood: Any = None,
        objective: Objective | None = None,
        first: Any = None,
    ) -> VAE:
        """The model of these choices; of those that are not made, the usual ones.

        `likelihood`, a class or a function of the shape, is taken where the setting names none. z
        goes through the layer `first` before the decoder.
        """
        posterior = posterior or layers.IndependentNormal(self.latent_size)
        body = (self.body, self.widths, self.activation, self.num_classes)
        encoder = networks.encoder(self.shape, posterior, *body, first=self.first_layer())
        decoder = networks.decoder(
            encoder.output_shape[1:], self.last_layer(likelihood), *body, first=first
        )
        return VAE(encoder, decoder, prior, self.chosen(objective))

    def first_layer(self) -> keras.layers.Layer | None:
        """Returns the layer that x goes through first, if any."""
        return None if self.scale is None else self.scale.to_standard()

    def last_layer(self, likelihood: Callable[[tuple[int, ...]], Any] | None = None) -> Any:
        """Returns the layer of p(x | ...): the setting's own, else the recipe's, else the usual."""
        last = (self.likelihood or likelihood or self.usual_likelihood)(self.shape)
        return last if self.scale is None else Rescaled(last, *self.scale)

    def chosen(self, own: Objective | None = None) -> Objective | None:
        """Returns the objective: the setting's, or what the setting makes of the recipe's own."""
        if self.objective is None or isinstance(self.objective, Objective):
            return self.objective or own
        return self.objective(own or ELBO(), self.num_examples)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A published model.

    Attributes:
      name: what `--recipe` takes.
      title: what the paper calls it.
      paper: where it is from.
      good_for: one line.
      make: from a `Setting` to the untrained model.
      prior_after: from a `Setting` to the prior that `fit_prior` fits to the trained model, so that
        it can generate: see `priors_after`; None: it generates as it is.
      conditional: whether it is nothing without labels.
    """

    name: str
    title: str
    paper: str
    good_for: str
    make: Callable[[Setting], Any]
    prior_after: Callable[[Setting], Any] | None = None
    conditional: bool = False


RECIPES: dict[str, Recipe] = {}


def build(name: str, setting: Setting) -> Any:
    """The untrained model of a recipe: a `VAE`, or a `LatentModel` whose main variable is x.

    Raises:
      InputError: there is no recipe of that name, or it wants labels and there are none.

    Example:
      >>> from tfp_vae import recipes  # which fills the table
      >>> build("beta_vae", Setting((8, 8, 1), num_examples=1500, widths=(32,))).objective.beta
      4.0
    """
    recipe = find(name)
    if recipe.conditional and setting.num_classes is None:
        raise InputError(f"{recipe.title} is conditioned on labels: expected num_classes.", None)
    return recipe.make(setting)


def priors_after(recipe: Recipe, model: Any, setting: Setting) -> dict[str, Any]:
    """Returns the priors to fit to a trained model, by latent variable, one after the other.

    `recipe.prior_after` gives the one prior, or a dict with one for each of several variables: a
    prior, or a function from the model to a network, a prior given other variables.
    """
    assert recipe.prior_after is not None
    made = recipe.prior_after(setting)
    if not isinstance(made, dict):
        return {next(iter(model.graph.posteriors)): made}
    return {n: one if isinstance(one, Prior) else one(model) for n, one in made.items()}


def find(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
      InputError: there is none.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"Expected a recipe, one of {', '.join(RECIPES)}.{hint}", repr(name))
    return RECIPES[name]


def likelihood_named(name: str | None) -> Callable[[tuple[int, ...]], Any] | None:
    """What makes a likelihood, by its name on the command line.

    Raises:
      InputError: there is none of that name.
    """
    if name is not None and name not in LIKELIHOODS:
        raise InputError(f"Expected a likelihood, one of {', '.join(LIKELIHOODS)}.", repr(name))
    return None if name is None else LIKELIHOODS[name]


def recipe(title: str, paper: str, good_for: str, **more: Any) -> Callable[[Callable], Callable]:
    """Puts a function from a `Setting` to a model into the table, under its own name."""

    def register(make: Callable[[Setting], Any]) -> Callable[[Setting], Any]:
        name = make.__name__
        make.__doc__ = f"{title}: {good_for}. {paper}."
        RECIPES[name] = Recipe(name, title, paper, good_for, make, **more)
        return make

    return register
