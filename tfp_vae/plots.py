"""Pictures of what a model learnt, as matplotlib Figures (`figure.savefig("x.png")`)."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from sklearn.decomposition import PCA
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as the value of a cell."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png", dpi=100)
        return written.getvalue()


def can_show(shape: Any) -> bool:
    """Returns whether (height, width, channels) is that of a picture: grey, or red-green-blue."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def can_draw(shape: Any) -> bool:
    """Returns whether examples of this shape are pictures, or series, which are drawn as lines."""
    return can_show(shape) or len(shape) == 2


def image_grid(images: Any, columns: int = 8, title: str = "") -> Figure:
    """Draws images, or series as lines, side by side in one frame.

    Args:
      images: `[n, height, width, 1 or 3]`, values in 0..1; or series, `[n, steps, size]`.
      columns: images in a row; of series a quarter as many.
      title: above the figure.
    """
    columns, width, height = _cells(images[0], columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * width, rows * height + 0.4), layout="constrained")
    _fill(figure, images, columns)
    figure.suptitle(title, fontsize=10)
    return figure


def beside(real: Sequence[Any], drawn: Sequence[Any], title: str = "") -> Figure:
    """Draws examples of the data on the left, and draws of a model on the right.

    Args:
      real: images `[height, width, 1 or 3]`; series `[steps, size]`, of any lengths, as lines; or
        sentences, strings.
      drawn: likewise.
      title: above the figure.
    """
    columns, width, height = _cells(real[0], 4, len(real))
    rows = -(-max(len(real), len(drawn)) // columns)
    size = (2 * columns * width + 0.4, rows * height + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=10)
    halves: Any = figure.subfigures(1, 2, wspace=0.05)
    for half, values, name in zip(halves, (real, drawn), ("data", "drawn"), strict=True):
        half.suptitle(name, fontsize=9)
        _fill(half, values, columns, rows)
    return figure


def _cells(value: Any, columns: int, count: int) -> tuple[int, float, float]:
    """Returns how many stand in a row, and the width and the height of each in inches."""
    if isinstance(value, str):
        return 1, 5.0, 0.3
    if np.ndim(value) == 2:
        return max(1, min(columns // 4, count)), 3.2, 0.8
    return min(columns, count), 0.8, 0.8


def _fill(figure: Any, values: Any, columns: int, rows: int | None = None) -> None:
    rows = rows or -(-len(values) // columns)
    lines = np.ndim(values[0]) == 2
    axes = figure.subplots(rows, columns, squeeze=False, sharex=lines, sharey=lines).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, value in zip(axes, values, strict=False):
        if isinstance(value, str):
            words = textwrap.shorten(value, 80)
            axis.text(0, 0.5, words, va="center", fontsize=8, parse_math=False)
        elif lines:
            axis.plot(value, linewidth=1)
        else:
            _show(axis, np.asarray(value))


def reconstructions(originals: Any, reconstructed: Any, title: str = "") -> Figure:
    """Draws each original with its reconstruction below.

    Args:
      originals: `[n, height, width, channels]`, values in 0..1.
      reconstructed: likewise.
      title: above the figure.
    """
    pairs = [np.asarray(originals), np.asarray(reconstructed)]
    columns = len(pairs[0])
    figure = Figure(figsize=(columns * 0.8 + 0.9, 2.1), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    for row, (images, name) in enumerate(zip(pairs, ("original", "reconstruction"), strict=True)):
        for axis, image in zip(axes[row], images, strict=True):
            _show(axis, image)
            axis.set(xticks=[], yticks=[])
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=10)
    return figure


def latent_space(z: Any, labels: Any = None, title: str = "") -> Figure:
    """Draws posterior means in two dimensions: z itself, or its two principal components.

    Args:
      z: `[n, latent size]`.
      labels: `[n]` integers that colour the points, or None.
      title: above the figure.
    """
    z = np.asarray(z).reshape(len(z), -1)
    labels = None if labels is None else np.asarray(labels).reshape(-1)
    if z.shape[1] == 1:
        z = np.hstack([z, np.zeros_like(z)])
    names = ["$z_1$", "$z_2$"]
    if z.shape[1] > 2 and np.ptp(z, axis=0).any():  # one point has no components
        components = PCA(2).fit(z)
        share = components.explained_variance_ratio_
        names = [f"principal component {i + 1} ({share[i]:.0%} of the variance)" for i in range(2)]
        z = components.transform(z)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.subplots()
    style: dict[str, Any] = {"s": 6, "alpha": 0.7, "linewidths": 0}
    if labels is None:
        axis.scatter(z[:, 0], z[:, 1], **style)
    elif len(np.unique(labels)) <= 10:
        for label in np.unique(labels):
            axis.scatter(*z[labels == label, :2].T, label=str(label), **style)
        axis.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5), markerscale=3)
    else:
        points = axis.scatter(z[:, 0], z[:, 1], c=labels, **style)
        figure.colorbar(points, label="label")
    axis.set(xlabel=names[0], ylabel=names[1], title=title or "posterior means")
    axis.set_aspect("equal", adjustable="datalim")
    return figure


def codes_in_use(usage: Any, title: str = "") -> Figure:
    """Draws the share of each code, the most used first, with a line for each level.

    Args:
      usage: how often each code occurs, `[num_codes]` or `[levels, num_codes]`.
      title: above the figure.
    """
    usage = np.atleast_2d(np.asarray(usage, np.float64))
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    for number, counts in enumerate(usage):
        share = np.sort(counts)[::-1] / max(counts.sum(), 1.0)
        used = int((counts > 0).sum())
        level = f"level {number + 1}: " if len(usage) > 1 else ""
        label = f"{level}{used:,} of {len(counts):,} codes"
        axis.step(np.arange(1, len(share) + 1), share, where="mid", label=label)
    axis.set(xlabel="code, by its use", ylabel="share", title=title, ylim=(0, None))
    axis.legend()
    return figure


def manifold(vae: Any, size: int | None = None) -> Figure:
    """Draws the means of p(x|z) over a grid of a two-dimensional z.

    The grid's points are equally spaced quantiles of the unit normal, 0.5/size to 1 - 0.5/size
    along each axis: each tile stands for the same prior probability. Kingma and Welling,
    arXiv:1312.6114, figure 4.

    Args:
      vae: the model.
      size: tiles along each axis; None: 20, or 12 for images smaller than 16 pixels.

    Raises:
      InputError: z does not have two dimensions.
    """
    latent_shape = vae.wiring.decoder.main.shape[1:]
    if tuple(latent_shape) != (2,):
        raise InputError("The manifold is a picture of a z of two dimensions.", latent_shape)
    if size is None:
        size = 20 if vae.decoder.output_shape[1] >= 16 else 12
    quantile = tfd.Normal(0.0, 1.0).quantile
    quantiles = quantile((np.arange(size, dtype="float32") + 0.5) / size)
    grid = np.stack(np.meshgrid(quantiles, quantiles[::-1]), axis=-1).reshape(-1, 2)
    images = np.asarray(vae.decode(grid).mean())
    images = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))  # a gap between the tiles
    height, width, channels = images.shape[1:]
    tiles = images.reshape(size, size, height, width, channels).swapaxes(1, 2)
    figure = Figure(figsize=(7, 7.3), layout="constrained")
    axis = figure.subplots()
    _show(axis, tiles.reshape(size * height, size * width, channels))
    shares = np.array([0.025, 0.25, 0.5, 0.75, 0.975], "float32")
    names = [f"{value:.2f}" for value in np.asarray(quantile(shares)) + 0.0]
    axis.set_xticks(shares * size * width - 0.5, names)
    axis.set_yticks((1 - shares) * size * height - 0.5, names)
    axis.set(xlabel="$z_1$", ylabel="$z_2$", title="decoded means over the latent plane")
    return figure


def _show(axis: Any, image: np.ndarray) -> None:
    image = np.clip(image, 0, 1)  # as imshow does, which warns where the image is in colour
    axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, "gray", vmin=0, vmax=1)
