"""The command in this process, and what it leaves, for the tests of the command."""

from __future__ import annotations

import csv
import json
import sys
from unittest import mock

import keras
import numpy as np

from tfp_vae import VAE
from tfp_vae.app import runs
from tfp_vae_cli import command

TFP_VAE = [sys.executable, "-m", "tfp_vae_cli"]
SMALL = ["--widths", "[16]", "--latent_size", "2"]
STEPS = 11  # of 128 digits in an epoch


def main(arguments) -> int:
    """The exit code of the command in this process, which has TensorFlow loaded already."""
    with mock.patch.object(sys, "argv", ["tfp-vae"]):  # jsonargparse calls nested options by it
        try:
            return command.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            return stop.code


def history(run: runs.Run) -> list[dict[str, float]]:
    with run.history.open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def results(run: runs.Run) -> dict[str, float]:
    return json.loads(run.results.read_text())


def state(vae: VAE) -> list[np.ndarray]:
    variables = [*vae.variables, *vae.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]
