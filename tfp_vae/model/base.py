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
from tfp_vae.bridge.random_state import pair_of
from tfp_vae.bridge.side_effects import adds_losses, further_pass
from tfp_vae.errors import InputError
from tfp_vae.model import importance, imputation
from tfp_vae.model.ancestral import Variables
from tfp_vae.model.conditional import Value
from tfp_vae.model.passes import ForwardModel
from tfp_vae.model.total_loss import total_loss
from tfp_vae.objectives import Forward
from tfp_vae.objectives.draw_axis import unfolded
from tfp_vae.objectives.gradient_gate import recorded
from tfp_vae.wiring import outline


class ProbabilisticModel(ForwardModel):
    """A model of named variables, trained by an objective; subclasses say which variables.

    Attributes:
      reports: what posteriors report of a batch: by the metric's name a variable and a method.
    """

    def _make_metrics(self) -> None:
        self.nll_metric = keras.metrics.Mean("nll")
        with_density = [name for name, q in self.graph.posteriors.items() if q.has_density]
        self.kl_metric = keras.metrics.Mean("kl") if with_density else None
        several = with_density if len(self.graph.posteriors) > 1 else []
        self.reports = _reports(self.graph)
        names = [*(f"kl_{n}" for n in several), *self.objective.metric_names, *self.reports]
        if names:
            self.more_metrics = {name: keras.metrics.Mean(name) for name in names}

    # -- the loss ------------------------------------------------------------------------------

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the objective's mean loss over the batch with the networks' regularization.

        y is what is to be reconstructed, where that is not x itself (a denoising VAE).
        """
        forward: Forward = y_pred.forward
        samples = self.objective.num_samples
        if next(iter(forward.values())).samples != samples:  # by hand: `model(x)` is one draw
            forward = self._forward(x, training, samples).forward
        added = self._added_before_replicas_meet(forward)
        optimizer = getattr(self, "optimizer", None)  # there is none before `compile`
        sample_weight = _of_examples(sample_weight)
        alone = self.graph.alone
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
        added = self.losses if added is None else added
        return total_loss(loss, added, tf.shape(forward.log_likelihood)[1])

    def _added_before_replicas_meet(self, forward: Forward) -> list[tf.Tensor] | None:
        """Returns the losses that layers have added, if those of other replicas may replace them.

        A replica that waits for others within the objective goes on with their layers' losses. So
        the priors run before, which else run when the objective asks for them.
        """
        if not self.objective.sees_whole_batch or replicas.replica() is None:
            return None
        for term in forward.latent.values():
            _ = term.p
        return list(self.losses)

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

    def _decode_at(self, x: Any, training: bool, z: tf.Tensor) -> Any:
        """Returns the likelihood at other values of the one latent variable."""
        likelihood = self.graph.alone
        assert likelihood is not None
        values = {name: Value(v) for name, v in self.wiring.by_name(x).items()}
        values.update({name: Value(z) for name in self.graph.posteriors})
        with further_pass(likelihood.network):
            return likelihood(values, 1, training).distribution

    def _adds_behind_z(self) -> bool:
        """Tells whether a layer that is not a posterior's has added to the losses in this pass."""
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

    # -- the steps -----------------------------------------------------------------------------

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Returns Keras' metrics, which compare x with the mean over the draws of z."""
        forward = getattr(y_pred, "forward", None)  # None while Keras builds with placeholders
        samples = self._draws if forward is None else next(iter(forward.values())).samples

        def mean(value: Any, name: str | None = None) -> tf.Tensor:
            value = tf.convert_to_tensor(value)
            if forward is None or samples == 1:
                return value
            term = next(iter(forward.observed.values())) if name is None else forward[name]
            if not term.p_is_drawn:
                return value
            return tf.reduce_mean(unfolded(value, term.samples), axis=0)

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
        """Makes each call within it draw so often for each example."""
        self._draws = samples
        try:
            yield
        finally:
            self._draws = 1

    # -- what it learnt ------------------------------------------------------------------------

    @functools.cached_property
    def log_likelihood_batch(self) -> Any:
        """`importance.estimate_batch` of the model's variables, compiled."""
        run = functools.partial(importance.estimate_batch, self.graph)
        return tf.function(run, None, autograph=False, reduce_retracing=True)

    @checked
    @first_alone
    def log_likelihood(
        self,
        x: Any,
        num_samples: int = 100,
        batch_size: int = 256,
        y: Any = None,
        given: Any = None,
    ) -> tf.Tensor:
        """Returns an importance-weighted estimate of log p(x) for each example, in nats.

        `log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`, z_k from q(z|x); from below in expectation, and
        closer the larger K (Burda et al., arXiv:1509.00519). Memory does not grow with K. With
        conditions it is log p(x|conditions). Of several variables z is all latent ones, and x all
        observed ones; a latent value that is given is observed too. Of entries that are not known,
        NaN, it is log p of the others.

        Args:
          x: the examples, `[n, ...]`, with the conditions if there are any.
          num_samples: K.
          batch_size: how many examples are worked on at a time.
          y: what the likelihood is over, where that is not x, as for `fit(x, y)`; the estimate is
            of log p(y) then, with z drawn from q(z|x).
          given: a mask of x's shape (of several observed variables a dict of these by name), True
            where an entry is a condition: the estimate is of
            `log p(x_others | x_given) = log p(x) - log p(x_given)` then.

        Raises:
          InputError: the posterior is a point mass, or z its mean, or the objective is no
            likelihood: there is no density then.
        """
        posteriors = self.graph.posteriors.values()
        if self.objective.no_likelihood:
            raise InputError(
                f"There is no log p(x): {self.objective.no_likelihood}.",
                f"the objective {type(self.objective).__name__}",
            )
        if not self.has_density:
            of = next(q.layer for q in posteriors if not q.has_density)
            raise InputError(
                "Without noise in z there is no log p(x): expected a posterior with a density.",
                f"an encoder that ends in {type(of).__name__}",
            )
        self._checks.data(x, y, "x")
        if given is not None:
            if y is not None:
                raise InputError("Expected entries that are given in x, and no y.", outline(y))
            part, empty = self.wiring.given_entries(x, given)
            self._meet_unknown("x")
            both = [self._estimate(data, None, num_samples, batch_size) for data in (x, part)]
            return both[0] - tf.where(empty, tf.zeros_like(both[1]), both[1])
        return self._estimate(x, y, num_samples, batch_size)

    def _estimate(self, x: Any, y: Any, num_samples: int, batch_size: int) -> tf.Tensor:
        posteriors = self.graph.posteriors.values()
        if not any(getattr(q.layer, "is_random", True) for q in posteriors):
            num_samples = 1  # all draws would be the same
        targets = {} if y is None else self.wiring.targets(x, y)
        data = sparse.by_row((self.wiring.by_name(x), targets))
        by_xla = self.estimates_by_xla(sparse.count(data) * num_samples)
        run = functools.partial(self.log_likelihood_batch, by_xla=by_xla)
        return importance.estimate(run, data, num_samples, batch_size, self.next_seed, by_xla)

    @functools.cached_property
    def impute_batch(self) -> Any:
        """`imputation.impute_batch` of the model's variables, compiled."""
        run = functools.partial(imputation.impute_batch, self.graph)
        return tf.function(run, None, autograph=False, reduce_retracing=True)

    def _impute(
        self, x: Any, num_samples: int, num_draws: int, quantiles: Sequence[float], seed: Any
    ) -> dict[str, imputation.Imputation]:
        """Returns the imputations of all observed variables, by name."""
        if not self.has_density or self.objective.no_likelihood:
            reason = self.objective.no_likelihood or "the posterior is a point mass"
            raise InputError("Expected a model with a density p(x).", reason)
        if not all(0 <= level <= 1 for level in quantiles):
            raise InputError("Expected quantiles from 0 to 1.", quantiles)
        self._checks.batch(x)
        self._meet_unknown("x")
        levels = tuple(float(level) for level in quantiles)

        def run(data: Any, its: Any) -> Any:
            return self.impute_batch(data, its, num_samples, num_draws, levels)

        pair = self.next_seed() if seed is None else pair_of(seed)
        rows_at_once = max(1, _ROWS_AT_ONCE // num_samples)
        return imputation.impute(run, sparse.by_row(self.wiring.by_name(x)), rows_at_once, pair)


_ROWS_AT_ONCE = 8192  # through the decoder: memory stays bounded whatever the number of draws


def serialized(parts: Sequence[Any]) -> list[Any]:
    """Returns the configs of networks that may share layers, which Keras loads as the same ones.

    Keras marks an object as shared from its second config on, and so each here.
    """
    serialize = keras.saving.serialize_keras_object
    for part in parts:
        serialize(part)
    return [None if part is None else serialize(part) for part in parts]


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
    """Returns one weight for each example; Keras gives each of several targets the same ones."""
    given = keras.tree.flatten(sample_weight)
    return None if not given or given[0] is None else tf.reshape(given[0], [-1])
