"""A `keras.Model` whose call is one pass over named variables."""

from __future__ import annotations

from typing import Any

import keras

from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.answers import Answers
from tfp_vae.model.checks import networks, unknown
from tfp_vae.model.checks.data import DataChecks
from tfp_vae.model.choosers import drawing
from tfp_vae.model.named_data import NamedData
from tfp_vae.objectives import Forward, Objective
from tfp_vae.objectives.gradient_gate import Gate
from tfp_vae.steps.fitting import CheckedData

_SEED = "seed_of_layer_"


def _number(key: str) -> tuple[int, str]:
    return len(key), key


class Likelihoods(dict):
    """The likelihoods of several observed variables by name, as a model puts these out.

    Attributes:
      forward: the pass that the likelihoods are of.
    """

    forward: Forward


class ForwardModel(Seeded, CheckedData):
    """A model of named variables: its call is one pass over them.

    Attributes:
      graph: the variables in ancestral order.
      wiring: what of the data is which variable.
      answers: what the variables say of data outside of training.
      has_density: whether each posterior has one, and log p(x) is what the objective trains.
    """

    graph: Variables
    wiring: NamedData
    answers: Answers
    has_density: bool
    _checks: DataChecks

    def _assemble(self, graph: Variables, wiring: NamedData, objective: Objective) -> None:
        """Sets up what follows from variables, data and objective; the constructor's last act."""
        self.graph, self.wiring, self.answers = graph, wiring, Answers(graph)
        self._checks = DataChecks(wiring, self._meet_unknown)
        densities = all(q.has_density for q in graph.posteriors.values())
        self.has_density = densities and not objective.no_likelihood
        self.objective = objective
        objective.bind({name: q.shape for name, q in graph.posteriors.items()})
        objective.bind_data({name: p.shape for name, p in graph.likelihoods.items()})
        for name, posterior in graph.posteriors.items():
            if objective.needs_density_of(name) and not posterior.has_density:
                networks.refuse_point_mass(posterior.layer, type(objective).__name__)
        if objective.state:
            self.objective_state = list(objective.state.values())
        self._draws = 1
        self._make_metrics()
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def _meet_unknown(self, what: str) -> None:
        """Makes the model take NaN, an entry that is not known, in observed variables.

        Raises:
          InputError: the mathematics of the likelihoods or the objective does not allow it.
        """
        unknown.are_marginal(self.graph, self.objective, what)
        if self.graph.has_unknown:
            return
        self.graph.has_unknown = True
        self.train_function = self.test_function = self.predict_function = None
        self.answers = Answers(self.graph)
        self.__dict__.pop("log_likelihood_batch", None)
        self.__dict__.pop("impute_batch", None)

    def _make_metrics(self) -> None:
        """Makes the metrics of the variables and the objective."""

    @property
    def posterior_layers(self) -> dict[str, Any]:
        """The layer that makes each posterior, by the name of the latent variable."""
        return {name: q.layer for name, q in self.graph.posteriors.items()}

    @property
    def layers(self) -> list[Any]:
        """The networks and priors, and what else there is: each once."""
        known = self._parts()
        inside = {id(part) for one in known for part in one._flatten_layers()}
        return [*known, *(part for part in super().layers if id(part) not in inside)]

    def _parts(self) -> list[Any]:
        """Returns the networks and priors."""
        raise NotImplementedError

    @first_alone
    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the likelihood of the data at one draw of the latent variables for each example.

        It has the pass beside it, `forward`; of several observed variables it is a dict by name.
        Steps of `fit` and `evaluate` draw as often for each example as the objective wants; the
        axis of draws is folded into the batch, draws first.
        """
        self._checks.shape(inputs)
        return self._forward(inputs, training, self._draws)

    def _forward(self, inputs: Any, training: bool | None, samples: int) -> Any:
        outset = self.graph.begin(self.wiring.by_name(inputs), training)
        gate = Gate() if training and self.objective.weighs_gradients else None
        each = self.objective.enumerates if samples == self.objective.num_samples else ()
        forward = self.graph.forward(outset, samples, training, gate=gate, enumerated=each)
        if training and self.objective.needs_gradient:
            self._check_gradients(forward, samples)
        likelihoods = {name: term.p for name, term in forward.observed.items()}
        found: Any = Likelihoods(likelihoods)
        if len(likelihoods) == 1:
            (found,) = likelihoods.values()
        found.forward = found.latents = forward
        return found

    def _check_gradients(self, forward: Forward, samples: int) -> None:
        several = max(samples, self.objective.num_samples)
        drawn = {n: t for n, t in forward.latent.items() if n not in self.objective.enumerates}
        for name, term in drawn.items():
            layer = self.graph.posteriors[name].layer
            networks.gradients_go_through(term.q, layer, 1 if term.q_is_drawn else several)

    def forward(
        self, x: Any, num_samples: int = 1, training: bool | None = False, seed: Any = None
    ) -> Forward:
        """Returns one pass over a batch: the terms of each variable, with their values.

        Args:
          x: the data, as for `fit`.
          num_samples: how many draws of the latent variables for each example.
          training: as for Keras' layers.
          seed: a pair of integers makes the draws repeatable; None: each posterior's own.
        """
        data = self.wiring.by_name(x)
        outset = self.graph.begin(data, training) if training else self.graph.infer(data)
        return self.graph.forward(outset, num_samples, training, drawing(num_samples, seed))

    def _foreign_seeds(self) -> list[Any]:
        """Returns the random states of layers of Keras' own, such as `Dropout`, each once."""
        foreign = [layer for layer in self._flatten_layers() if not isinstance(layer, Seeded)]
        seeds = [generator.state for layer in foreign for generator in layer._seed_generators]
        return list({id(state): state for state in seeds}.values())

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for number, state in enumerate(self._foreign_seeds()):  # which Keras does not save
            store[f"{_SEED}{number}"] = keras.ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118  (it has no __iter__)
        saved = [values.pop(key) for key in sorted(values, key=_number) if key.startswith(_SEED)]
        super().load_own_variables(values)
        states = self._foreign_seeds()
        if len(saved) == len(states):  # files of before have none
            for state, value in zip(states, saved, strict=True):
                state.assign(value)

    def check(self, x: Any) -> None:
        """Raises `InputError` unless x is a batch of what the model takes, conditions and all."""
        self._checks.batch(x)
