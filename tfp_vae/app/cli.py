"""The subcommands of `tfp-vae` that need TensorFlow, each a function of its options."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from tfp_vae import plots
from tfp_vae.app.figures import drawn
from tfp_vae.app.inputs import examples
from tfp_vae.app.reporting import assess
from tfp_vae.app.runs import Run
from tfp_vae.app.train_command import train
from tfp_vae.bridge.writing import replacing
from tfp_vae.data import binarized, numpy_files
from tfp_vae.data.texts import sentence
from tfp_vae.errors import InputError
from tfp_vae.model import main_variable
from tfp_vae.model.export.saved_model import endpoints
from tfp_vae.objectives.from_options import class_named
from tfp_vae.recipes.base import find
from tfp_vae_cli.called import called
from tfp_vae_cli.options import (
    COMMANDS,
    EvaluateOptions,
    ExportOptions,
    ImputeOptions,
    SampleOptions,
    TableOptions,
)
from tfp_vae_cli.reading import Given


def run(given: Given) -> int:
    """Runs a command and returns its exit code; what goes wrong is raised."""
    for ask in given.asks:
        if ask.startswith("--objective.help"):
            return _explain(ask.partition("=")[2], given)
    with warnings.catch_warnings():  # Keras' about networks, whose layers pass masks on
        warnings.filterwarnings("ignore", r"Layer '.*' \(of type Functional\) was passed an input")
        return _RUNS[given.command](COMMANDS[given.command].options(**given.options))


def evaluate(options: EvaluateOptions) -> int:
    """Prints the test ELBO and the importance-weighted log-likelihood of a run's model."""
    folder = Run.open(options.run)
    vae, config = folder.load_model(), folder.read_config()
    images = examples(config, folder.read_words())
    x_test = binarized(images.test, config["binarize"])
    text, _ = assess(
        vae,
        images,
        x_test,
        config["binarize"],
        num_samples=options.num_samples,
        examples=options.examples,
    )
    print(text)
    return 0


def sample(options: SampleOptions) -> int:
    """Writes new images from a run's model, as a picture or as numbers."""
    folder, out, num = Run.open(options.run), Path(options.out), options.num
    config = folder.read_config()
    recipe = find(config.get("recipe", "vae"))
    if recipe.prior_after is not None and not folder.fitted.is_file():
        again = f"{called()} train --resume {shlex.quote(options.run)}"
        raise InputError(
            f"The prior of a {recipe.title} is fitted when its training is complete: expected a "
            f"run that is ({again}).",
            "one without fitted.keras",
        )
    images = drawn(folder.load_model(), num, options.seed, options.draw, config.get("length"))
    tokens = "tokens" in recipe.takes and images.ndim == 2
    if out.suffix == ".txt" and not tokens:
        raise InputError("These are no sentences: expected --out to end in .npy.", options.out)
    if out.suffix == ".png" and (tokens or not plots.can_draw(images.shape[1:])):
        raise InputError("These are no pictures: expected --out to end in .npy.", options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as new:
        if out.suffix == ".npy":
            np.save(new, images)
        elif tokens:
            words = folder.read_words()
            new.write_text("".join(f"{sentence(each, words)}\n" for each in images), "utf-8")
        else:
            title = f"{num} samples from {options.run}"
            plots.image_grid(images, max(8, round(num**0.5)), title).savefig(new, dpi=120)
    print(f"{num} samples: {options.out}")
    return 0


def export(options: ExportOptions) -> int:
    """Writes a run's model as a SavedModel."""
    vae = Run.open(options.run).load_model()
    vae.export(options.out)
    print(f"SavedModel with {', '.join(endpoints(vae))}: {options.out}")
    print(f"load it with: tf.saved_model.load({options.out!r}).serve(x)")
    return 0


def impute(options: ImputeOptions) -> int:
    """Writes what the unknown entries of rows are, given the known ones, by a run's model."""
    folder, out = Run.open(options.run), Path(options.out)
    if out.suffix != ".npz":
        raise InputError("Expected --out to end in .npz.", options.out)
    source = options.data or folder.read_config()["data"]
    if not source.endswith((".npy", ".npz")):
        raise InputError("Expected --data to be a .npy or .npz file of rows.", source)
    x = binarized(numpy_files.rows(source), "none")
    vae = folder.load_model()
    if main_variable.conditions(vae):
        raise InputError("Expected a run that needs no labels: rows have none.", options.run)
    how = {"num_samples": options.num_samples, "num_draws": options.num_draws}
    found = vae.impute(x, **how, seed=options.seed)
    found = found[vae.wiring.main] if isinstance(found, dict) else found
    levels = {f"q{round(100 * level):02d}": value for level, value in found.quantiles.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as new, open(new, "wb") as file:
        np.savez(
            file,
            mean=found.mean,
            mode=found.mode,
            stddev=found.stddev,
            draws=found.draws,
            effective_samples=found.effective_samples,
            **levels,
        )
    unknown, fewest = int(np.isnan(x).sum()), found.effective_samples.min()
    print(
        f"{unknown:,} unknown entries of {len(x):,} rows: {options.out} (mean, mode, stddev, "
        f"{', '.join(levels)}, draws; at least {fewest:.1f} effective draws of "
        f"{options.num_samples})"
    )
    return 0


def _table(options: TableOptions) -> int:
    from tfp_vae.app.table_command import table  # late: it needs pandas

    return table(options)


_RUNS: dict[str, Callable[[Any], int]] = {
    "train": train,
    "evaluate": evaluate,
    "sample": sample,
    "impute": impute,
    "table": _table,
    "export": export,
}


def _explain(name: str, given: Given) -> int:
    """Lists the arguments of an objective."""
    named = name or (given.options.get("objective") or {}).get("class_path") or "ELBO"
    parser = ArgumentParser(prog=f"--objective {named}", add_help=False)
    parser.add_class_arguments(class_named(named), "objective")
    parser.print_help()
    return 0
