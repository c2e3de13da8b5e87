"""A model of named variables: latent ones with a posterior and a prior, and observed ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge import sparse
from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.random_state import pair_of
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables, standing_in
from tfp_vae.model.base import ProbabilisticModel
from tfp_vae.model.checks import networks
from tfp_vae.model.checks.data import DataChecks
from tfp_vae.model.checks.values import check_shape, check_values
from tfp_vae.model.conditional import Conditional, is_network
from tfp_vae.model.default_prior import default_prior, one_prior
from tfp_vae.model.export.endpoints import export_by_name
from tfp_vae.model.fit_prior import fit_prior as fitted_prior
from tfp_vae.model.generation import generate
from tfp_vae.model.named_data import NamedData
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
    of its distribution depends on the steps before t.

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
        comes later; or the objective is not defined for these variables.

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
        _named(latents, observed)
        posteriors, priors = {}, {}
        for name, (posterior, prior) in latents.items():
            networks.is_a_network(posterior, f"posterior of {name}")
            q = Conditional(posterior, name, f"posterior of {name}", is_posterior=True)
            regularizers = [each for _, each in networks.kl_regularizers(posterior)]
            if any(each.weight is not None for each in regularizers):
                raise InputError(
                    f"Expected the weight of the KL of {name} in the objective, "
                    "ELBO(beta={...}), and a KLDivergenceRegularizer without one.",
                    regularizers[0].weight,
                )
            if is_network(prior):
                networks.no_kl_term(regularizers)
            else:
                prior = one_prior(prior, regularizers, functools.partial(default_prior, q))
            p = Conditional(prior, name, f"prior of {name}")
            p.bind(posterior)
            posteriors[name], priors[name] = q, p
        for name, network in observed.items():
            networks.is_a_network(network, f"likelihood of {name}")
        likelihoods = {n: Conditional(net, n, f"likelihood of {n}") for n, net in observed.items()}
        networks.features_are_named(features)
        self.posteriors = {name: one.network for name, one in posteriors.items()}
        self.priors = {
            n: one.prior if one.network is None else one.network for n, one in priors.items()
        }
        self.likelihoods = {name: one.network for name, one in likelihoods.items()}
        self.features = features
        graph = Variables(posteriors, priors, likelihoods, features)
        _in_order(graph)
        self.wiring = NamedData(graph, features)
        supports = {n: getattr(one.layer, "support", None) for n, one in likelihoods.items()}
        main = likelihoods[self.wiring.main]
        data_checks = DataChecks(
            self.wiring,
            main.shape,
            supports.pop(self.wiring.main),
            getattr(main.layer, "is_of_integers", False),
            supports=supports,
        )
        self._assemble(graph, objective or ELBO(), data_checks)

    @property
    def layers(self) -> list[Any]:
        """The networks and priors, and what else there is: each once."""
        known = [] if self.features is None else [self.features]
        for name in self.posteriors:
            known += [self.posteriors[name], self.priors[name]]
        known += list(self.likelihoods.values())
        inside = {id(part) for one in known for part in one._flatten_layers()}
        return [*known, *(part for part in super().layers if id(part) not in inside)]

    # -- what it learnt ------------------------------------------------------------------------

    @first_alone
    def encode(self, x: Any) -> dict[str, TensorDistribution]:
        """q of each latent variable, by name, with batch `[n]`.

        One that depends on others is given at the values that stand for these, such as the means.
        """
        self._checks.batch(x, is_target=False)
        outset = self.graph.begin(self.wiring.by_name(x), training=False, undrawn=True)
        terms, _ = self.graph.encode(outset, standing_in(self.graph))
        return {name: cast(Any, term.q) for name, term in terms.items()}

    @first_alone
    def decode(self, latents: Mapping[str, Any], data: Any = None) -> dict[str, TensorDistribution]:
        """p of each observed variable, by name, at values of all latent ones, `[n, ...]` each.

        `data`: a dict by name of what else the networks take.
        """
        if not isinstance(latents, Mapping) or set(latents) != set(self.posteriors):
            raise InputError(
                f"Expected a dict of values of {', '.join(self.posteriors)}.",
                type(latents).__name__,
            )
        data = data if isinstance(data, Mapping) else {} if data is None else {"data": data}
        self._are_known(data, set(self.wiring.ports))
        counts = set()
        for name, z in latents.items():
            check_shape(z, self.graph.posteriors[name].shape, name)
            counts.add(np.shape(z)[0])
        if len(counts) > 1:
            raise InputError("Expected as many rows of each.", outline(dict(latents)))
        return self.graph.decode(latents, data)

    def _are_known(self, given: Mapping[str, Any], names: set[str]) -> None:
        """Raises `InputError` where something is given that no variable and no network knows."""
        if set(given) - names:
            raise InputError(
                f"Expected values of {', '.join(sorted(names))}.", outline(dict(given))
            )

    @first_alone
    def reconstruct(self, x: Any) -> dict[str, tf.Tensor]:
        """The mean of each observed variable, by name, at values that stand for the latent ones.

        The same at each call: the mean of q stands for q, unless q's layer says otherwise.
        """
        self._checks.batch(x, is_target=False)
        outset = self.graph.begin(
            self.wiring.by_name(sparse.dense(x)), training=False, undrawn=True
        )
        forward = self.graph.forward(outset, training=False, choose=standing_in(self.graph))
        return {name: term.p.mean() for name, term in forward.observed.items()}

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
        """New values of all variables, by name: drawn from the priors, then the likelihoods' means.

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
        self._are_known(given, {*self.wiring.ports, *self.posteriors})
        for name, value in given.items():
            shape = tuple(self.wiring.all_ports[name].shape[1:])
            check_values(value, shape, None, name)
        counts = {int(value.shape[0]) for value in given.values()} | (
            set() if num_samples is None else {num_samples}
        )
        if len(counts) != 1:
            raise InputError(
                "Expected num_samples, and as many rows of each that is given.",
                f"num_samples={num_samples}, given={outline(given)}",
            )
        pair = self.next_seed() if seed is None else pair_of(seed)
        return generate(self.graph, counts.pop(), pair, given, mean, length)

    def fit_prior(
        self, x: Any, prior: Any, latent: str | None = None, **kwargs: Any
    ) -> LatentModel:
        """A new model with these networks, and a prior fitted to the values of one latent variable.

        As `VAE.fit_prior`; `latent` names the variable, where there are several.
        """
        names = list(self.posteriors)
        latent = names[0] if latent is None and len(names) == 1 else latent
        if latent not in names:
            raise InputError(f"Expected latent to be one of {', '.join(names)}.", latent)
        x = self._checks.data(x, None, "x")
        priors = {**self.priors, latent: fitted_prior(self, x, prior, latent=latent, **kwargs)}
        latents = {name: (self.posteriors[name], priors[name]) for name in names}
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
        export_by_name(self, filepath, verbose=bool(verbose))

    # -- saving --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        parts = [*self.posteriors.values(), *self.priors.values(), *self.likelihoods.values()]
        made = self._serialized([*parts, self.features, self.objective])
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
        config = dict(config)

        def make(one: Any) -> Any:
            return None if one is None else loaded(one, custom_objects)

        config["latents"] = {name: (make(q), make(p)) for name, q, p in config["latents"]}
        config["observed"] = {name: make(one) for name, one in config["observed"]}
        config["features"], config["objective"] = (
            make(config["features"]),
            make(config["objective"]),
        )
        return cls(**config)


