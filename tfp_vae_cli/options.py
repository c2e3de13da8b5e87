"""The options of each command, one field an option: name, type, default, values and help.

The command line, YAML files, the help, `tfp_vae.app` and `tfp_vae.recipes.Setting` read these
classes. A new option is one more field, and what makes use of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from tfp_vae_cli import kinds
from tfp_vae_cli.fields import option, options_of
from tfp_vae_cli.names import LIKELIHOODS, OBJECTIVES, RECIPES

Binarize = Literal["dynamic", "fixed", "none"]
Body = Literal["mlp", "conv"]
_SEED = kinds.whole(0, "1", 2**32 - 1)
_RUN = kinds.text("the folder of a run, as train writes it", "runs/digits-1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data of a run, and what follows from the data where nothing is said."""

    data: str = option(
        kinds.text("digits, the name of a TensorFlow data set, or a file", "mnist"),
        "digits, a TensorFlow data set such as mnist, or a .npy or .npz file of images, real "
        "vectors or counts.",
        "digits",
    )
    recipe: str = option(
        kinds.choice("a recipe, one of", RECIPES, "beta_vae"),
        "a published model, by its name in docs/variants.md.",
        "vae",
    )
    likelihood: str | None = option(
        kinds.choice("a likelihood, one of", LIKELIHOODS, "normal"),
        f"{', '.join(LIKELIHOODS[:-1])} or {LIKELIHOODS[-1]}; default: the recipe's, else "
        "bernoulli for images that are binarized, shared_normal for others, student_t for reals "
        "that are standardized, normal for others, negative_binomial for counts.",
        None,
    )
    conditional: bool = option(
        kinds.flag(),
        "condition encoder and decoder on the labels of the data, integers from 0.",
        False,
    )
    binarize: Binarize | None = option(
        kinds.choice("one of", get_args(Binarize), "none"),
        "pixels drawn as 0 or 1 afresh each epoch (dynamic), once (fixed), or left as they are "
        "(none); default: dynamic for grey digits and nearly black and white images.",
        None,
    )
    standardize: bool | None = option(
        kinds.flag(),
        "bring real columns to mean 0 and standard deviation 1 inside the model; default: where "
        "they are of another scale.",
        None,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The networks of a model; `tfp_vae.recipes.Setting` has these fields too."""

    latent_size: int = option(
        kinds.whole(1, "16"),
        "dimensions of z; 2 adds a picture of the latent plane of a unit normal prior.",
        50,
    )
    body: Body = option(
        kinds.choice("one of", get_args(Body), "conv"),
        "a multilayer perceptron or a convolutional network.",
        "mlp",
    )
    widths: Sequence[int] = option(
        kinds.wholes("'[400, 400]'"),
        "units of the encoder's hidden layers, or channels; the decoder has them reversed.",
        (400, 400),
    )
    activation: str = option(
        kinds.text("the name of a Keras activation", "relu"),
        "the name of a Keras activation.",
        "silu",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(NetworkOptions, DataOptions):
    """All options that make a run what it is: those in its `config.yaml`."""

    objective: dict[str, Any] | None = option(
        kinds.objective(OBJECTIVES, "IWAE"),
        "default: the recipe's, with other arguments if given, --objective.beta 4; or one of "
        "tfp_vae.objectives, --objective IWAE --objective.num_samples 5. --objective.help IWAE "
        "lists its arguments.",
        None,
    )
    epochs: int | None = option(
        kinds.whole(1, "20"),
        "default: 36, or as many as make 3,000 steps, but 300 at most.",
        None,
    )
    batch_size: int = option(kinds.whole(1, "128"), "images in a step.", 128)
    learning_rate: float = option(
        kinds.positive("0.001"), "Adam's, after a warm-up and before a cosine decay to 0.", 2e-3
    )
    seed: int = option(_SEED, "of weights, order and draws.", 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """The options of `tfp-vae train`: those of a run, and where the run is."""

    out: str | None = option(
        kinds.text("the name of a new folder", "runs/first"),
        "the folder; default: runs/DATA-1, -2, ...",
        None,
    )
    resume: str | None = option(
        kinds.text("the folder of a run", "runs/digits-1"),
        "the folder of a run to go on with, by its own configuration; --epochs may extend it.",
        None,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `tfp-vae evaluate`."""

    run: str = option(_RUN, "the folder that train wrote.")
    num_samples: int = option(
        kinds.whole(1, "500"), "draws of z for each example, for the log-likelihood.", 500
    )
    examples: int | None = option(
        kinds.whole(1, "1000"),
        "how many test examples all numbers are of, drawn at random, the same each time; null: "
        "all.",
        1000,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of `tfp-vae sample`."""

    run: str = option(_RUN, "the folder that train wrote.")
    num: int = option(kinds.whole(1, "64"), "how many.", 64)
    draw: bool | None = option(
        kinds.flag(),
        "true draws x from p(x|z), false takes its mean; default: draws of counts, means of images "
        "and reals.",
        None,
    )
    out: str = option(
        kinds.text("the name of a .png or .npy file", "samples.png"),
        "a .png for a picture, or .npy for the numbers.",
        "samples.png",
    )
    seed: int = option(_SEED, "the same seed, the same images.", 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """The options of `tfp-vae export`."""

    run: str = option(_RUN, "the folder that train wrote.")
    out: str = option(kinds.text("the folder to write", "saved_model"), "the folder to write.")


class Command(NamedTuple):
    """A subcommand: its options, and what it does."""

    options: type
    does: str


COMMANDS = {
    "train": Command(
        TrainOptions, "Train a variational autoencoder: with no options, on real 8x8 digits."
    ),
    "evaluate": Command(
        EvaluateOptions, "Print the test ELBO and importance-weighted log-likelihood of a run."
    ),
    "sample": Command(
        SampleOptions, "Draw new images from a run's model: from p(x|z) at z from the prior."
    ),
    "export": Command(
        ExportOptions, "Write a run's model as a SavedModel that TensorFlow alone serves."
    ),
}
OPTIONS = {name: options_of(command.options) for name, command in COMMANDS.items()}
