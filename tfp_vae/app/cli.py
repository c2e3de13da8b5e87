"""The `tfp-vae` command's subcommands: typed functions whose arguments become options."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from tfp_vae import plots
from tfp_vae.app.runs import Run
from tfp_vae.app.training import Training, assess, drawn
from tfp_vae.app.writing import replacing
from tfp_vae.callbacks import say
from tfp_vae.data import Binarize, binarized, load
from tfp_vae.errors import InputError
from tfp_vae.evaluation.estimates import EXAMPLES
from tfp_vae.model.export.saved_model import endpoints
from tfp_vae.networks import Body
from tfp_vae.objectives.from_options import Chosen, class_named
from tfp_vae.recipes.base import find, likelihood_named
from tfp_vae.steps.interrupt import Interrupted
from tfp_vae_cli import COMMANDS
from tfp_vae_cli.called import beside, called
from tfp_vae_cli.reading import Given


def train(
    data: str = "digits",
    recipe: str = "vae",
    likelihood: str | None = None,
    conditional: bool = False,
    binarize: Binarize | None = None,
    standardize: bool | None = None,
    latent_size: PositiveInt = 50,
    body: Body = "mlp",
    widths: list[PositiveInt] = [400, 400],  # noqa: B006  (jsonargparse shows it as the default)
    activation: str = "silu",
    objective: dict[str, Any] | None = None,
    epochs: PositiveInt | None = None,
    batch_size: PositiveInt = 128,
    learning_rate: PositiveFloat = 2e-3,
    seed: NonNegativeInt = 0,
    out: str | None = None,
    resume: str | None = None,
) -> int:
    """Trains a variational autoencoder and leaves a folder with all there is to know about it.

    Args:
        data: digits, a TensorFlow data set such as mnist, or a .npy or .npz file of images, real
            vectors or counts.
        recipe: a published model, by its name in docs/variants.md.
        likelihood: bernoulli, continuous_bernoulli, normal, shared_normal, logistic, laplace,
            student_t, poisson, negative_binomial or zero_inflated_negative_binomial; default: the
            recipe's, else bernoulli for images that are binarized, shared_normal for others,
            student_t for reals that are standardized, normal for others, negative_binomial for
            counts.
        conditional: condition encoder and decoder on the labels of the data, integers from 0.
        binarize: pixels drawn as 0 or 1 afresh each epoch (dynamic), once (fixed), or left as they
            are (none); default: dynamic for grey digits and nearly black and white images.
        standardize: bring real columns to mean 0 and standard deviation 1 inside the model;
            default: where they are of another scale.
        latent_size: dimensions of z; 2 adds a picture of the latent plane of a unit normal prior.
        body: a multilayer perceptron or a convolutional network.
        widths: units of the encoder's hidden layers, or channels; the decoder has them reversed.
        activation: the name of a Keras activation.
        objective: default: the recipe's, with other arguments if given, --objective.beta 4; or one
            of tfp_vae.objectives, --objective IWAE --objective.num_samples 5. --objective.help IWAE
            lists its arguments.
        epochs: default: 36, or as many as make 3,000 steps, but 300 at most.
        batch_size: images in a step.
        learning_rate: Adam's, after a warm-up and before a cosine decay to 0.
        seed: of weights, order and draws.
        out: the folder; default: runs/DATA-1, -2, ...
        resume: the folder of a run to go on with, by its own configuration; --epochs may extend it.
    """
    chosen = None if objective is None else Chosen(objective)
    config = {
        "data": data,
        "recipe": recipe,
        "likelihood": likelihood,
        "conditional": conditional,
        "binarize": binarize,
        "standardize": standardize,
        "latent_size": latent_size,
        "body": body,
        "widths": list(widths),
        "activation": activation,
        "objective": None if chosen is None else chosen.config(),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    config = json.loads(json.dumps(config))  # jsonargparse's PositiveInt is no int to YAML
    if resume:
        folder = Run.open(resume, with_model=False)
        before = folder.read_config()
        changed = [key for key in before if key != "epochs" and config.get(key) != before[key]]
        if changed:
            raise InputError("--resume goes on by the run's own options, --epochs aside.", changed)
    else:
        _check_activation(activation)
        find(recipe)
        likelihood_named(likelihood)
        folder = Run(out) if out else Run.next(f"runs/{Path(data).stem.replace('/', '-')}")
        folder.must_be_new()
    with folder.locked():
        if not resume:
            folder.must_be_new()  # another process may have begun one meanwhile
        return _run_training(Training(folder, config, chosen), folder, config)


def evaluate(
    run: str, num_samples: PositiveInt = 500, examples: PositiveInt | None = EXAMPLES
) -> int:
    """Prints the test ELBO and the importance-weighted log-likelihood of a run's model.

    Args:
        run: the folder that train wrote.
        num_samples: draws of z for each example, for the log-likelihood.
        examples: how many test examples all numbers are of, drawn at random, the same each time;
            null: all.
    """
    folder = Run.open(run)
    vae, config = folder.load_model(), folder.read_config()
    images = load(config["data"])
    x_test = binarized(images.test, config["binarize"])
    text, _ = assess(
        vae, images, x_test, config["binarize"], num_samples=num_samples, examples=examples
    )
    print(text)
    return 0


def sample(
    run: str,
    num: PositiveInt = 64,
    draw: bool | None = None,
    out: str = "samples.png",
    seed: NonNegativeInt = 0,
) -> int:
    """Draws new images from a run's model: of p(x|z) at z drawn from the prior, means or draws.

    Args:
        run: the folder that train wrote.
        num: how many.
        draw: true draws x from p(x|z), false takes its mean; default: draws of counts, means of
            images and reals.
        out: a .png for a picture, or .npy for the numbers.
        seed: the same seed, the same images.
    """
    folder = Run.open(run)
    recipe = find(folder.read_config().get("recipe", "vae"))
    if recipe.prior_after is not None and not folder.fitted.is_file():
        raise InputError(
            f"The prior of a {recipe.title} is fitted when its training is complete: expected a "
            f"run that is ({called()} train --resume {shlex.quote(run)}).",
            "one without fitted.keras",
        )
    images = drawn(folder.load_model(), num, seed, draw)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    if out.endswith(".npy"):
        with replacing(Path(out)) as new:
            np.save(new, images)
    elif not plots.can_show(images.shape[1:]):
        raise InputError("These are no pictures: expected --out to end in .npy.", out)
    else:
        figure = plots.image_grid(images, max(8, round(num**0.5)), f"{num} samples from {run}")
        with replacing(Path(out)) as new:
            figure.savefig(new, dpi=120)
    print(f"{num} samples: {out}")
    return 0


def export(run: str, out: str) -> int:
    """Writes a run's model as a SavedModel that TensorFlow alone serves.

    Args:
        run: the folder that train wrote.
        out: the folder to write.
    """
    vae = Run.open(run).load_model()
    vae.export(out)
    print(f"SavedModel with {', '.join(endpoints(vae))}: {out}")
    print(f"load it with: tf.saved_model.load({out!r}).serve(x)")
    return 0


def run(command: str, given: Given) -> int:
    """Runs a command; what goes wrong is raised."""
    parser = _parser(command)
    for ask in given.asks:
        if ask.startswith("--objective.help"):
            return _explain(ask.partition("=")[2], given)
    options = vars(parser.parse_args([*given.words(), *given.asks]))
    options.pop("config", None)
    return _COMMANDS[command](**options)


def _explain(name: str, given: Given) -> int:
    """Lists what an objective takes."""
    named = name or (given.options.get("objective") or {}).get("class_path") or "ELBO"
    parser = ArgumentParser(prog=f"--objective {named}", add_help=False)
    parser.add_class_arguments(class_named(named), "objective")
    parser.print_help()
    return 0


def _run_training(training: Training, folder: Run, config: dict[str, Any]) -> int:
    """Trains, and says what came of it."""
    path = shlex.quote(str(folder.path))
    folder.write_config({**config, "epochs": training.epochs, **training.decided})
    say(
        f"{training.images.name}: {len(training.images.train)} {_what(training)} of "
        f"{training.images.shape}, "
        f"{training.vae.count_params():,} parameters, {training.epochs} epochs of {training.steps} "
        f"steps, to {folder.path}"
    )
    for note in training.notes:
        say(note)
    try:
        keep = training.fit()
        report = training.report() if keep.failed_at is None else ""
    except (InputError, tf.errors.OpError, MemoryError):  # of an objective or a body of this size
        folder.discard()
        raise
    except KeyboardInterrupt as error:
        if isinstance(error, Interrupted):  # else one came twice, at a moment that is no good one
            folder.save_model(training.vae)
            where = f" at step {training.step}. The model so far is {folder.model}"
        else:
            where = ""
        print(
            f"\nInterrupted{where}; go on with: {called()} train --resume {path}", file=sys.stderr
        )
        raise
    if keep.failed_at is not None:
        print(
            f"\ntfp-vae: error: the loss was no longer finite in epoch {keep.failed_at}. "
            f"{'The untrained model' if keep.failed_at == 1 else 'The model of the epoch before'} "
            f"is {folder.model}. A lower --learning_rate usually helps.",
            file=sys.stderr,
        )
        return 1
    say(report)
    samples = "png" if plots.can_show(training.images.shape) else "npy"
    say(
        f"model, config, metrics, TensorBoard logs and figures: {folder.path}\n"
        f"next: {called()} sample {path} --num 64 --out samples.{samples}\n"
        f"      {called()} export {path} saved_model/\n"
        f"      {beside('tensorboard')} --logdir {shlex.quote(str(folder.logs))}"
    )
    return 0


def _what(training: Training) -> str:
    return "images" if training.images.kind == "images" else "vectors"


_COMMANDS: dict[str, Callable[..., int]] = {
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "export": export,
}


class _Parser(ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        del ex
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)

    def format_help(self, *args: Any) -> str:
        """Without Python's names of types: the words and the defaults say it."""
        text = re.sub(r"\(type:\s[^()]*?,\s+default:\s", "(default: ", super().format_help(*args))
        return re.sub(r",\s+type: [^()]*\)", ")", text).replace(", --widths+ [ITEM,...]", "")


def _parser(command: str) -> ArgumentParser:
    parser = _Parser(prog=f"tfp-vae {command}", description=COMMANDS[command])
    parser.add_argument("--config", action="config", help="a YAML file of these options.")
    parser.add_function_arguments(_COMMANDS[command], as_positional=True, fail_untyped=True)
    return parser


def _check_activation(name: str) -> None:
    try:
        keras.activations.get(name)
    except ValueError as error:
        raise InputError(
            "Expected --activation to be the name of a Keras activation.", name
        ) from error
