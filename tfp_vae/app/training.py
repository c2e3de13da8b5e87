"""One training run from data to figures: what `tfp-vae train` does."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import data, layers, plots, recipes
from tfp_vae.app.preparation import MOST, is_black_and_white, prepared, said, watched
from tfp_vae.app.runs import Run
from tfp_vae.app.writing import replacing
from tfp_vae.bridge.marginals import DistributionPrior
from tfp_vae.callbacks import FixedEvaluation, KeepGood, ProgressBar, say
from tfp_vae.errors import InputError
from tfp_vae.evaluation import estimates, measures, summary
from tfp_vae.evaluation.columns import MOST_VALUES
from tfp_vae.model.checks import networks
from tfp_vae.model.vae import VAE
from tfp_vae.networks import num_classes
from tfp_vae.objectives import Objective
from tfp_vae.objectives.from_options import Chosen
from tfp_vae.recipes.base import LIKELIHOODS, find, likelihood_named
from tfp_vae.steps.interrupt import BetweenSteps

_COUNTS = (layers.IndependentPoisson, layers.NegativeBinomial, layers.ZeroInflatedNegativeBinomial)
_FOR_PRIOR = 20_000  # examples that a prior is fitted to afterwards, at most


class Training:
    """A run in progress: its data, its model, and how far it has come.

    Args:
      run: the run's folder.
      options: the options of `tfp_vae.app.cli.train`, without `out` and `resume`.
      objective: the objective that the options name, or what makes it from the recipe's own.

    Attributes:
      decided: options that were left to the data, as they came out.
      notes: lines for people on what is done with the data.

    Raises:
      InputError: no such data or recipe, or nothing is left to do.
    """

    def __init__(
        self, run: Run, options: dict[str, Any], objective: Objective | Chosen | None
    ) -> None:
        self.run = run
        self.seed: int = options["seed"]
        self.recipe = find(options["recipe"])
        self.images = data.load(options["data"])
        conditional = options["conditional"] or self.recipe.conditional
        self.num_classes = self.images.num_classes if conditional else None
        self.prepared = prepared(self.images, options)
        self.binarize = self.prepared.binarize
        self.x_test = data.binarized(self.images.test, self.binarize)
        self.watched = watched(self.images)
        self.train = self.images.train[~self.watched]
        count = len(self.train)
        self.batch_size = min(options["batch_size"], count)
        self.steps = count // self.batch_size
        self.epochs: int = options["epochs"] or usual_epochs(self.steps)
        self.learning_rate = _warm_up_and_cosine(options["learning_rate"], self.steps * self.epochs)
        if run.model.is_file():
            self.vae = run.load_trained()
            self.vae.optimizer.learning_rate = self.learning_rate
        else:
            keras.utils.set_random_seed(self.seed)
            self.vae = recipes.build(self.recipe.name, self._setting(options, objective))
            self.vae.compile(keras.optimizers.Adam(self.learning_rate))
        self.decided = {
            "binarize": self.binarize,
            "standardize": self.prepared.scale is not None,
        }
        self.notes = self._notes()
        self.vae.check(_inputs(self.vae, self.x_test, self.images.test_labels))
        total = self.steps * self.epochs
        self.vae.expect(total)  # as it was, if this run goes on in the middle of an epoch
        # One that stopped after its last step has its prior, results and figures still to come.
        if self.step > total or (self.step == total and run.is_reported(total)):
            raise InputError(
                f"The run is complete at epoch {self.step // self.steps}: expected more --epochs.",
                self.epochs,
            )

    def _notes(self) -> list[str]:
        layer = networks.final_operation(self.vae.decoder, "decoder")
        held, which = int(self.watched.sum()), "training rows, held out"
        if self.images.validation is not None:
            held, which = min(MOST, len(self.images.validation)), "rows of the validation split"
        shown = f"watched at each epoch: {held} {which} (val_loss)" if held else ""
        return [note for note in (said(self.images, self.prepared, layer), shown) if note]

    def _setting(
        self, options: dict[str, Any], objective: Objective | Chosen | None
    ) -> recipes.Setting:
        return recipes.Setting(
            self.images.shape,
            num_examples=len(self.train),
            steps=self.steps * self.epochs,
            likelihood=likelihood_named(options["likelihood"]),
            usual_likelihood=LIKELIHOODS[self.prepared.likelihood],
            num_classes=self.num_classes,
            objective=objective,
            scale=self.prepared.scale,
            **{key: options[key] for key in ("latent_size", "body", "widths", "activation")},
        )

    @property
    def step(self) -> int:
        """Training steps done so far."""
        return int(self.vae.optimizer.iterations)

    def fit(self) -> KeepGood:
        """Trains from where the model stands to the last epoch; saves it as it goes."""
        done = self.step
        if done < self.steps * self.epochs:
            self.run.forget_fitted()
        keep, evaluation = KeepGood(self.run.save_model), FixedEvaluation()
        between_steps = BetweenSteps()
        callbacks = [
            evaluation,
            # Its row of an epoch is there before the model that has done it: a run that is killed
            # in between does the epoch again, and `forget_from` takes the row out.
            keras.callbacks.LambdaCallback(self._go_on_with_sums, self.run.add_row),
            keep,
            ProgressBar(self.steps * self.epochs, done),
            keras.callbacks.TensorBoard(self.run.logs, write_graph=False),
            between_steps,
        ]
        epoch, begun = divmod(done, self.steps)
        self.run.forget_from(epoch)
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

    def _go_on_with_sums(self, epoch: int, logs: Any = None) -> None:
        """Gives the metrics what they had of an epoch that was interrupted, for its row."""
        sums, variables = self._sums, self.vae.metrics_variables
        self._sums = []
        for variable, value in zip(variables, sums, strict=False):
            variable.assign(value)

    def _fit(self, first: int, last: int, steps: int, callbacks: list[Any]) -> None:
        images = self.images
        labels = None if self.num_classes is None else _some(images.train_labels, ~self.watched)
        x, of_x = images.train[self.watched], _some(images.train_labels, self.watched)
        if images.validation is not None:
            rows = estimates.chosen(len(images.validation), MOST)
            x, of_x = images.validation[rows], _some(images.validation_labels, rows)
        shown = None
        if len(x):
            inputs = _inputs(self.vae, data.binarized(x, self.binarize), of_x)
            shown = tf.data.Dataset.from_tensor_slices(inputs).batch(500)
        self.vae.fit(
            data.batches(self.train, self.batch_size, self.binarize, self.seed, self.step, labels),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            shuffle=False,
            validation_data=shown,
            callbacks=callbacks,
            verbose=0,
        )

    def report(self) -> str:
        """Evaluates, draws the figures, and returns the table; both are in the folder too.

        A recipe whose prior comes after the rest gets it here, and the run a second model.
        """
        vae = self.vae
        if self.recipe.prior_after is not None:
            vae = self._with_fitted_prior()
            self.run.save_fitted(vae)
        say("evaluating, and drawing the figures")
        self._warn_of_overfitting()
        text, results = assess(vae, self.images, self.x_test, self.binarize)
        for key, figure in figures(vae, self.images, self.x_test, self.seed).items():
            with replacing(self.run.figures / f"{key}.png") as new:
                figure.savefig(new, dpi=120)
        # The last of all: it says that the run is complete.
        self.run.write_results({"steps": self.step, **results})
        return text

    def _warn_of_overfitting(self) -> None:
        """Says where the held-out rows did better, if that was by more than a nat, and a tenth."""
        losses = self.run.losses("val_loss")
        if losses:
            best = min(losses, key=lambda epoch: losses[epoch])
            last = losses[max(losses)]
            if last - losses[best] > max(1.0, 0.1 * abs(losses[best])):
                say(
                    f"note: the held-out rows did best in epoch {best + 1}, val_loss "
                    f"{losses[best]:.2f}, at the end {last:.2f}: fewer --epochs may serve better"
                )

    def _with_fitted_prior(self) -> VAE:
        assert self.recipe.prior_after is not None
        some = estimates.chosen(len(self.train), _FOR_PRIOR, self.seed)
        if self.binarize == "fixed":  # the same pixels that the rest was trained on
            x = data.training_images(self.train, self.binarize, self.seed)[some]
        else:
            x = data.training_images(self.train[some], self.binarize, self.seed)
        labels = _some(_some(self.images.train_labels, ~self.watched), some)
        size = self.vae.wiring.decoder.main.shape[1:]
        setting = recipes.Setting(tuple(size), len(x), latent_size=size[-1])
        keras.utils.set_random_seed(self.seed)  # the same prior for a run that went on
        prior = self.recipe.prior_after(setting)
        epochs = max(5, min(50, 1500 * 128 // len(x)))
        say(f"fitting the prior, {type(prior).__name__}, to z of {len(x)} rows")
        with BetweenSteps() as between_steps:
            return self.vae.fit_prior(
                _inputs(self.vae, x, labels),
                prior,
                epochs=epochs,
                seed=self.seed,
                callbacks=[ProgressBar(epochs * math.ceil(len(x) / 128)), between_steps],
                verbose=0,
            )


def usual_epochs(steps: int) -> int:
    """36, or as many as make 3,000 steps, but 300 at most: few rows seen more often are learnt by
    heart.

    Example:
      >>> usual_epochs(445), usual_epochs(11), usual_epochs(1)
      (36, 273, 300)
    """
    return max(36, min(300, math.ceil(3000 / steps)))


def assess(
    vae: VAE, images: data.Examples, x_test: np.ndarray, binarize: data.Binarize, **kwargs: Any
) -> tuple[str, dict[str, Any]]:
    """The table for people, and what it holds as numbers: see `summary.report`."""
    inputs = _inputs(vae, x_test, images.test_labels)
    few = _inputs(vae, x_test[:2], None if images.test_labels is None else images.test_labels[:2])
    each = measures.scalar(estimates.some_likelihood(vae, few))
    train = images.train
    if not (isinstance(each, tfd.Bernoulli) and train.dtype == np.uint8):
        # A Bernoulli takes means, which bytes have without noise; others take what was trained on.
        most = max(2, MOST_VALUES // math.prod(images.shape))
        train = data.binarized(train[estimates.chosen(len(train), most)], binarize)
    return summary.report(vae, inputs, train, **kwargs)


def drawn(vae: VAE, num: int, seed: int, draw: bool | None = None) -> np.ndarray:
    """New x; of a conditional model, one of each label after the other.

    `draw`: whether x is drawn from p(x|z) or its mean; None: drawn where x are counts.
    """
    labels = None
    if vae.wiring.given_names:
        labels = np.arange(num, dtype=np.int32) % num_classes(vae.decoder)
    counts = isinstance(networks.final_operation(vae.decoder, "decoder"), _COUNTS)
    draw = counts if draw is None else draw
    x = vae.sample(num, mean=not draw, seed=seed, conditions=labels).numpy()
    return np.rint(x).astype(np.int64) if counts and draw else x


def figures(vae: VAE, images: data.Examples, x_test: np.ndarray, seed: int) -> dict[str, Any]:
    """The figures of a run, by name: those of images only where these can be shown."""
    name, found = images.name, {}

    def some(count: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Test examples and their labels, drawn at random: a file may be sorted."""
        index = estimates.chosen(len(x_test), count)
        return x_test[index], None if images.test_labels is None else images.test_labels[index]

    if plots.can_show(images.shape):
        x, labels = some(10)
        again = vae.reconstruct(_inputs(vae, x, labels))
        grey = images.train.dtype == np.uint8 and not is_black_and_white(images.train)
        how = "binarized and " if grey and np.isin(x, (0, 1)).all() else ""
        found["reconstructions"] = plots.reconstructions(
            x, again, f"{name}: test images, {how}reconstructed"
        )
        conditional = bool(vae.wiring.given_names)
        columns = num_classes(vae.decoder) if conditional else 8
        what = "a column for each label" if conditional else "E[x|z]"
        found["samples"] = plots.image_grid(
            drawn(vae, 8 * columns, seed), columns, f"{name}: drawn from the prior, {what}"
        )
        if vae.wiring.decoder.main.shape[1:] == (2,) and not conditional and _is_unit_normal(vae):
            found["manifold"] = plots.manifold(vae)
    x, labels = some(5000)
    whose = "the test set" if len(x) == len(x_test) else f"{len(x):,} test examples"
    found["latent_space"] = plots.latent_space(
        vae.representative(vae.encode(_inputs(vae, x, labels))),
        labels,
        f"{name}: posterior means of {whose}",
    )
    return found


def _some(labels: np.ndarray | None, rows: Any) -> np.ndarray | None:
    return None if labels is None else labels[rows]


def _is_unit_normal(vae: VAE) -> bool:
    """Whether the prior is the one whose plane `plots.manifold` draws."""
    given = vae.prior.given if isinstance(vae.prior, DistributionPrior) else None
    if not (isinstance(given, tfd.Independent) and isinstance(given.distribution, tfd.Normal)):
        return False
    return bool(tf.reduce_all(given.mean() == 0) and tf.reduce_all(given.stddev() == 1))


def _inputs(vae: VAE, x: np.ndarray, labels: np.ndarray | None) -> Any:
    """x as the model takes it, with the labels if it is conditioned on them."""
    if not vae.wiring.conditions:
        return x
    assert labels is not None
    return {"x": x, "label": labels.astype(np.int32)}


def _warm_up_and_cosine(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    warm_up = max(1, min(1000, steps // 10))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )
