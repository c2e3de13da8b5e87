"""A training run: its data, its model, and its steps from where the model stands to the last."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfp_vae import data, recipes
from tfp_vae.app import history
from tfp_vae.app.inputs import examples, inputs, some
from tfp_vae.app.known_labels import as_values, labelled
from tfp_vae.app.preparation import MOST, prepared, said, watched
from tfp_vae.app.runs import Run
from tfp_vae.callbacks import FixedEvaluation, KeepGood, ProgressBar, say
from tfp_vae.errors import InputError
from tfp_vae.evaluation.estimates import chosen
from tfp_vae.model import main_variable
from tfp_vae.model.checks import networks
from tfp_vae.objectives import Objective
from tfp_vae.objectives.feature_networks import trained_features
from tfp_vae.objectives.from_options import Chosen
from tfp_vae.recipes.base import LIKELIHOODS, find, likelihood_named
from tfp_vae.steps.interrupt import BetweenSteps
from tfp_vae_cli.fields import plain
from tfp_vae_cli.options import NetworkOptions, RunOptions

_FOR_FEATURES = 20_000  # examples that a classifier is trained on, at most


class Training:
    """A run in progress: its data, its model, and how far it has come.

    Args:
      run: the run's folder.
      options: the options of the run.
      objective: the objective that the options name, or what makes it from the recipe's own.

    Attributes:
      decided: options that were left to the data, as they came out.
      notes: lines for people on what is done with the data.

    Raises:
      InputError: no such data or recipe, or nothing is left to do.
    """

    def __init__(self, run: Run, options: RunOptions, objective: Objective | Chosen | None) -> None:
        self.run = run
        self.seed = options.seed
        self.recipe = find(options.recipe)
        self.images = examples(plain(options), run.read_words())
        conditional = options.conditional or self.recipe.conditional
        self.num_classes = self.images.num_classes if conditional else None
        self.prepared = prepared(self.images, options)
        self.binarize = self.prepared.binarize
        self.decided = {
            "binarize": self.binarize,
            "standardize": self.prepared.scale is not None,
            "length": self.images.train.shape[1]
            if self.images.shape[0] is None
            else options.length,
        }
        self.x_test = data.binarized(self.images.test, self.binarize)
        self.watched = watched(self.images)
        self.train = self.images.train[~self.watched]
        self.train_labels = some(self.images.train_labels, ~self.watched)
        self._hide_labels(options.labelled)
        self.batch_size = min(options.batch_size, len(self.train))
        self.steps = len(self.train) // self.batch_size
        self.epochs = options.epochs or usual_epochs(self.steps)
        self.total = self.steps * self.epochs
        self._make_model(options, objective)
        self.notes = self._notes()
        self.vae.check(inputs(self.vae, self.x_test, self.images.test_labels))
        self.vae.expect(self.total)  # as it was, if this run goes on in the middle of an epoch
        # A run that stopped after its last step has its prior, results and figures still to come.
        if self.step > self.total or (self.step == self.total and run.is_reported(self.total)):
            raise InputError(
                f"The run is complete at epoch {self.step // self.steps}: expected more --epochs.",
                self.epochs,
            )

    def _hide_labels(self, count: int | None) -> None:
        """Leaves so many labels known, for a recipe whose labels are values."""
        self.num_labelled = None
        if self.recipe.labels is None:
            if count is not None:
                raise InputError(
                    "Expected a recipe that learns from labels, such as m2, with --labelled.",
                    f"--recipe {self.recipe.name}",
                )
            return
        assert self.train_labels is not None
        found = labelled(self.train_labels, count, self.seed)
        self.train, self.train_labels = self.train[found.rows], found.labels
        self.num_labelled = found.num_labelled

    def _make_model(self, options: RunOptions, objective: Objective | Chosen | None) -> None:
        rate = _warm_up_and_cosine(options.learning_rate, self.total)
        if self.run.model.is_file():
            self.vae = self.run.load_trained()
            _is_own(self.vae.optimizer, self.run.model)
            self.vae.optimizer.learning_rate = rate
            return
        setting = recipes.Setting(
            self.images.shape,
            num_examples=len(self.train),
            steps=self.total,
            likelihood=likelihood_named(options.likelihood),
            usual_likelihood=LIKELIHOODS[self.prepared.likelihood],
            num_classes=self.num_classes,
            num_labelled=self.num_labelled,
            num_tokens=self.images.num_tokens,
            features=self._features(objective),
            objective=objective,
            scale=self.prepared.scale,
            unknown=self.images.has_unknown,
            **plain(options, NetworkOptions),
        )
        keras.utils.set_random_seed(self.seed)
        self.vae = recipes.build(self.recipe.name, setting)
        self.vae.compile(keras.optimizers.Adam(rate))

    def _features(self, objective: Objective | Chosen | None) -> Callable[[], keras.Model] | None:
        """Returns what trains the features that some recipes compare, if there are labels."""
        keeps = not isinstance(objective, Chosen) or objective.keeps("network")
        labels = self.train_labels
        if labels is None or not keeps:
            return None

        def trained() -> keras.Model:
            say("training a small classifier of the labels, whose layers give the features")
            rows = chosen(len(self.train), _FOR_FEATURES, self.seed)
            x = data.training_images(self.train[rows], self.binarize, self.seed)
            return trained_features(x, labels[rows])

        return trained

    def _notes(self) -> list[str]:
        layer = networks.final_operation(main_variable.likelihood(self.vae), "decoder")
        held, which = int(self.watched.sum()), "training rows, held out"
        if self.images.validation is not None:
            held, which = min(MOST, len(self.images.validation)), "rows of the validation split"
        shown = f"watched at each epoch: {held} {which} (val_loss)" if held else ""
        return [note for note in (said(self.images, self.prepared, layer), shown) if note]

    @property
    def step(self) -> int:
        """Training steps done so far."""
        return int(self.vae.optimizer.iterations)

    def save(self, vae: Any) -> None:
        """Writes the model as it stands."""
        self.run.save(vae, self.run.model)

    def fit(self) -> KeepGood:
        """Trains from where the model stands to the last epoch; saves the model as it goes."""
        done = self.step
        if done < self.total:
            self.run.fitted.unlink(missing_ok=True)  # its model is about to change
        keep, evaluation, between_steps = KeepGood(self.save), FixedEvaluation(), BetweenSteps()
        callbacks = [
            evaluation,
            # The row of an epoch is there before the model that has done the epoch: a run that is
            # killed in between does the epoch again, and `forget_from` takes the row out.
            keras.callbacks.LambdaCallback(self._go_on_with_sums, self._add_row),
            keep,
            ProgressBar(self.total, done),
            keras.callbacks.TensorBoard(self.run.logs, write_graph=False),
            between_steps,
        ]
        epoch, begun = divmod(done, self.steps)
        history.forget_from(self.run.history, epoch)
        stretches = [(epoch, self.epochs, self.steps)]
        self._sums: list[float] = []
        if begun:  # a run that was interrupted first finishes its epoch
            self._sums = self.run.read_sums()
            stretches = [
                (epoch, epoch + 1, self.steps - begun),
                (epoch + 1, self.epochs, self.steps),
            ]
        try:
            with between_steps:
                for first, last, steps in stretches:
                    if keep.failed_at is None and first < last:
                        self._fit(first, last, steps, callbacks)
        finally:
            evaluation.restore()
        return keep

    def _add_row(self, epoch: int, logs: dict[str, float]) -> None:
        history.add_row(self.run.history, epoch, logs)

    def _go_on_with_sums(self, epoch: int, logs: Any = None) -> None:
        """Gives the metrics what they had of an epoch that was interrupted, for its row."""
        sums, self._sums = self._sums, []
        for variable, value in zip(self.vae.metrics_variables, sums, strict=False):
            variable.assign(value)

    def _fit(self, first: int, last: int, steps: int, callbacks: list[Any]) -> None:
        labels = None if self.num_classes is None else self.train_labels
        how = (self.batch_size, self.binarize, self.seed, self.step)
        batches = data.batches(self.train, *how, labels)
        if self.recipe.labels is not None and self.num_classes is not None:
            batches = batches.map(as_values(self.recipe.labels, self.num_classes))
        self.vae.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            shuffle=False,
            validation_data=self._validation(),
            callbacks=callbacks,
            verbose=0,
        )

    def _validation(self) -> tf.data.Dataset | None:
        """Returns the rows that are watched at each epoch, if there are any."""
        images = self.images
        if images.validation is None:
            x, labels = images.train[self.watched], some(images.train_labels, self.watched)
        else:
            rows = chosen(len(images.validation), MOST)
            x, labels = images.validation[rows], some(images.validation_labels, rows)
        if not len(x):
            return None
        shown = inputs(self.vae, data.binarized(x, self.binarize), labels)
        return tf.data.Dataset.from_tensor_slices(shown).batch(500)


def usual_epochs(steps: int) -> int:
    """Returns 36, or as many epochs as make 3,000 steps, but 300 at most.

    A model learns few rows by heart that it sees more often.

    Example:
      >>> usual_epochs(445), usual_epochs(11), usual_epochs(1)
      (36, 273, 300)
    """
    return max(36, min(300, math.ceil(3000 / steps)))


def _is_own(optimizer: keras.optimizers.Optimizer, file: Path) -> None:
    """Checks that an optimizer is the one of every run, but for its rate."""
    theirs, own = (
        {**each.get_config(), "learning_rate": None, "name": None}
        for each in (optimizer, keras.optimizers.Adam())
    )
    if type(optimizer) is not keras.optimizers.Adam or theirs != own:
        wrong = {key: theirs.get(key) for key in own if theirs.get(key) != own[key]}
        raise InputError(
            f"Expected the optimizer in {file} to be the run's own, Adam({own}).",
            f"{type(optimizer).__name__}: {wrong}",
        )


def _warm_up_and_cosine(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    warm_up = max(1, min(1000, steps // 10))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )
