"""What every model of named variables is: a `keras.Model` whose loss is an objective's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge import replicas, sparse
from tfp_vae.bridge.first_calls import first_alone
from tfp_vae.bridge.hdf5 import LegacySaving
from tfp_vae.bridge.keras_model import KerasModel
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.bridge.side_effects import adds_losses, further_pass
from tfp_vae.errors import InputError
from tfp_vae.model import importance
from tfp_vae.model.ancestral import Variables, drawing
from tfp_vae.model.checks import networks
from tfp_vae.model.checks.data import DataChecks
from tfp_vae.model.conditional import Conditional, Value
from tfp_vae.objectives import Forward, Objective
from tfp_vae.objectives.forward import unfolded
from tfp_vae.objectives.gate import Gate, recorded
from tfp_vae.steps.execution import Execution
from tfp_vae.steps.fitting import Fitting
from tfp_vae.steps.queued import Epoch


class Likelihoods(dict):
    """The likelihoods of several observed variables by name, as a model puts these out.

    Attributes:
      forward: the pass that they are of.
    """

    forward: Forward


class ProbabilisticModel(Fitting, Execution, Seeded, LegacySaving, KerasModel):
    """A model of named variables, trained by an objective; subclasses say which variables.

    Attributes:
      graph: the variables in ancestral order.
      wiring: what of the data is which variable, a `Wiring` or `NamedData`.
      objective: what is minimized.
      has_density: whether each posterior has one.
      reports: what posteriors report of a batch: by the metric's name a variable and a method.
    """

    objective: Objective
    graph: Variables
    has_density: bool
    wiring: Any

    def _assemble(self, graph: Variables, objective: Objective, data_checks: DataChecks) -> None:
        """Sets up what follows from the variables and the objective; the constructor's last act."""
        self.graph = graph
        self._checks = data_checks
        self.has_density = all(q.has_density for q in graph.posteriors.values())
        self.objective = objective
        for posterior in graph.posteriors.values():
            if objective.needs_density and not posterior.has_density:
                networks.refuse_point_mass(posterior.layer, type(objective).__name__)
        objective.bind({name: q.shape for name, q in graph.posteriors.items()})
        if objective.state:
            self.objective_state = list(objective.state.values())
        self._draws = 1
        self._fitting = False
        self._epoch_of_training, self._epoch_of_evaluation = Epoch(), Epoch()
        self.nll_metric = keras.metrics.Mean("nll")
        with_density = [name for name, q in graph.posteriors.items() if q.has_density]
        self.kl_metric = keras.metrics.Mean("kl") if with_density else None
        several = with_density if len(graph.posteriors) > 1 else []
        of_objective = objective.metric_names
        self.reports = _reports(graph)
        if several or of_objective or self.reports:
            names = [*(f"kl_{name}" for name in several), *of_objective, *self.reports]
            self.more_metrics = {name: keras.metrics.Mean(name) for name in names}
        self.seed_generator = keras.random.SeedGenerator()
        self.log_likelihood_batch = tf.function(
            functools.partial(importance.estimate_batch, graph),
            None,
            autograph=False,
            reduce_retracing=True,
        )
        self.built = True

    @property
    def posterior_layers(self) -> dict[str, Any]:
        """The layer that makes each posterior, by the name of the latent variable."""
        return {name: q.layer for name, q in self.graph.posteriors.items()}

    # -- the forward pass and its loss --------------------------------------------------------

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
        data = self.wiring.by_name(inputs)
        outset = self.graph.begin(data, training)
        gate = Gate() if training and self.objective.weighs_gradients else None
        forward = self.graph.forward(outset, samples, training, gate=gate)
        if training and self.objective.needs_gradient:
            self._check_gradients(forward, samples)
        likelihoods = {name: term.p for name, term in forward.observed.items()}
        if len(likelihoods) == 1:
            (found,) = likelihoods.values()
        else:
            found = Likelihoods(likelihoods)
        found.forward = found.latents = forward
        return found

    def _check_gradients(self, forward: Forward, samples: int) -> None:
        several = max(samples, self.objective.num_samples)
        for name, term in forward.latent.items():
            layer = self.graph.posteriors[name].layer
            networks.gradients_go_through(term.q, layer, 1 if term.q_is_drawn else several)

    def forward(
        self, x: Any, num_samples: int = 1, training: bool | None = False, seed: Any = None
    ) -> Forward:
        """One pass over a batch: the terms of each variable, with their values.

        Args:
          x: the data, as for `fit`.
          num_samples: how many draws of the latent variables for each example.
          training: as for Keras' layers.
          seed: a pair of integers makes the draws repeatable; None: each posterior's own.
        """
        data = self.wiring.by_name(x)
        outset = self.graph.begin(data, training, undrawn=not training)
        chosen = drawing(num_samples, seed)
        return self.graph.forward(outset, num_samples, training, chosen)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The objective's loss, averaged over the batch, and the networks' own regularization.

        y is what is to be reconstructed, where that is not x itself (a denoising VAE).
        """
        # Replicas that meet within the objective go on with the losses of another one's layers.
        meets = self.objective.sees_whole_batch and replicas.replica() is not None
        added = list(self.losses) if meets else None
        forward: Forward = y_pred.forward
        samples = self.objective.num_samples
        if next(iter(forward.values())).samples != samples:  # by hand: `model(x)` is one draw
            forward = self._forward(x, training, samples).forward
        optimizer = getattr(self, "optimizer", None)  # there is none before `compile`
        sample_weight = _of_examples(sample_weight)
        alone = self._alone()
        forward = forward.observing(
            self.wiring.targets(x, y),
            step=0 if optimizer is None else optimizer.iterations,
            training=training,
            weights=sample_weight,
            decode=None if alone is None else functools.partial(self._decode_at, x, training),
            decoder=None if alone is None else alone.network,
        )
        gate = forward.gate
        with recorded(gate):
            forward.fits()
            terms = self.objective(forward)
            loss = terms.loss
            if sample_weight is not None:
                loss *= tf.cast(sample_weight, loss.dtype)
            loss = tf.reduce_mean(loss)
        self._record(forward, terms, sample_weight)
        if gate is not None and gate.weights is not None and self._adds_behind_z():
            loss += gate.weighed_apart(loss)
        for more in self.losses if added is None else added:
            loss += tf.cast(tf.reduce_sum(more), loss.dtype)
        replicas.catch_up()
        return replicas.share_of_loss(loss, tf.shape(forward.log_likelihood)[1])

    def _record(self, forward: Forward, terms: Any, sample_weight: Any) -> None:
        """Adds a batch to the metrics."""
        self.nll_metric.update_state(terms.nll, sample_weight)
        if self.kl_metric is not None:
            self.kl_metric.update_state(terms.kl, sample_weight)
        for name, metric in getattr(self, "more_metrics", {}).items():
            if name in self.reports:
                of, what = self.reports[name]
                # It is of the batch of all replicas, which meet where it is made.
                report = functools.partial(_report, metric, getattr(forward.latent[of].q, what))
                replicas.after_pass(report)
                continue
            found = terms.more[name] if name in terms.more else forward.kls[name[3:]]
            metric.update_state(found, sample_weight)

    def _alone(self) -> Conditional | None:
        """The likelihood, where there is one latent variable and one observed."""
        if len(self.graph.posteriors) == len(self.graph.likelihoods) == 1:
            return next(iter(self.graph.likelihoods.values()))
        return None

    def _decode_at(self, x: Any, training: bool, z: tf.Tensor) -> Any:
        """The likelihood at other values of the one latent variable."""
        likelihood = self._alone()
        assert likelihood is not None
        values = {name: Value(v) for name, v in self.wiring.by_name(x).items()}
        values.update({name: Value(z) for name in self.graph.posteriors})
        with further_pass(likelihood.network):
            return likelihood(values, 1, training).distribution

    def _adds_behind_z(self) -> bool:
        """Whether a layer that is not a posterior's has added to the losses in this pass."""
        graph = self.graph
        behind: list[Any] = [one.network or one.prior for one in graph.priors.values()]
        behind += [one.network for one in graph.likelihoods.values()]
        known = {id(layer) for one in behind for layer in one._flatten_layers()}
        first: list[Any] = [
            q.network
            for q in graph.posteriors.values()
            if not set(q.inputs) & set(graph.posteriors)
        ]
        before = [layer for one in first for layer in one._flatten_layers()]
        alone = [layer for layer in before if id(layer) not in known]
        return adds_losses(self._flatten_layers(), but=alone)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """As Keras'; metrics given to `compile` compare x with the mean over the draws of z."""
        forward = getattr(y_pred, "forward", None)  # None while Keras builds with placeholders
        samples = self._draws if forward is None else next(iter(forward.values())).samples

        def mean(value: Any, name: str | None = None) -> tf.Tensor:
            value = tf.convert_to_tensor(value)
            if forward is None or samples == 1:
                return value
            term = next(iter(forward.observed.values())) if name is None else forward[name]
            if not term.p_is_drawn:
                return value
            return tf.reduce_mean(unfolded(value, samples), axis=0)

        several = isinstance(y_pred, Mapping)
        value = {n: mean(v, n) for n, v in y_pred.items()} if several else mean(y_pred)
        targets = self.wiring.targets(x, y)
        target = targets if several else next(iter(targets.values()))
        sample_weight = _of_examples(sample_weight)
        if several and sample_weight is not None:
            sample_weight = dict.fromkeys(targets, sample_weight)
        return super().compute_metrics(x, target, value, sample_weight)

    def train_step(self, data: Any) -> Any:
        with self._drawing(self.objective.num_samples), replicas.step():
            logs = super().train_step(sparse.dense(data))
            return replicas.as_keras_averages(logs, self.distribute_strategy)

    def test_step(self, data: Any) -> Any:
        with self._drawing(self.objective.num_samples), replicas.step():
            logs = super().test_step(sparse.dense(data))
            return replicas.as_keras_averages(logs, self.distribute_strategy)

    @contextlib.contextmanager
    def _drawing(self, samples: int) -> Iterator[None]:
        """Within it a call draws so often for each example."""
        self._draws = samples
        try:
            yield
        finally:
            self._draws = 1

    @staticmethod
    def _serialized(parts: Sequence[Any]) -> list[Any]:
        """The configs of networks that may share layers, which Keras is to load as the same ones.

        Keras marks an object as shared from its second config on, and so each here.
        """
        serialize = keras.saving.serialize_keras_object
        for part in parts:
            serialize(part)
        return [None if part is None else serialize(part) for part in parts]

    # -- what it learnt ------------------------------------------------------------------------

    def check(self, x: Any) -> None:
        """Raises `InputError` unless x is a batch of what the model takes, conditions and all."""
        self._checks.batch(x)

    @checked
    @first_alone
    def log_likelihood(
        self, x: Any, num_samples: int = 100, batch_size: int = 256, y: Any = None
    ) -> tf.Tensor:
        """Importance-weighted estimate of log p(x) for each example, in nats.

        `log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`, z_k from q(z|x); from below in expectation, and
        closer the larger K (Burda et al., arXiv:1509.00519). Memory does not grow with K. With
        conditions it is log p(x|conditions). Of several variables z is all latent ones, and x all
        observed ones; a latent value that is given is observed too.

        Args:
          x: the examples, `[n, ...]`, with the conditions if there are any.
          num_samples: K.
          batch_size: how many examples are worked on at a time.
          y: what the likelihood is over, where that is not x, as for `fit(x, y)`; the estimate is
            of log p(y) then, with z drawn from q(z|x).

        Raises:
          InputError: the posterior is a point mass, or z its mean: there is no density then.
        """
        layers = self.posterior_layers
        if not self.has_density:
            of = next(la for n, la in layers.items() if not self.graph.posteriors[n].has_density)
            raise InputError(
                "Without noise in z there is no log p(x): expected a posterior with a density.",
                f"an encoder that ends in {type(of).__name__}",
            )
        self._checks.data(x, y, "x")
        if not any(getattr(layer, "is_random", True) for layer in layers.values()):
            num_samples = 1  # all draws would be the same
        data = sparse.by_row(
            (self.wiring.by_name(x), {} if y is None else self.wiring.targets(x, y))
        )
        by_xla = self.estimates_by_xla(sparse.count(data) * num_samples)
        run = functools.partial(self.log_likelihood_batch, by_xla=by_xla)
        return importance.estimate(run, data, num_samples, batch_size, self.next_seed, by_xla)


def _reports(graph: Variables) -> dict[str, tuple[str, str]]:
    """Returns what posteriors report of a batch: by the metric's name a variable and a method."""
    found = {}
    for name, q in graph.posteriors.items():
        for what in getattr(q.layer, "reports", ()):
            found[what if len(graph.posteriors) == 1 else f"{what}_{name}"] = name, what
    return found


def _report(metric: keras.metrics.Metric, value: Callable[[], tf.Tensor]) -> None:
    metric.update_state(value())


def _of_examples(sample_weight: Any) -> tf.Tensor | None:
    """One weight for each example; Keras gives each of several targets the same ones."""
    given = keras.tree.flatten(sample_weight)
    return None if not given or given[0] is None else tf.reshape(given[0], [-1])
