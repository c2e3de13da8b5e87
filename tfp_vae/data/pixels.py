"""Pixels as bytes, and as the float32 numbers that a model takes: drawn as 0 or 1, or kept."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tfp_vae.arguments.rules import checked
from tfp_vae_cli.options import Binarize

_EVALUATION_SEED = 2**31 - 1


@checked
def binarized(
    images: np.ndarray, binarize: Binarize = "dynamic", seed: int | None = None
) -> np.ndarray:
    """Returns images as float32 for evaluation: each pixel 1 with probability pixel / 255.

    Args:
      images: uint8; other examples are left as they are.
      binarize: "none" gives pixel / 255 itself.
      seed: the draw is a function of the seed and of all the images together: other images, such
        as a test set beside a training set, get independent noise. None: the seed that every
        evaluation shares.

    Example:
      >>> grey = np.full([2000, 8, 8, 1], 128, np.uint8)
      >>> a, b = binarized(grey[:1000]), binarized(grey[:999])
      >>> bool(abs(np.mean(a[:999] == b) - 0.5) < 0.01), bool((a == binarized(grey[:1000])).all())
      (True, True)
    """
    images = np.asarray(images)
    content = hashlib.blake2b(repr(images.shape).encode(), digest_size=16)
    if images.dtype == np.uint8 and binarize != "none":
        content.update(np.ascontiguousarray(images).data)
    words = np.frombuffer(content.digest(), np.uint32).tolist()
    return _binarized(images, binarize, [_EVALUATION_SEED if seed is None else seed, *words])


@checked
def training_images(images: np.ndarray, binarize: Binarize, seed: int) -> np.ndarray:
    """Returns images as float32: "fixed" as `batches` has them for this seed, "dynamic" drawn anew.

    The noise of a row does not depend on the rows after that row, and is the same for all images:
    for one training set, not for two sets beside each other.

    Example:
      >>> from tfp_vae.data import load
      >>> images = load("digits").train
      >>> some = training_images(images[:10], "fixed", seed=3)
      >>> bool((some == training_images(images, "fixed", seed=3)[:10]).all())
      True
    """
    return _binarized(images, binarize, seed)


def _binarized(images: np.ndarray, binarize: Binarize, entropy: Any) -> np.ndarray:
    if images.dtype != np.uint8:
        return images.astype(np.float32)
    if binarize == "none":
        return images.astype(np.float32) / 255
    noise = np.random.default_rng(entropy).integers(0, 256, images.shape, np.uint8)
    return (noise < images.astype(np.int16) + (images > 127)).astype(np.float32)