def _named(latents: Any, observed: Any) -> None:
    """Raises `InputError` unless there are variables of both kinds, each with a name of its own."""
    for what, given in (("latents", latents), ("observed", observed)):
        if (
            not isinstance(given, Mapping)
            or not given
            or not all(isinstance(n, str) for n in given)
        ):
            raise InputError(f"Expected {what} to be a dict of variables by name.", given)
    for name, pair in latents.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"Expected (posterior, prior) for the latent variable {name}.", pair)
    twice = set(latents) & set(observed)
    if twice:
        raise InputError("Expected each variable to be latent or observed.", ", ".join(twice))


def _in_order(graph: Variables) -> None:
    """Raises `InputError` where a posterior takes a latent variable that is not there by then."""
    names = list(graph.posteriors)
    states: set[str] = set()
    for number, name in enumerate(names):
        q = graph.posteriors[name]
        later = set(q.inputs) & set(names[number:])
        if later:
            raise InputError(
                f"Expected the posterior of {name} to take latent variables that come before it.",
                ", ".join(later),
            )
        states |= set(graph.priors[name].puts_out) | set(q.puts_out)
    made = set() if graph.features is None else set(graph.features.network._outputs_struct)
    taken = (states | made) & {*names, *graph.likelihoods}
    if taken:
        raise InputError(
            "Expected deterministic values to have names of their own.", ", ".join(taken)
        )
    of_posteriors = {state for q in graph.posteriors.values() for state in q.puts_out}
    order = [*graph.priors.items(), *graph.likelihoods.items()]
    for number, (name, one) in enumerate(order):
        for other in set(one.inputs) & of_posteriors:
            raise InputError(
                f"Expected the {one.role} to take values that are there without posteriors too.",
                f"{other}, which a posterior puts out",
            )
        for other in set(one.inputs) & {n for n, _ in order[number:]}:
            ours, theirs = (_sequence(graph, n) for n in (name, other))
            if ours is None or ours != theirs:
                raise InputError(
                    f"Expected the {one.role} to take variables that come before it; sequences of "
                    "one length may depend on their steps before.",
                    other,
                )
    unnamed = [n for one in graph.conditionals for n in one.inputs if n.startswith("keras_tensor")]
    if unnamed:
        raise InputError(
            "Expected each keras.Input of a network to have the name of what it takes.",
            ", ".join(unnamed),
        )


def _sequence(graph: Variables, name: str) -> tuple[Any] | None:
    """The number of steps of a variable, as far as it is known, if it is a sequence."""
    one = graph.posteriors.get(name) or graph.likelihoods[name]
    return one.shape[:1] if one.of_steps or len(one.shape) > 1 else None  # type: ignore[return-value]
