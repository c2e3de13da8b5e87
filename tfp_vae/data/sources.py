"""Examples by name: scikit-learn's digits, a file, or a data set of TensorFlow."""

from __future__ import annotations

import functools
import os

import numpy as np

from tfp_vae.arguments.rules import checked
from tfp_vae.data import numpy_files, tfds
from tfp_vae.data.examples import Examples


@functools.partial(checked, name="name_or_path")
def load(name: str | os.PathLike[str] = "digits", data_dir: str | None = None) -> Examples:
    """Loads examples by name.

    Args:
      name: "digits", scikit-learn's 1,797 real 8x8 digits, which needs no download; a path that
        ends in .npy or .npz; or the name of any image data set of TensorFlow Datasets, such as
        "mnist" or "fashion_mnist", which TFDS downloads (to TFDS_DATA_DIR) unless it is there.
        A .npz file holds `x_train`, `x_test` and optionally `y_train`, `y_test`, as Keras' own do,
        and `x_val`, `y_val`; or one array, as a .npy file, which is split 9 to 1. Images,
        `[n, height, width]` with or without channels, are uint8 or floats in 0..1; vectors,
        `[n, size]`, any finite numbers, and NaN where an entry is not known: non-negative integers
        are counts.
      data_dir: where TFDS keeps its data; None: TFDS_DATA_DIR, else TFDS' own default.

    Raises:
      InputError: nothing of that name, a file without examples, or a data set without an image.

    Example:
      >>> load("digits").train.shape
      (1500, 8, 8, 1)
    """
    name = os.fspath(name)
    if name == "digits":
        return _digits()
    if name.endswith((".npy", ".npz")):
        return numpy_files.load(name)
    return tfds.load(name, data_dir)


def _digits() -> Examples:
    from sklearn.datasets import load_digits  # late: half a second

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target[order]
    return Examples("digits", images[:1500], images[1500:], labels[:1500], labels[1500:])
