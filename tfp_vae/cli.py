"""The `tfp-vae` command's subcommands: typed functions whose arguments become options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from tfp_vae import objectives, plots
from tfp_vae.data import Binarize, binarized, load
from tfp_vae.errors import InputError
from tfp_vae.evaluate import EXAMPLES
from tfp_vae.export import endpoints
from tfp_vae.networks import Body
from tfp_vae.objectives import Objective
from tfp_vae.recipe import find, likelihood_named
from tfp_vae.runs import Run
from tfp_vae.training import Training, assess, drawn
from tfp_vae_cli import COMMANDS


def train(
    data: str = "digits",
    recipe: str = "vae",
    likelihood: str | None = None,
    conditional: bool = False,
    binarize: Binarize = "dynamic",
    latent_size: PositiveInt = 50,
    body: Body = "mlp",
    widths: list[PositiveInt] = [400, 400],  # noqa: B006  (jsonargparse shows it as the default)
    activation: str = "silu",
    objective: Objective | None = None,
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
            recipe's, else bernoulli for images, normal for reals, negative_binomial for counts.
        conditional: condition encoder and decoder on the labels of the data, integers from 0.
        binarize: pixels drawn afresh each epoch (dynamic), once (fixed), or left grey (none).
        latent_size: dimensions of z; 2 adds a picture of the latent plane of a unit normal prior.
        body: a multilayer perceptron or a convolutional network.
        widths: units of the encoder's hidden layers, or channels; the decoder has them reversed.
        activation: the name of a Keras activation.
        objective: default: the recipe's; or one of tfp_vae.objectives, with its arguments:
            --objective IWAE --objective.num_samples 5.
        epochs: default: 36, or as many as make 3,000 steps.
        batch_size: images in a step.
        learning_rate: Adam's, after a warm-up and before a cosine decay to 0.
        seed: of weights, order and draws.
        out: the folder; default: runs/DATA-1, -2, ...
        resume: the folder of a run to go on with, by its own configuration; --epochs may extend it.
    """
    config = {
        "data": data,
        "recipe": recipe,
        "likelihood": likelihood,
        "conditional": conditional,
        "binarize": binarize,
        "latent_size": latent_size,
        "body": body,
        "widths": list(widths),
        "activation": activation,
        "objective": _as_config(objective),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    config = json.loads(json.dumps(config))  # jsonargparse's PositiveInt is no int to YAML
    if seed >= 2**32:
        raise InputError("Expected --seed below 2**32.", seed)
    if resume:
        folder = Run.open(resume)
        before = folder.read_config()
        changed = [key for key in before if key != "epochs" and config.get(key) != before[key]]
        if changed:
            raise InputError("--resume goes on by the run's own options, --epochs aside.", changed)
    else:
        _check_activation(activation)
        find(recipe)
        likelihood_named(likelihood)
        folder = Run(out or _next_folder(data))
        folder.must_be_new()
    return _run_training(Training(folder, config, objective), folder, config)


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
    run: str, num: PositiveInt = 64, out: str = "samples.png", seed: NonNegativeInt = 0
) -> int:
    """Draws new images from a run's model: the means of p(x|z) at z drawn from the prior.

    Args:
        run: the folder that train wrote.
        num: how many.
        out: a .png for a picture, or .npy for the numbers.
        seed: the same seed, the same images.
    """
    if not out.endswith((".png", ".npy")):
        raise InputError("Expected --out to end in .png or .npy.", out)
    folder = Run.open(run)
    recipe = find(folder.read_config().get("recipe", "vae"))
    if recipe.prior_after is not None and not folder.fitted.is_file():
        raise InputError(
            f"The prior of a {recipe.title} is fitted when its training is complete: expected a "
            f"run that is (tfp-vae train --resume {run}).",
            "one without fitted.keras",
        )
    images = drawn(folder.load_model(), num, seed)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    if out.endswith(".npy"):
        np.save(out, images)
    elif not plots.can_show(images.shape[1:]):
        raise InputError("These are no pictures: expected --out to end in .npy.", out)
    else:
        figure = plots.image_grid(images, max(8, round(num**0.5)), f"{num} samples from {run}")
        figure.savefig(out, dpi=120)
    print(f"{num} samples: {out}")
    return 0


