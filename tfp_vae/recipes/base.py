"""A recipe: a published model as a function from data and networks to a `VAE`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras

from tfp_vae import layers, networks
from tfp_vae.bridge.marginals import Prior
from tfp_vae.errors import InputError
from tfp_vae.layers.rescaled import Rescaled, Scale
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import ELBO, Objective
from tfp_vae_cli.options import NetworkOptions
from tfp_vae_cli.refusal import did_you_mean

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
USUAL = {
    "images": "bernoulli",
    "reals": "normal",
    "series": "normal",
    "counts": "negative_binomial",
    "tokens": "bernoulli",  # of words that are vectors; tokens have a likelihood of their own
}


@dataclasses.dataclass(frozen=True)
class Setting(NetworkOptions):
    """The data and the networks that a recipe is made for.

    Attributes:
      shape: of one x; None stands for any number of steps.
      num_examples: in the training set.
      steps: of the whole training, for schedules.
      latent_size: of z.
      likelihood: makes the decoder's last layer, given the shape, whatever the recipe says.
      usual_likelihood: likewise, where the recipe says nothing.
      body: see `tfp_vae.networks`.
      widths: likewise.
      activation: likewise.
      num_classes: the number of labels that the model is conditioned on; None: it is not.
      num_labelled: the number of examples whose label is known, for a recipe that learns from
        labels; None: all.
      num_tokens: of sequences of tokens, padding included; None: x are no tokens.
      features: makes the network whose layers give the features of data, for a recipe that compares
        these; None: one with random weights does.
      objective: stands in for the recipe's own; or makes it from the recipe's own and the number
        of examples.
      scale: of data that are standardized inside the model: the encoder's first layer, and the
        unit of the likelihood; None: the data are taken as they are.
      unknown: whether entries of x may be NaN, which are not known: encoders see which.
      shown: makes the layer that x goes through first in each encoder, such as
        `layers.ShowColumns`; None: what scale and `unknown` ask for.

    Example:
      >>> setting = Setting((8, 8, 1), num_examples=1500, widths=(32,), latent_size=2)
      >>> setting.vae(posterior=layers.PowerSpherical(3)).wiring.decoder.main.shape
      (None, 3)
    """

    shape: tuple[Any, ...]
    num_examples: int
    steps: int = 10_000
    _: dataclasses.KW_ONLY
    latent_size: int = 16
    likelihood: Callable[[tuple[int, ...]], Any] | None = None
    usual_likelihood: Callable[[tuple[int, ...]], Any] = layers.IndependentBernoulli
    num_classes: int | None = None
    num_labelled: int | None = None
    num_tokens: int | None = None
    features: Callable[[], keras.Model] | None = None
    objective: Objective | Callable[[Objective, int], Objective] | None = None
    scale: Scale | None = None
    unknown: bool = False
    shown: Callable[[], keras.layers.Layer] | None = None

    def vae(
        self,
        posterior: Any = None,
        prior: Any = None,
        likelihood: Any = None,
        objective: Objective | None = None,
        first: keras.layers.Layer | None = None,
    ) -> VAE:
        """Returns the model of these choices; a choice that is not made is the usual one.

        `likelihood`, a class or a function of the shape, is taken where the setting names none. z
        goes through the layer `first` before the decoder.
        """
        posterior = posterior or layers.IndependentNormal(self.latent_size)
        body = (self.body, self.widths, self.activation, self.num_classes)
        encoder = networks.encoder(
            self.shape, posterior, *body, first=self.first_layer(), unknown=self.unknown
        )
        last = self.last_layer(likelihood)
        decoder = networks.decoder(encoder.output_shape[1:], last, *body, first=first)
        return VAE(encoder, decoder, prior, self.chosen(objective))

    def first_layer(self) -> keras.layers.Layer | None:
        """Returns the layer that x goes through first, if any."""
        if self.shown is not None:
            return self.shown()
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
      name: the word for `--recipe`.
      title: the paper's name.
      paper: the source.
      good_for: one line.
      make: from a `Setting` to the untrained model.
      prior_after: from a `Setting` to the prior that `fit_prior` fits to the trained model, see
        `priors_after`; None: the model generates as it is.
      conditional: whether the model needs labels.
      labels: the latent variable whose values labels are, known for some of the examples; None:
        labels are conditions.
      takes: the kinds of sequences that it is for, beside images as sequences of their rows.
    """

    name: str
    title: str
    paper: str
    good_for: str
    make: Callable[[Setting], Any]
    prior_after: Callable[[Setting], Any] | None = None
    conditional: bool = False
    labels: str | None = None
    takes: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {}


def build(name: str, setting: Setting) -> Any:
    """Returns the untrained model of a recipe: a `VAE`, or a `LatentModel` of x.

    Raises:
      InputError: there is no recipe of that name, or it needs labels and there are none.

    Example:
      >>> from tfp_vae import recipes  # which fills the table
      >>> build("beta_vae", Setting((8, 8, 1), num_examples=1500, widths=(32,))).objective.beta
      4.0
    """
    recipe = find(name)
    if recipe.conditional and setting.num_classes is None:
        what = "conditioned on labels" if recipe.labels is None else "learnt from labels"
        raise InputError(f"{recipe.title} is {what}: expected num_classes.", None)
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
    """Returns the recipe of a name.

    Raises:
      InputError: there is none.
    """
    if name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        raise InputError(f"Expected a recipe, one of {', '.join(RECIPES)}.{hint}", repr(name))
    return RECIPES[name]


def likelihood_named(name: str | None) -> Callable[[tuple[int, ...]], Any] | None:
    """Returns what makes a likelihood, by its name on the command line.

    Raises:
      InputError: there is none of that name.
    """
    if name is not None and name not in LIKELIHOODS:
        raise InputError(f"Expected a likelihood, one of {', '.join(LIKELIHOODS)}.", repr(name))
    return None if name is None else LIKELIHOODS[name]


def recipe(title: str, paper: str, good_for: str, **more: Any) -> Callable[[Callable], Callable]:
    """Puts a function from a `Setting` to a model into the table, under the function's name."""

    def register(make: Callable[[Setting], Any]) -> Callable[[Setting], Any]:
        name = make.__name__
        make.__doc__ = f"{title}: {good_for}. {paper}."
        RECIPES[name] = Recipe(name, title, paper, good_for, make, **more)
        return make

    return register
