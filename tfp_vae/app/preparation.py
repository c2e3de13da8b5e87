"""What a run makes of its data: rows to watch, pixels as bits, columns on one scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfp_vae.data import Binarize, Examples
from tfp_vae.errors import InputError
from tfp_vae.layers.rescaled import Scale
from tfp_vae.recipes.base import USUAL
from tfp_vae_cli.options import DataOptions

MOST = 5000  # rows to watch
_SHARE, _LEAST = 0.05, 20  # of the training rows; of how many
_LOCATION_SCALE = (None, "normal", "shared_normal", "logistic", "laplace", "student_t")
_SOME = 2000  # images whose pixels are looked at


def watched(images: Examples) -> np.ndarray:
    """Returns a mask of the training rows that are held out, to be watched at each epoch.

    One in twenty, at most 5,000, drawn at random, the same each time; none of fewer than 20, or
    where the source has a validation split of its own.
    """
    count = len(images.train)
    mask = np.zeros(count, bool)
    if count >= _LEAST and images.validation is None:
        number = min(MOST, max(1, round(count * _SHARE)))
        mask[np.random.default_rng(0).choice(count, number, replace=False)] = True
    return mask


class Preparation(NamedTuple):
    """The choices that follow the data where nothing is said.

    Attributes:
      binarize: see `data.binarized`.
      likelihood: the name of the usual one, in `recipe.LIKELIHOODS`.
      scale: of columns that are standardized inside the model; None: they are taken as they are.
    """

    binarize: Binarize
    likelihood: str
    scale: Scale | None


def prepared(images: Examples, options: DataOptions) -> Preparation:
    """Returns the choices for some examples, by the options that are given and by the data.

    Raises:
      InputError: only real numbers under a likelihood with a location and a scale are standardized.
    """
    binarize, named = options.binarize, options.likelihood
    likelihood = USUAL[images.kind]
    if images.kind == "images":
        if not (looks_drawn(images.train) or binarize in ("dynamic", "fixed")):
            likelihood = "shared_normal"
        if binarize is None:
            binarize = "dynamic" if (named or likelihood) == "bernoulli" else "none"
    wants = options.standardize
    fits = named in _LOCATION_SCALE and images.kind in ("reals", "series")
    if images.kind == "tokens" and named:
        raise InputError("Tokens have a likelihood of their own: expected no --likelihood.", named)
    if wants and not fits:
        raise InputError(
            "--standardize is for vectors and series of real numbers under a likelihood with a "
            "scale, such as normal.",
            f"{images.kind} under {named or likelihood}",
        )
    scale = Scale.of(_rows(images.train)) if fits and wants is not False else None
    if scale is not None and wants is None and scale.is_usual:
        scale = None
    if scale is not None:  # columns with a unit of their own come with outliers
        likelihood = "student_t"
    return Preparation(binarize or "none", likelihood, scale)


def _rows(x: np.ndarray) -> np.ndarray:
    """Returns vectors as they are, and of series all steps that are no padding."""
    return x if x.ndim == 2 else x[(x != 0).any(axis=-1)]


def is_black_and_white(images: np.ndarray) -> bool:
    """Returns whether all pixels, uint8, are black or white."""
    return bool(np.isin(images[:_SOME], (0, 255)).all())


def looks_drawn(images: np.ndarray) -> bool:
    """Returns whether a Bernoulli suits pixels, uint8: nearly black and white, or pen strokes.

    Nearly black and white: the mean of `4 p (1 - p)`, a Bernoulli's variance at a pixel p as a
    share of the largest, is below 0.05. Pen strokes: a third of a grey image is background, black
    or white, and about a fifth of the other pixels are at the other end (of MNIST's 47 in 100, of
    scikit-learn's digits 25, of photographs framed in black 13).
    """
    index = np.linspace(0, len(images) - 1, min(len(images), _SOME)).astype(int)
    counts = np.zeros(256)
    for i in index:  # one by one: NumPy takes 8 bytes for each that it counts
        counts += np.bincount(images[i].reshape(-1), minlength=256)
    share = counts / counts.sum()
    p = np.arange(256) / 255
    if np.sum(share * 4 * p * (1 - p)) < 0.05:
        return True
    if images.shape[-1] != 1:
        return False
    p = 1 - p if np.sum(share[p > 0.98]) > np.sum(share[p < 0.02]) else p
    strokes = np.sum(share[p >= 0.02])
    return bool(strokes < 0.7 and np.sum(share[p > 0.9]) > 0.18 * strokes)


def said(images: Examples, choice: Preparation, layer: Any) -> str:
    """Returns a line for people on what is done with the data; "" where nothing is."""
    name = type(getattr(layer, "likelihood", layer)).__name__
    if choice.scale is not None:
        return (
            f"columns: standardized inside the model, under {name}; numbers are of the data's own "
            "unit (--standardize false takes the columns as they are)"
        )
    if images.kind != "images":
        return ""
    if choice.binarize == "none":
        return f"pixels: as they are, in 0..1, under {name} (--binarize dynamic draws 0 or 1)"
    if is_black_and_white(images.train):
        return ""
    when = "afresh each epoch" if choice.binarize == "dynamic" else "once"
    return f"pixels: binarized, drawn as 0 or 1 {when}, under {name} (--binarize none: as they are)"
