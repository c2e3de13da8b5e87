"""`tfp-vae train`: from its options to what it says."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import keras
import tensorflow as tf

from tfp_vae import plots
from tfp_vae.app.reporting import finish
from tfp_vae.app.runs import Run
from tfp_vae.app.training import Training
from tfp_vae.callbacks import say
from tfp_vae.errors import InputError
from tfp_vae.objectives.from_options import Chosen
from tfp_vae.recipes.base import find, likelihood_named
from tfp_vae.steps.interrupt import Interrupted
from tfp_vae_cli.called import beside, called
from tfp_vae_cli.fields import plain
from tfp_vae_cli.options import RunOptions, TrainOptions

_CALLED = {"images": "images", "series": "series", "tokens": "sequences of tokens"}
_SAMPLES = {"series": "png", "tokens": "txt"}


def train(options: TrainOptions) -> int:
    """Trains a model and leaves a folder with all there is to know about it."""
    chosen = None if options.objective is None else Chosen(options.objective)
    options = dataclasses.replace(options, objective=None if chosen is None else chosen.config())
    folder = _resumed(options) if options.resume else _begun(options)
    with folder.locked():
        if not options.resume:
            folder.must_be_new()  # another process may have begun one meanwhile
        training = Training(folder, options, chosen)
        config = plain(options, RunOptions)
        folder.write_config({**config, "epochs": training.epochs, **training.decided})
        folder.write_words(training.images.vocabulary)
        return _run(training)


def _resumed(options: TrainOptions) -> Run:
    """Opens the run to go on with.

    Raises:
      InputError: the options are others than those of the run.
    """
    assert options.resume is not None
    folder = Run.open(options.resume, with_model=False)
    before, now = folder.read_config(), plain(options, RunOptions)
    changed = [key for key in before if key != "epochs" and now.get(key) != before[key]]
    if changed:
        raise InputError("--resume goes on by the run's own options, --epochs aside.", changed)
    return folder


def _begun(options: TrainOptions) -> Run:
    """Chooses the folder of a new run, once its options are checked."""
    try:
        keras.activations.get(options.activation)
    except ValueError as error:
        what = "Expected --activation to be the name of a Keras activation."
        raise InputError(what, options.activation) from error
    find(options.recipe)
    likelihood_named(options.likelihood)
    stem = Path(options.data).stem.replace("/", "-")
    folder = Run(options.out) if options.out else Run.next(f"runs/{stem}")
    folder.must_be_new()
    return folder


def _run(training: Training) -> int:
    """Trains, and says what came of it."""
    _say_what_begins(training)
    try:
        failed_at = training.fit().failed_at
        report = finish(training) if failed_at is None else ""
    except (InputError, tf.errors.OpError, MemoryError):  # of an objective or a body of this size
        training.run.discard()
        raise
    except KeyboardInterrupt as error:
        _say_how_to_go_on(training, error)
        raise
    if failed_at is not None:
        which = "The untrained model" if failed_at == 1 else "The model of the epoch before"
        print(
            f"\ntfp-vae: error: the loss was no longer finite in epoch {failed_at}. {which} is "
            f"{training.run.model}. A lower --learning_rate usually helps.",
            file=sys.stderr,
        )
        return 1
    say(report)
    _say_what_comes_next(training)
    return 0


def _say_what_begins(training: Training) -> None:
    images = training.images
    what = _CALLED.get(images.kind, "vectors")
    say(
        f"{images.name}: {len(images.train)} {what} of {images.shape}, "
        f"{training.vae.count_params():,} parameters, {training.epochs} epochs of {training.steps} "
        f"steps, to {training.run.path}"
    )
    for note in training.notes:
        say(note)


def _say_how_to_go_on(training: Training, error: KeyboardInterrupt) -> None:
    where = ""
    if isinstance(error, Interrupted):  # else a second signal came, between no two steps
        training.save(training.vae)
        where = f" at step {training.step}. The model so far is {training.run.model}"
    path = shlex.quote(str(training.run.path))
    print(f"\nInterrupted{where}; go on with: {called()} train --resume {path}", file=sys.stderr)


def _say_what_comes_next(training: Training) -> None:
    run, path = training.run, shlex.quote(str(training.run.path))
    samples = "png" if plots.can_show(training.images.shape) else "npy"
    if training.images.kind in _SAMPLES:
        samples = _SAMPLES[training.images.kind]
    say(
        f"model, config, metrics, TensorBoard logs and figures: {run.path}\n"
        f"next: {called()} sample {path} --num 64 --out samples.{samples}\n"
        f"      {called()} export {path} saved_model/\n"
        f"      {beside('tensorboard')} --logdir {shlex.quote(str(run.logs))}"
    )
