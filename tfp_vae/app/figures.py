"""The figures of a run, and the new images that a model draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import data, layers, plots
from tfp_vae.app.inputs import inputs, some
from tfp_vae.app.preparation import is_black_and_white
from tfp_vae.bridge.marginals import DistributionPrior
from tfp_vae.evaluation.estimates import chosen
from tfp_vae.model.checks import networks
from tfp_vae.model.vae import VAE
from tfp_vae.networks import num_classes

_COUNTS = (layers.IndependentPoisson, layers.NegativeBinomial, layers.ZeroInflatedNegativeBinomial)


def drawn(vae: VAE, num: int, seed: int, draw: bool | None = None) -> np.ndarray:
    """Returns new x; of a conditional model, one of each label after the other.

    `draw`: whether x is drawn from p(x|z) or is its mean; None: drawn where x are counts.
    """
    labels = None
    if vae.wiring.given_names:
        labels = np.arange(num, dtype=np.int32) % num_classes(vae.decoder)
    counts = isinstance(networks.final_operation(vae.decoder, "decoder"), _COUNTS)
    draw = counts if draw is None else draw
    x = vae.sample(num, mean=not draw, seed=seed, conditions=labels).numpy()
    return np.rint(x).astype(np.int64) if counts and draw else x


def figures(vae: VAE, images: data.Examples, x_test: np.ndarray, seed: int) -> dict[str, Any]:
    """Returns the figures of a run by name: pictures only of what can be shown."""
    shows = plots.can_show(images.shape)
    found = _pictures(vae, images, x_test, seed) if shows else {}
    x, labels = _some(images, x_test, 5000)
    whose = "the test set" if len(x) == len(x_test) else f"{len(x):,} test examples"
    found["latent_space"] = plots.latent_space(
        vae.representative(vae.encode(inputs(vae, x, labels))),
        labels,
        f"{images.name}: posterior means of {whose}",
    )
    return found


def _pictures(vae: VAE, images: data.Examples, x_test: np.ndarray, seed: int) -> dict[str, Any]:
    x, labels = _some(images, x_test, 10)
    grey = images.train.dtype == np.uint8 and not is_black_and_white(images.train)
    how = "binarized and " if grey and np.isin(x, (0, 1)).all() else ""
    conditional = bool(vae.wiring.given_names)
    columns = num_classes(vae.decoder) if conditional else 8
    what = "a column for each label" if conditional else "E[x|z]"
    found = {
        "reconstructions": plots.reconstructions(
            x,
            vae.reconstruct(inputs(vae, x, labels)),
            f"{images.name}: test images, {how}reconstructed",
        ),
        "samples": plots.image_grid(
            drawn(vae, 8 * columns, seed), columns, f"{images.name}: drawn from the prior, {what}"
        ),
    }
    if vae.wiring.decoder.main.shape[1:] == (2,) and not conditional and _is_unit_normal(vae):
        found["manifold"] = plots.manifold(vae)
    return found


def _some(
    images: data.Examples, x_test: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns test examples and their labels, drawn at random: a file may be sorted."""
    rows = chosen(len(x_test), count)
    return x_test[rows], some(images.test_labels, rows)


def _is_unit_normal(vae: VAE) -> bool:
    """Returns whether the prior is the one whose plane `plots.manifold` draws."""
    given = vae.prior.given if isinstance(vae.prior, DistributionPrior) else None
    if not (isinstance(given, tfd.Independent) and isinstance(given.distribution, tfd.Normal)):
        return False
    return bool(tf.reduce_all(given.mean() == 0) and tf.reduce_all(given.stddev() == 1))