def export(run: str, out: str) -> int:
    """Writes a run's model as a SavedModel that TensorFlow alone serves.

    Args:
        run: the folder that train wrote.
        out: the folder to write.
    """
    if Path(out).exists() and not (Path(out).is_dir() and _is_free(Path(out))):
        raise InputError("Expected a new or empty folder, or a SavedModel to write anew.", out)
    vae = Run.open(run).load_model()
    vae.export(out)
    print(f"SavedModel with {', '.join(endpoints(vae))}: {out}")
    print(f"load it with: tf.saved_model.load({out!r}).serve(x)")
    return 0


def run(arguments: list[str]) -> int:
    """Runs `tfp-vae ARGUMENTS`; input that a person can mend is one line and exit code 2."""
    command = arguments[0]
    parser = _parser(command)
    try:
        options = parser.parse_args(_with_resumed_config(arguments[1:]))
        try:
            given = vars(parser.instantiate(options))
        except ValueError as error:  # an objective's or a schedule's own refusal
            raise InputError(str(error)) from error
        given.pop("config")
        return _COMMANDS[command](**given)
    except (InputError, OSError) as error:
        print(f"tfp-vae {command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"tfp-vae {command}: interrupted", file=sys.stderr)
        return 130


def _run_training(training: Training, folder: Run, config: dict[str, Any]) -> int:
    """Trains, and says what came of it."""
    folder.write_config({**config, "epochs": training.epochs})
    print(
        f"{training.images.name}: {len(training.images.train)} {_what(training)} of "
        f"{training.images.shape}, "
        f"{training.vae.count_params():,} parameters, {training.epochs} epochs of {training.steps} "
        f"steps, to {folder.path}"
    )
    try:
        keep = training.fit()
        report = training.report() if keep.failed_at is None else ""
    except InputError:  # of an objective that cannot take this model
        folder.discard()
        raise
    except KeyboardInterrupt:
        folder.save_model(training.vae)
        print(
            f"\nInterrupted at step {training.step}. The model so far is {folder.model}; "
            f"go on with: tfp-vae train --resume {folder.path}",
            file=sys.stderr,
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
    print(report)
    samples = "png" if plots.can_show(training.images.shape) else "npy"
    print(
        f"model, config, metrics, TensorBoard logs and figures: {folder.path}\n"
        f"next: tfp-vae sample {folder.path} --num 64 --out samples.{samples}\n"
        f"      tfp-vae export {folder.path} saved_model/\n"
        f"      tensorboard --logdir {folder.logs}"
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
        if '"objective"' in message:
            message += f". Known objectives: {', '.join(k.__name__ for k in _objectives())}"
        print(f"{self.prog}: error: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)


def _objectives() -> list[type[Objective]]:
    known = [getattr(objectives, name) for name in objectives.__all__]
    return [k for k in known if issubclass(k, Objective) and k is not Objective]


def _parser(command: str) -> ArgumentParser:
    parser = _Parser(prog=f"tfp-vae {command}", description=COMMANDS[command])
    parser.add_argument("--config", action="config", help="a YAML file of these options.")
    parser.add_function_arguments(_COMMANDS[command], as_positional=True, fail_untyped=True)
    return parser


def _with_resumed_config(arguments: list[str]) -> list[str]:
    """For `--resume RUN`: the run's configuration first, so that the options given override it."""
    for i, argument in enumerate(arguments):
        if argument == "--resume" and i + 1 < len(arguments):
            return ["--config", str(Run.open(arguments[i + 1]).config), *arguments]
        if argument.startswith("--resume="):
            return ["--config", str(Run.open(argument.partition("=")[2]).config), *arguments]
    return arguments


def _as_config(value: Any) -> Any:
    """An objective or a schedule, or a list of these, in the form that `--config` reads."""
    if isinstance(value, (list, tuple)):
        return [_as_config(each) for each in value]
    if not hasattr(value, "get_config"):
        return value
    arguments = {key: _as_config(getattr(value, key)) for key in value.get_config()}
    return {
        "class_path": f"{type(value).__module__}.{type(value).__name__}",
        "init_args": {key: entry for key, entry in arguments.items() if key != "name"},
    }


def _check_activation(name: str) -> None:
    try:
        keras.activations.get(name)
    except ValueError as error:
        raise InputError(
            "Expected --activation to be the name of a Keras activation.", name
        ) from error


def _is_free(folder: Path) -> bool:
    return (folder / "saved_model.pb").exists() or not any(folder.iterdir())


def _next_folder(name: str) -> str:
    stem = Path(name).stem.replace("/", "-")
    number = 1
    while Path(f"runs/{stem}-{number}").exists():
        number += 1
    return f"runs/{stem}-{number}"
