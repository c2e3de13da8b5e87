"""A model of named variables: latent ones with a posterior and a prior, and observed ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.random_state import pair_of
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.base import ProbabilisticModel, serialized
from tfp_vae.model.checks import networks
from tfp_vae.model.checks.values import check_values
from tfp_vae.model.checks.variables import are_in_order, are_named, are_of_one_size
from tfp_vae.model.conditional import Conditional
from tfp_vae.model.export.endpoints import Endpoints, export_endpoints
from tfp_vae.model.fit_prior import fit_prior as fitted_prior
from tfp_vae.model.imputation import Imputation
from tfp_vae.model.latent_variable import posterior_and_prior
from tfp_vae.model.named_data import NamedData
from tfp_vae.model.unregularized import unregularized
from tfp_vae.objectives import ELBO, Objective
from tfp_vae.types import ModelOptions, TensorDistribution
from tfp_vae.wiring import outline

if TYPE_CHECKING:
    from typing_extensions import Unpack


@keras.saving.register_keras_serializable(package="tfp_vae")
class LatentModel(ProbabilisticModel):
    """Named variables in ancestral order, each with a distribution given the values so far.

    `p(x, z) = prod_v p(v | values so far)` and `q(z | x) = prod_v q(v | values so far)`. `fit`
    minimizes the objective's loss, by default the negative ELBO in nats,
    `-E_q[log p(x | z)] + sum_v KL[q(v) || p(v)]`, and reports `loss`, `nll`, `kl` and, where there
    are several latent variables, `kl_<name>` of each. A `VAE` is the case of one z and one x.

    A conditional is a functional or Sequential model that ends in a distribution layer. The names
    of the model's inputs say what the distribution depends on: data, latent variables before it,
    and deterministic values. A network puts these out beside its distribution, as
    `keras.Model(inputs, {"z1": distribution, "state": tensor})`. A posterior may take any data. A
    network of sequences may take its own variable, or later ones, if the network is causal: step t
    of its distribution depends on the steps before t. So may a vector's network take the vector.

    Args:
      latents: the latent variables by name, in ancestral order: `(posterior, prior)` each. A prior
        is a network, a `tfd.Distribution`, a `tfp_vae.priors.Prior`, a function that returns a
        distribution, or None: the usual one of the posterior's layer.
      observed: the observed variables by name: the network of each one's likelihood.
      features: a network of data whose outputs are a dict of deterministic values, made once for
        all conditionals (a ladder's bottom-up pass).
      objective: None: `ELBO()`.

    Data are a dict of arrays by name, or the array that there is. The value of a latent variable
    may be given for some rows, such as labels: the others are NaN. Where the value is known it is
    not drawn, its KL is 0, and `-log p(value)` is part of the `nll`.

    Raises:
      InputError: a network does not end in a distribution layer, or takes a latent variable that
        comes later or is of another size; or the objective is not defined for these variables.

    Source: Sonderby et al., arXiv:1602.02282, for several latent variables; Kingma et al.,
    arXiv:1406.5298, for values that are known for some rows.

    Example:
      >>> from tfp_vae import layers
      >>> def net(inputs, layer):
      ...     inputs = {name: keras.Input((size,), name=name) for name, size in inputs.items()}
      ...     h = keras.layers.Concatenate()([*inputs.values()]) if len(inputs) > 1 else (
      ...         [*inputs.values()][0])
      ...     return keras.Model(inputs, layer(keras.layers.Dense(layer.num_parameters)(h)))
      >>> ladder = LatentModel(
      ...     latents={"z2": (net({"x": 8}, layers.IndependentNormal(2)), None),
      ...              "z1": (net({"x": 8, "z2": 2}, layers.IndependentNormal(4)),
      ...                     net({"z2": 2}, layers.IndependentNormal(4)))},
      ...     observed={"x": net({"z1": 4}, layers.IndependentBernoulli(8))})
      >>> ladder.compile("adam")
      >>> sorted(ladder.fit(tf.ones([64, 8]), verbose=0).history)
      ['kl', 'kl_z1', 'kl_z2', 'loss', 'nll']
      >>> {name: value.shape.as_list() for name, value in ladder.sample(3).items()}
      {'z2': [3, 2], 'z1': [3, 4], 'x': [3, 8]}
    """

    @checked
    def __init__(
        self,
        latents: Mapping[str, Any],
        observed: Mapping[str, keras.Model],
        features: keras.Model | None = None,
        objective: Objective | None = None,
        **kwargs: Unpack[ModelOptions],
    ) -> None:
        super().__init__(**kwargs)
        are_named(latents, observed)
        posteriors, priors, likelihoods = {}, {}, {}
        for name, (posterior, prior) in latents.items():
            roles = f"posterior of {name}", f"prior of {name}"
            posteriors[name], priors[name] = posterior_and_prior(name, posterior, prior, roles)
            networks.no_kl_weight(posterior, name)
        for name, network in observed.items():
            networks.is_a_network(network, f"likelihood of {name}")
            likelihoods[name] = Conditional(network, name, f"likelihood of {name}")
        networks.features_are_named(features)
        self.posteriors = {name: one.network for name, one in posteriors.items()}
        self.priors = {name: one.network or one.prior for name, one in priors.items()}
        self.likelihoods = {name: one.network for name, one in likelihoods.items()}
        self.features = features
        graph = Variables(posteriors, priors, likelihoods, features)
        are_in_order(graph)
        are_of_one_size(graph)
        self._assemble(graph, NamedData(graph), objective or ELBO())

    def _parts(self) -> list[Any]:
        known = [] if self.features is None else [self.features]
        for name in self.posteriors:
            known += [self.posteriors[name], self.priors[name]]
        return known + list(self.likelihoods.values())

    # -- what it learnt ------------------------------------------------------------------------

    @first_alone
    def encode(self, x: Any) -> dict[str, TensorDistribution]:
        """Returns q of each latent variable, by name, with batch `[n]`.

        One that depends on others is given at the values that stand for these, such as the means.
        """
        self._checks.batch(x, is_target=False)
        return self.answers.posteriors(self.wiring.by_name(x))

    @first_alone
    def decode(self, latents: Mapping[str, Any], data: Any = None) -> dict[str, TensorDistribution]:
        """Returns p of each observed variable, by name, at values of all latent ones.

        Args:
          latents: the values by name, `[n, ...]` each.
          data: a dict by name of what else the networks take.
        """
        if not isinstance(latents, Mapping) or set(latents) != set(self.posteriors):
            raise InputError(
                f"Expected a dict of values of {', '.join(self.posteriors)}.",
                type(latents).__name__,
            )
        data = data if isinstance(data, Mapping) else {} if data is None else {"data": data}
        self._are_known(data, set(self.wiring.ports))
        self._checks.latents(latents)
        return self.answers.likelihoods(latents, data)

    def _are_known(self, given: Mapping[str, Any], names: set[str]) -> None:
        """Raises `InputError` where something is given that no variable and no network knows."""
        if set(given) - names:
            raise InputError(
                f"Expected values of {', '.join(sorted(names))}.", outline(dict(given))
            )

    @first_alone
    def reconstruct(self, x: Any) -> dict[str, tf.Tensor]:
        """Returns the mean of each observed variable, at values that stand for the latent ones.

        The same at each call: the mean of q stands for q, unless q's layer says otherwise.
        """
        self._checks.batch(x, is_target=False)
        return self.answers.means(self.wiring.by_name(x))

    @checked
    @first_alone
    def sample(
        self,
        num_samples: int | None = None,
        given: Mapping[str, Any] | None = None,
        mean: bool = True,
        seed: int | None = None,
        length: int | None = None,
    ) -> dict[str, tf.Tensor]:
        """Returns new values of all variables: drawn from the priors, then the likelihoods' means.

        Args:
          num_samples: how many; None: as many as `given` has rows.
          given: values of variables that are not drawn, and what else the networks take.
          mean: False draws the observed variables too.
          seed: an integer gives the same values each time; None goes on with the model's own.
          length: the number of steps, of sequences whose networks take any.

        Raises:
          InputError: a network takes what is neither given nor drawn, the numbers of rows differ,
            or the length is open.
        """
        given = {name: tf.convert_to_tensor(value) for name, value in (given or {}).items()}
        ports = {**self.wiring.ports, **self.wiring.optional}
        self._are_known(given, set(ports))
        for name, value in given.items():
            check_values(value, tuple(ports[name].shape[1:]), None, name)
        counts = {int(value.shape[0]) for value in given.values()} | (
            set() if num_samples is None else {num_samples}
        )
        if len(counts) != 1:
            raise InputError(
                "Expected num_samples, and as many rows of each that is given.",
                f"num_samples={num_samples}, given={outline(given)}",
            )
        pair = self.next_seed() if seed is None else pair_of(seed)
        return self.answers.draw(counts.pop(), pair, given, mean, length)

    @functools.partial(checked, num_draws="done")
    @first_alone
    def impute(
        self,
        x: Any,
        num_samples: int = 1000,
        num_draws: int = 0,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        seed: int | None = None,
    ) -> dict[str, Imputation]:
        """Returns what the unknown entries of each observed variable are: see `VAE.impute`."""
        return self._impute(x, num_samples, num_draws, quantiles, seed)

    def fit_prior(
        self, x: Any, prior: Any, latent: str | None = None, **kwargs: Any
    ) -> LatentModel:
        """Returns a model with these networks and a prior fitted to the values of one variable.

        As `VAE.fit_prior`; `latent` names the variable, where there are several. A network is
        fitted to the values of the variable given those that the network takes, of the same pass.
        """
        names = list(self.posteriors)
        latent = names[0] if latent is None and len(names) == 1 else latent
        if latent not in names:
            raise InputError(f"Expected latent to be one of {', '.join(names)}.", latent)
        x = self._checks.data(x, None, "x")
        prior = fitted_prior(self, x, prior, latent=latent, **kwargs)
        latents = {name: (self.posteriors[name], self.priors[name]) for name in names}
        latents[latent] = (unregularized(self.posteriors[latent]), prior)
        return type(self)(latents, dict(self.likelihoods), self.features, self.objective)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = True,
        input_signature: Any = None,
    ) -> None:
        """Writes a SavedModel that answers by name: see `tfp_vae.model.export.endpoints`.

        Raises:
          InputError: another format is asked for.
        """
        if format != "tf_saved_model" or input_signature is not None:
            raise InputError(
                "A model of several variables is exported as a SavedModel with signatures of its "
                "own: expected export(filepath).",
                f"format={format!r}, input_signature={input_signature!r}",
            )
        export_endpoints(self, filepath, Endpoints, verbose=bool(verbose))

    # -- saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        parts = [*self.posteriors.values(), *self.priors.values(), *self.likelihoods.values()]
        made = serialized([*parts, self.features, self.objective])
        n = len(self.posteriors)
        return {
            **super().get_config(),
            "latents": [[*each] for each in zip(self.posteriors, made, made[n:])],  # noqa: B905
            "observed": [[*each] for each in zip(self.likelihoods, made[2 * n :])],  # noqa: B905
            "features": made[-2],
            "objective": made[-1],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LatentModel:
        def make(one: Any) -> Any:
            return None if one is None else loaded(one, custom_objects)

        return cls(
            **{
                **config,
                "latents": {name: (make(q), make(p)) for name, q, p in config["latents"]},
                "observed": {name: make(one) for name, one in config["observed"]},
                "features": make(config["features"]),
                "objective": make(config["objective"]),
            }
        )
