"""One training run from data to figures: what `tfp-vae train` does."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae import data, evaluate, layers, networks, plots
from tfp_vae.callbacks import FixedEvaluation, KeepGood, ProgressBar
from tfp_vae.errors import InputError
from tfp_vae.objectives import Objective
from tfp_vae.runs import Run
from tfp_vae.vae import VAE


class Training:
    """A run in progress: its data, its model, and how far it has come.

    Args:
      run: the run's folder.
      options: the options of `tfp_vae.cli.train`, without `out` and `resume`.
      objective: the objective that the options name.

    Raises:
      InputError: no such data, or nothing is left to do.
    """

    def __init__(self, run: Run, options: dict[str, Any], objective: Objective | None) -> None:
        self.run = run
        self.binarize: data.Binarize = options["binarize"]
        self.seed: int = options["seed"]
        self.images = data.load(options["data"])
        self.x_test = data.binarized(self.images.test, self.binarize)
        count = len(self.images.train)
        self.batch_size = min(options["batch_size"], count)
        self.steps = count // self.batch_size
        self.epochs: int = options["epochs"] or max(30, math.ceil(3000 / self.steps))
        self.learning_rate = _warm_up_and_cosine(options["learning_rate"], self.steps * self.epochs)
        if run.model.is_file():
            self.vae = run.load_model()
            self.vae.optimizer.learning_rate = self.learning_rate
        else:
            keras.utils.set_random_seed(self.seed)
            self.vae = _build(self.images.shape, options, objective)
            per_execution = max(n for n in range(1, 41) if self.steps % n == 0)
            optimizer = keras.optimizers.Adam(self.learning_rate)
            self.vae.compile(optimizer, steps_per_execution=per_execution)

        if self.step >= self.steps * self.epochs:
            raise InputError(
                f"The run is complete at epoch {self.step // self.steps}: expected more --epochs.",
                self.epochs,
            )

    @property
    def step(self) -> int:
        """Training steps done so far."""
        return int(self.vae.optimizer.iterations)

    def fit(self) -> KeepGood:
        """Trains from where the model stands to the last epoch; saves it as it goes."""
        done = self.step
        keep, evaluation = KeepGood(self.run.save_model), FixedEvaluation()
        callbacks = [
            evaluation,
            keep,
            ProgressBar(self.steps * self.epochs, done),
            keras.callbacks.CSVLogger(self.run.history, append=True),
            keras.callbacks.TensorBoard(self.run.logs, write_graph=False),
        ]
        epoch, begun = divmod(done, self.steps)
        self.run.forget_from(epoch)
        stretches = [(epoch, self.epochs, self.steps)]
        if begun:  # a run that was interrupted first finishes its epoch
            stretches = [
                (epoch, epoch + 1, self.steps - begun),
                (epoch + 1, self.epochs, self.steps),
            ]
        try:
            for first, last, steps in stretches:
                if keep.failed_at is None and first < last:
                    self._fit(first, last, steps, callbacks)
        finally:
            evaluation.restore()
        return keep

    def _fit(self, first: int, last: int, steps: int, callbacks: list[Any]) -> None:
        train = self.images.train
        self.vae.fit(
            data.batches(train, self.batch_size, self.binarize, self.seed, self.step),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            shuffle=False,
            validation_data=tf.data.Dataset.from_tensor_slices(self.x_test).batch(500),
            callbacks=callbacks,
            verbose=0,
        )

    def report(self) -> str:
        """Evaluates, draws the figures, and returns the table; both are in the folder too."""
        text, results = assess(self.vae, self.images, self.x_test)
        self.run.write_results({"steps": self.step, **results})
        self.draw()
        return text

    def draw(self) -> None:
        """Writes the figures."""
        vae, x = self.vae, self.x_test
        name, figures = self.images.name, {}
        shown = x[:10]
        figures["reconstructions"] = plots.reconstructions(
            shown, vae.reconstruct(shown), f"{name}: test images, reconstructed"
        )
        figures["samples"] = plots.image_grid(
            vae.sample(64, seed=self.seed), 8, f"{name}: drawn from the prior, E[x|z]"
        )
        z, labels = vae.encode(x[:5000]).mean(), self.images.test_labels
        figures["latent_space"] = plots.latent_space(
            z, None if labels is None else labels[:5000], f"{name}: posterior means of the test set"
        )
        if z.shape[1:] == [2]:
            figures["manifold"] = plots.manifold(vae)
        for key, figure in figures.items():
            figure.savefig(self.run.figures / f"{key}.png", dpi=120)


def assess(
    vae: VAE, images: data.Examples, x_test: np.ndarray, **kwargs: Any
) -> tuple[str, dict[str, float]]:
    """The table for people, and what it holds as numbers."""
    results = evaluate.evaluate(vae, x_test, **kwargs)
    binary = bool(np.isin(x_test, (0, 1)).all())  # the baseline is a Bernoulli's
    baseline = evaluate.independent_pixels(images.train, x_test) if binary else None
    if baseline is not None:
        results["independent_pixels"] = baseline
    return evaluate.table(results, baseline), results


def _build(shape: tuple[int, ...], options: dict[str, Any], objective: Objective | None) -> VAE:
    body = {key: options[key] for key in ("body", "widths", "activation")}
    likelihood = layers.IndependentBernoulli(shape)
    return VAE(
        networks.encoder(shape, options["latent_size"], **body),
        networks.decoder(options["latent_size"], likelihood, **body),
        objective=objective,
    )


def _warm_up_and_cosine(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    warm_up = max(1, min(1000, steps // 10))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )
