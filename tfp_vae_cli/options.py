"""The options of each command, one field an option: name, type, default, example and help.

The command line, YAML files, the help, `tfp_vae.app` and `tfp_vae.recipes.Setting` read these
classes. A new option is one more field, and what makes use of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tfp_vae_cli.fields import REQUIRED, option, options_of
from tfp_vae_cli.names import LIKELIHOODS, OBJECTIVES, RECIPES

Binarize = Literal["dynamic", "fixed", "none"]
_SEEDS = {"least": 0, "most": 2**32 - 1}


# fmt: off
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data of a run, and what follows from the data where nothing is said."""

    data: str = option(
        "digits", "mnist", "digits, a TensorFlow data set such as mnist, a .npy or .npz file of "
        "images, real vectors, counts, series or tokens, or a .txt file of a sentence a line.",
        "digits, the name of a TensorFlow data set, or a file")
    recipe: str = option(
        "vae", "beta_vae", "a published model, by its name in docs/variants.md.",
        "a recipe, one of", RECIPES)
    likelihood: str | None = option(
        None, "normal", f"{', '.join(LIKELIHOODS[:-1])} or {LIKELIHOODS[-1]}; default: the "
        "recipe's, else bernoulli for images that are binarized, shared_normal for others, "
        "student_t for reals that are standardized, normal for others, negative_binomial for "
        "counts.", "a likelihood, one of", LIKELIHOODS)
    conditional: bool = option(
        False, "true", "condition encoder and decoder on the labels of the data, integers from 0.")
    labelled: int | None = option(
        None, "100", "how many training labels are known to a recipe that learns from labels, such "
        "as m2, as many of each; default: all.")
    binarize: Binarize | None = option(
        None, "none", "pixels drawn as 0 or 1 afresh each epoch (dynamic), once (fixed), or left "
        "as they are (none); default: dynamic for grey digits and nearly black and white images.")
    standardize: bool | None = option(
        None, "true", "bring real columns to mean 0 and standard deviation 1 inside the model; "
        "default: where they are of another scale.")
    length: int | None = option(
        None, "40", "the most steps of a series or a sentence, whose rest is cut off; default: as "
        "many as the longest has.")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """The networks of a model; `tfp_vae.recipes.Setting` has these fields too."""

    latent_size: int = option(
        50, "16", "dimensions of z; 2 adds a picture of the latent plane of a unit normal prior.")
    body: Literal["mlp", "conv"] = option(
        "mlp", "conv", "a multilayer perceptron or a convolutional network.")
    widths: Sequence[int] = option(
        (400, 400), "'[400, 400]'", "units of the encoder's hidden layers, or channels; the "
        "decoder has them reversed.")
    activation: str = option(
        "silu", "relu", "the name of a Keras activation.", "the name of a Keras activation")


@dataclass(frozen=True, kw_only=True)
class RunOptions(NetworkOptions, DataOptions):
    """All options that make a run what it is: those in its `config.yaml`."""

    objective: dict[str, Any] | None = option(
        None, "IWAE", "default: the recipe's, with other arguments if given, --objective.beta 4; "
        "or one of tfp_vae.objectives, --objective IWAE --objective.num_samples 5. "
        "--objective.help IWAE lists its arguments.", names=OBJECTIVES)
    epochs: int | None = option(
        None, "20", "default: 36, or as many as make 3,000 steps, but 300 at most.")
    batch_size: int = option(128, "128", "images in a step.")
    learning_rate: float = option(
        2e-3, "0.001", "Adam's, after a warm-up and before a cosine decay to 0.")
    seed: int = option(0, "1", "of weights, order and draws.", **_SEEDS)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """The options of `tfp-vae train`: those of a run, and where the run is."""

    out: str | None = option(
        None, "runs/first", "the folder; default: runs/DATA-1, -2, ...",
        "the name of a new folder")
    resume: str | None = option(
        None, "runs/digits-1", "the folder of a run to go on with, by its own configuration; "
        "--epochs may extend it.", "the folder of a run")


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """The run that a command is about."""

    run: str = option(
        REQUIRED, "runs/digits-1", "the folder that train wrote.",
        "the folder of a run, as train writes it")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(OfRun):
    """The options of `tfp-vae evaluate`."""

    num_samples: int = option(500, "500", "draws of z for each example, for the log-likelihood.")
    examples: int | None = option(
        1000, "1000", "how many test examples all numbers are of, drawn at random, the same each "
        "time; null: all.")


@dataclass(frozen=True, kw_only=True)
class SampleOptions(OfRun):
    """The options of `tfp-vae sample`."""

    num: int = option(64, "64", "how many.")
    draw: bool | None = option(
        None, "true", "true draws x from p(x|z), false takes its mean; default: draws of counts, "
        "means of images and reals.")
    out: str = option(
        "samples.png", "samples.png", "a .png for a picture, .npy for the numbers, or .txt for "
        "sentences.", "the name of a .png, .npy or .txt file")
    seed: int = option(0, "1", "the same seed, the same images.", **_SEEDS)


@dataclass(frozen=True, kw_only=True)
class ImputeOptions(OfRun):
    """The options of `tfp-vae impute`."""

    data: str | None = option(
        None, "table.npy", "a .npy or .npz file of rows as those of the run, NaN where an entry is "
        "not known; default: the run's own.", "a file of rows")
    num_samples: int = option(1000, "1000", "draws of z for each row.")
    num_draws: int = option(5, "5", "completed copies, for multiple imputation.", least=0)
    out: str = option(
        "imputed.npz", "imputed.npz", "a .npz file: mean, mode, stddev, q05, q50, q95, draws.",
        "the name of a .npz file")
    seed: int = option(0, "1", "the same seed, the same numbers.", **_SEEDS)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """The options of `tfp-vae table`."""

    data: str = option(
        REQUIRED, "people.csv", "a .csv or .parquet file: a row a line, empty where an entry is "
        "not known; numbers, words, booleans and dates.", "a file of rows")
    out: str = option(
        "table", "table", "the folder to write.", "the name of a new folder")
    rows: int | None = option(None, "100", "how many new rows; default: as many as there are.")
    recipe: str = option(
        "vae", "missing_miwae", "a published model, by its name in docs/variants.md.",
        "a recipe, one of", RECIPES)
    latent_size: int = option(8, "8", "dimensions of z.")
    epochs: int = option(
        500, "500", "at most; training stops where held-out rows do no better.")
    seed: int = option(0, "1", "of weights, order and draws.", **_SEEDS)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(OfRun):
    """The options of `tfp-vae export`."""

    out: str = option(REQUIRED, "saved_model", "the folder to write.", "the folder to write")
# fmt: on


class Command(NamedTuple):
    """A subcommand: its options, and what it does."""

    options: type
    does: str


COMMANDS = {
    "train": Command(
        TrainOptions, "Train a variational autoencoder: with no options, on real 8x8 digits."
    ),
    "evaluate": Command(EvaluateOptions, "Print the test ELBO and log-likelihood of a run."),
    "sample": Command(SampleOptions, "Draw new images from a run's model."),
    "impute": Command(
        ImputeOptions,
        "Write what the unknown entries of rows are, with intervals, by a run's model.",
    ),
    "table": Command(
        TableOptions, "Fill the holes of a table, rank its odd rows and draw new ones."
    ),
    "export": Command(ExportOptions, "Write a run's model as a SavedModel for TensorFlow alone."),
}
OPTIONS = {name: options_of(command.options) for name, command in COMMANDS.items()}
