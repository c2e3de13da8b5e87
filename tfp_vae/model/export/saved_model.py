"""A SavedModel's folder, and what its endpoints are made with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae_cli.folders import NEW, check_free
from tfp_vae_cli.refusal import Refusal


def write(archive: Any, folder: Path, verbose: bool) -> None:
    """Writes within the folder, then moves all in place: a failure leaves what was there."""
    is_new, new = not folder.exists(), folder / NEW
    try:
        shutil.rmtree(new, ignore_errors=True)
        archive.write_out(str(new), verbose=verbose)
        for part in sorted(new.iterdir(), key=lambda part: part.name == "saved_model.pb"):
            if part.is_dir():
                shutil.rmtree(folder / part.name, ignore_errors=True)
            os.replace(part, folder / part.name)
        new.rmdir()
    except BaseException:
        shutil.rmtree(folder if is_new else new, ignore_errors=True)
        raise


def free_folder(filepath: Any) -> None:
    """Raises `InputError` where the folder holds something else than a SavedModel."""
    try:
        check_free(filepath)
    except Refusal as error:
        raise InputError(str(error)) from None


def endpoints(vae: Any) -> list[str]:
    """Returns the names of the endpoints of a model."""
    always = ["serve", "encode", "decode", "sample"]
    return [*always, "log_likelihood"] if vae.has_density else always


class Seeds:
    """Seeds for the calls of an archive's endpoints, a new one for each call.

    Servers call from several threads: one operation, which XLA has too, reads the state and moves
    the state on, by 256.

    Args:
      archive: the `keras.export.ExportArchive`, which holds the state.
      model: the model whose seeds these go on from.
    """

    def __init__(self, archive: Any, model: Any) -> None:
        self.start = tf.cast(keras.ops.convert_to_numpy(model.seed_generator.state), tf.int32)
        self.calls = tf.random.Generator.from_state(tf.zeros([3], tf.int64), alg="philox")
        archive.track(self.calls)

    def __call__(self) -> tf.Tensor:
        state = self.calls.skip(1)
        return self.start + tf.stack([0, tf.cast(state[0] // 256, tf.int32)])


def stddev(distribution: Any) -> tf.Tensor:
    """Returns the standard deviation, by operations that other runtimes have too."""
    given = getattr(distribution, "tensor_distribution", distribution)
    size = given.event_shape[-1] if given.event_shape.rank else None
    scale = given.parameters.get("scale_tril")
    if size is None or scale is None or type(given) is not tfd.MultivariateNormalTriL:
        return distribution.stddev()
    lower = tf.constant(np.tril(np.ones([size, size])), scale.dtype)
    return tf.sqrt(tf.reduce_sum(tf.square(scale * lower), axis=-1))


def spec_of(tensor: keras.KerasTensor, name: str) -> tf.TensorSpec:
    """Returns the signature of an input of a network."""
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
