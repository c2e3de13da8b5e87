"""Examples by name: scikit-learn's digits, a file, or a data set of TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence

import numpy as np

from tfp_vae.arguments.rules import checked
from tfp_vae.data import numpy_files, texts, tfds
from tfp_vae.data.examples import Examples
from tfp_vae.errors import InputError


@functools.partial(checked, name="name_or_path")
def load(
    name: str | os.PathLike[str] = "digits",
    data_dir: str | None = None,
    takes: Sequence[str] = (),
    length: int | None = None,
) -> Examples:
    """Loads examples by name.

    Args:
      name: "digits", scikit-learn's 1,797 real 8x8 digits, which needs no download; a path that
        ends in .npy, .npz or .txt; or the name of any image data set of TensorFlow Datasets, such
        as "mnist" or "fashion_mnist", which TFDS downloads (to TFDS_DATA_DIR) unless it is there.
        A .npz file holds `x_train`, `x_test` and optionally `y_train`, `y_test`, as Keras' own do,
        and `x_val`, `y_val`; or one array, as a .npy file, which is split 9 to 1. Images,
        `[n, height, width]` with or without channels, are uint8 or floats in 0..1; vectors,
        `[n, size]`, any finite numbers, and NaN where an entry is not known: non-negative integers
        are counts. A .txt file is a sentence a line, see `tfp_vae.data.texts`.
      data_dir: where TFDS keeps its data; None: TFDS_DATA_DIR, else TFDS' own default.
      takes: kinds of sequences that arrays may hold: with "series" floats `[n, steps]` and
        `[n, steps, size]` are series, with "tokens" integers `[n, steps]` are tokens. Steps of
        zeros at the end are padding.
      length: the most steps of a sequence; None: as many as there are.

    Raises:
      InputError: nothing of that name, a file without examples, or a data set without an image.

    Example:
      >>> load("digits").train.shape
      (1500, 8, 8, 1)
    """
    name = os.fspath(name)
    if name == "digits":
        found = _digits()
    elif name.endswith((".npy", ".npz")):
        found = numpy_files.load(name, takes)
    elif name.endswith(".txt"):
        found = texts.load(name)
    else:
        found = tfds.load(name, data_dir)
    if found.kind == "tokens" and "tokens" not in takes:
        raise InputError("Expected a recipe of tokens, such as sentence_vae, for a text.", name)
    if length is None:
        return found
    if found.kind not in ("series", "tokens"):
        raise InputError("Expected series or tokens, whose steps a length is of.", found.kind)
    splits = ("train", "test", *(["validation"] if found.validation is not None else []))
    cut = {split: getattr(found, split)[:, :length] for split in splits}
    return dataclasses.replace(found, **cut)


def _digits() -> Examples:
    from sklearn.datasets import load_digits  # late: half a second

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target[order]
    return Examples("digits", images[:1500], images[1500:], labels[:1500], labels[1500:])
