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
from tfp_vae.data.texts import sentence
from tfp_vae.evaluation.codes import usage_of_codes
from tfp_vae.evaluation.estimates import chosen
from tfp_vae.model import main_variable
from tfp_vae.model.checks import networks
from tfp_vae.model.vae import VAE

_COUNTS = (
    layers.Categorical,
    layers.IndependentPoisson,
    layers.NegativeBinomial,
    layers.ZeroInflatedNegativeBinomial,
)
_MOST_ROWS = 20  # of a picture


def drawn(
    vae: Any, num: int, seed: int, draw: bool | None = None, length: int | None = None
) -> np.ndarray:
    """Returns new x; of a conditional model, one of each label after the other.

    `draw`: whether x is drawn from p(x|z) or is its mean; None: drawn where x are counts or tokens.
    `length`: of sequences whose number of steps is open.
    """
    given = main_variable.labels_in_turn(vae, num)
    layer = networks.final_operation(main_variable.likelihood(vae), "decoder")
    counts = isinstance(layer, _COUNTS)
    draw = counts if draw is None else draw
    more = {} if length is None else {"length": length}
    x = main_variable.sampled(vae, num, given, mean=not draw, seed=seed, **more).numpy()
    return np.rint(x).astype(np.int64) if counts and draw else x


def by_layer(model: Any, num: int, seed: int) -> np.ndarray:
    """Returns means of p(x|z), `num` for each latent variable: one draw is kept from the top down.

    In the first row all latent variables are drawn anew for each image, in the second all but the
    top one, and so on: a row shows what the variables below decide.
    """
    given: dict[str, Any] = {}
    if "label" in main_variable.conditions(model):
        given = {"label": np.zeros(num, np.int32)}
    kept, rows = model.sample(num, given=given, seed=seed), []
    for number, name in enumerate(model.graph.posteriors):
        rows.append(main_variable.sampled(model, num, given, seed=seed + number).numpy())
        given = {**given, name: np.repeat(np.asarray(kept[name])[:1], num, axis=0)}
    return np.concatenate(rows)


def by_label(vae: Any, labels: int, num: int, seed: int) -> np.ndarray:
    """Returns means of p(x|z), `num` for each label: in a column all but the label is the same."""
    rows = [main_variable.as_labels(vae, np.full(num, label)) for label in range(labels)]
    found = [main_variable.sampled(vae, num, given, seed=seed).numpy() for given in rows]
    return np.concatenate(found)


def figures(vae: Any, images: data.Examples, x_test: np.ndarray, seed: int) -> dict[str, Any]:
    """Returns the figures of a run by name: pictures only of what can be shown."""
    shows = plots.can_show(images.shape)
    found = _pictures(vae, images, x_test, seed) if shows else {}
    if main_variable.causal(vae):
        found["real_and_drawn"] = real_and_drawn(vae, images, x_test, seed)
    x, labels = _some(images, x_test, 5000)
    whose = "the test set" if len(x) == len(x_test) else f"{len(x):,} test examples"
    codes = main_variable.codes(vae, inputs(vae, x, labels))
    for name, z in codes.items():
        of = "" if len(codes) == 1 else f" of {name}"
        found[f"latent_space{of.replace(' ', '_')}"] = plots.latent_space(
            z, labels, f"{images.name}: posterior means{of} of {whose}"
        )
    for name, counts in usage_of_codes(vae, [inputs(vae, x, labels)]).items():
        of = "" if len(codes) == 1 else f" of {name}"
        found[f"codes_in_use{of.replace(' ', '_')}"] = plots.codes_in_use(
            counts, f"{images.name}: codes{of} in use, {whose}"
        )
    return found


def real_and_drawn(vae: Any, images: data.Examples, x_test: np.ndarray, seed: int) -> Any:
    """Returns the figure of sequences of the data beside draws, each step given those before."""
    real, _ = _some(images, x_test, 8)
    new = drawn(vae, len(real), seed, True, x_test.shape[1])
    left, right = list(real), list(new)
    if images.kind == "tokens":
        left, right = (
            [sentence(x.astype(int), images.vocabulary) for x in part] for part in (real, new)
        )
    elif images.kind == "series" and images.shape[0] is None:
        left = [x[: np.flatnonzero(x.any(axis=-1))[-1] + 1] for x in real if x.any()]
    return plots.beside(left, right, f"{images.name}: the test set, and draws step by step")


def _pictures(vae: Any, images: data.Examples, x_test: np.ndarray, seed: int) -> dict[str, Any]:
    x, labels = _some(images, x_test, 10)
    grey = images.train.dtype == np.uint8 and not is_black_and_white(images.train)
    how = "binarized and " if grey and np.isin(x, (0, 1)).all() else ""
    classes = main_variable.num_labels(vae)
    columns = 8 if classes is None else classes
    what = "E[x|z]" if classes is None else "a column for each label"
    found = {
        "reconstructions": plots.reconstructions(
            x,
            main_variable.reconstructed(vae, inputs(vae, x, labels)),
            f"{images.name}: test images, {how}reconstructed",
        ),
        "samples": plots.image_grid(
            drawn(vae, 8 * columns, seed), columns, f"{images.name}: drawn from the prior, {what}"
        ),
    }
    if classes is not None:
        found["samples_by_label"] = plots.image_grid(
            by_label(vae, min(classes, _MOST_ROWS), 8, seed),
            8,
            f"{images.name}: a row for each label, a column for each draw of all else",
        )
    if isinstance(vae, VAE) and classes is None and _is_plane(vae):
        found["manifold"] = plots.manifold(vae)
    if len(vae.graph.posteriors) > 1 and set(main_variable.conditions(vae)) <= {"label"}:
        names = list(vae.graph.posteriors)
        found["by_layer"] = plots.image_grid(
            by_layer(vae, 8, seed),
            8,
            f"{images.name}: all drawn, then {', '.join(names[:-1])} kept one by one, row by row",
        )
    return found


def _some(
    images: data.Examples, x_test: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns test examples and their labels, drawn at random: a file may be sorted."""
    rows = chosen(len(x_test), count)
    return x_test[rows], some(images.test_labels, rows)


def _is_plane(vae: VAE) -> bool:
    """Returns whether z is the plane that `plots.manifold` draws, of a unit normal."""
    if vae.wiring.decoder.main.shape[1:] != (2,):
        return False
    given = vae.prior.given if isinstance(vae.prior, DistributionPrior) else None
    if not (isinstance(given, tfd.Independent) and isinstance(given.distribution, tfd.Normal)):
        return False
    return bool(tf.reduce_all(given.mean() == 0) and tf.reduce_all(given.stddev() == 1))
