"""Model files that may come from anybody, or be cut off: read with one clear error."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.writing import replacing
from tfp_vae.errors import InputError
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.model.vae import VAE


def save(vae: Any, file: Path, beside: dict[str, Any]) -> None:
    """Writes a model, with values in the file's comment: they are of that model for good.

    A process that ends in the middle leaves the file before.
    """
    with replacing(file) as new:
        vae.save(new)
        with zipfile.ZipFile(new, "a") as archive:
            archive.comment = json.dumps(beside).encode()


def load(file: Path) -> Any:
    """Loads a `VAE` or a `LatentModel` of finite weights.

    Raises:
      InputError: there is no such file, or it does not load, or declares more values than it has.
    """
    anew = " (Without this file `train --resume` does it anew.)"
    what = f"Expected {file} to be a model that loads.{anew}"
    if not zipfile.is_zipfile(file):
        raise InputError(what, "no .keras file, or one that was cut off")
    try:
        _check_sizes(file)
        with warnings.catch_warnings():  # of an optimizer whose state is not that of the model
            warnings.filterwarnings("error", "Skipping variable loading")
            model = keras.models.load_model(file)
    except Exception as error:  # of another program, or changed by hand
        raise InputError(what, f"{type(error).__name__}: {error}") from error
    if not isinstance(model, (VAE, LatentModel)):
        raise InputError(f"Expected {file} to be a VAE or a LatentModel.", type(model).__name__)
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    bad = sum(w.dtype.kind == "f" and not np.isfinite(w).all() for w in weights)
    if bad:
        raise InputError(
            f"Expected finite weights in {file}.{anew}",
            f"NaN or inf in {bad} of {len(weights)}",
        )
    return model


def _check_sizes(file: Path) -> None:
    """Checks that networks do not take more memory than the file has values for."""
    with zipfile.ZipFile(file) as archive:
        stored = archive.getinfo("model.weights.h5").file_size
        config = json.loads(archive.read("config.json"))["config"]
    with ThreadPoolExecutor(1) as thread:  # Keras gives these variables values later: in a thread
        declared = thread.submit(_declared, config).result()  # that ends, there is no later
    if declared > stored:
        raise InputError(f"Expected at most {stored:,} values.", f"{declared:,} in its config")


def _declared(config: dict[str, Any]) -> int:
    """Returns how many values the variables of a model would have; makes none of them."""
    with keras.StatelessScope(initialize_variables=False):
        parts = [loaded(part) for part in _parts(config)]
    return sum(math.prod(variable.shape) for part in parts for variable in part.variables)


def _parts(config: dict[str, Any]) -> list[Any]:
    """Returns the configs of networks and priors, of a `VAE` or of a `LatentModel`."""
    parts = [config.get(name) for name in ("encoder", "decoder", "prior", "features")]
    parts += [one for name, *rest in config.get("latents", []) for one in rest]
    parts += [one for name, one in config.get("observed", [])]
    return [part for part in parts if part]


def comment(file: Path) -> dict[str, Any]:
    """Reads what `save` wrote beside a model; a file of Keras alone has nothing."""
    try:
        with zipfile.ZipFile(file) as archive:
            return dict(json.loads(archive.comment))
    except (OSError, ValueError, TypeError, zipfile.BadZipFile):
        return {}
