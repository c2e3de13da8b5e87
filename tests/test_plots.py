from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from conftest import small_networks
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from tfp_vae import VAE, layers, networks, plots
from tfp_vae.errors import InputError

GREY, COLOUR = (np.random.default_rng(0).random((11, 5, 4, channels)) for channels in (1, 3))
LABELS = np.arange(60) % 10


@pytest.fixture(scope="module")
def vae():
    return VAE(*small_networks())


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape)


def shown(axis) -> np.ndarray:
    """The one image of an axis, with its channels."""
    (image,) = axis.images
    pixels = np.asarray(image.get_array())
    return pixels if pixels.ndim == 3 else pixels[..., np.newaxis]


def scatters(figure) -> list[PathCollection]:
    return [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]


def offsets(figure) -> np.ndarray:
    (scatter,) = scatters(figure)
    return np.asarray(scatter.get_offsets())


@pytest.mark.parametrize(
    "draw",
    [
        lambda vae: plots.image_grid(GREY),
        lambda vae: plots.image_grid(COLOUR, 3, "a title"),
        lambda vae: plots.image_grid(GREY[:1]),
        lambda vae: plots.reconstructions(GREY, GREY),
        lambda vae: plots.reconstructions(COLOUR[:1], COLOUR[:1]),
        lambda vae: plots.latent_space(normal(60, 1), LABELS),
        lambda vae: plots.latent_space(normal(60, 2)),
        lambda vae: plots.latent_space(normal(60, 5), LABELS),
        lambda vae: plots.latent_space(normal(60, 5), np.arange(60)),
        lambda vae: plots.manifold(vae, 3),
    ],
    ids=[
        "grid",
        "grid in colour",
        "grid of one",
        "reconstructions",
        "reconstruction in colour",
        "one latent",
        "two latents",
        "five latents",
        "sixty labels",
        "manifold",
    ],
)
def test_each_picture_is_a_figure_that_saves_to_png(tmp_path, vae, draw):
    figure = draw(vae)
    assert isinstance(figure, Figure)
    path = tmp_path / "picture.png"
    figure.savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


# -- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize(("columns", "rows"), [(4, 3), (11, 1), (30, 1), (1, 11)])
def test_image_k_of_a_grid_is_in_axis_k_row_by_row(images, columns, rows):
    figure = plots.image_grid(images, columns, "eleven")
    assert figure.get_suptitle() == "eleven"
    columns = min(columns, 11)
    assert len(figure.axes) == rows * columns
    for k, axis in enumerate(figure.axes):
        place = axis.get_subplotspec()
        assert (place.rowspan.start, place.colspan.start) == divmod(k, columns)
        if k < 11:
            np.testing.assert_array_equal(shown(axis), images[k])
        else:
            assert not axis.images
        assert not axis.axison


@pytest.mark.parametrize("images", [GREY, COLOUR], ids=["grey", "colour"])
def test_each_reconstruction_is_below_its_original(images):
    figure = plots.reconstructions(images, 1 - images, "both")
    assert figure.get_suptitle() == "both"
    assert len(figure.axes) == 22
    for axis in figure.axes:
        place = axis.get_subplotspec()
        original = images[place.colspan.start]
        below = place.rowspan.start == 1
        np.testing.assert_array_equal(shown(axis), 1 - original if below else original)
    assert [figure.axes[k].get_ylabel() for k in (0, 11)] == ["original", "reconstruction"]


def test_black_is_0_and_white_is_1_whatever_the_images_hold():
    for figure in (plots.image_grid(GREY / 3), plots.reconstructions(GREY / 3, GREY / 2)):
        for axis in figure.axes:
            for image in axis.images:
                assert image.get_clim() == (0, 1)
                assert image.get_cmap()(0.0)[:3] == (0, 0, 0)
                assert image.get_cmap()(1.0)[:3] == (1, 1, 1)


@pytest.mark.parametrize("shape", [(1, 6, 1), (6, 1, 1), (1, 1, 1)])
def test_images_of_one_row_or_column_are_shown(shape):
    images = np.random.default_rng(3).random((3, *shape))
    for axis, image in zip(plots.image_grid(images).axes, images, strict=True):
        np.testing.assert_array_equal(shown(axis), image)


SERIES = [normal(steps, 2) for steps in (5, 3, 4)]
WORDS = ["a cat sees $x$", "", "two dogs"]


@pytest.mark.parametrize("values", [list(GREY[:3]), list(COLOUR[:3]), SERIES, WORDS])
def test_what_is_drawn_stands_to_the_right_of_the_data(tmp_path, values):
    figure = plots.beside(values[:2], values, "both")
    assert figure.get_suptitle() == "both"
    figure.savefig(tmp_path / "both.png")
    halves = figure.subfigs
    assert [half.get_suptitle() for half in halves] == ["data", "drawn"]
    for half, expected in zip(halves, (values[:2], values), strict=True):
        for axis, value in zip(half.axes, expected, strict=False):
            if isinstance(value, str):
                assert [text.get_text() for text in axis.texts] == [value]
            elif value.ndim == 2:
                lines = np.stack([line.get_ydata() for line in axis.lines], axis=-1)
                np.testing.assert_array_equal(lines, value)
            else:
                np.testing.assert_array_equal(shown(axis), value)


def test_a_grid_of_series_is_of_lines_on_one_scale():
    axes = plots.image_grid(normal(9, 6, 2), 8).axes
    assert axes[0].get_subplotspec().get_gridspec().ncols == 2
    assert all(axis.get_ylim() == axes[0].get_ylim() for axis in axes)
    assert [len(axis.lines) for axis in axes] == [2] * 9 + [0]


# -- the latent space --------------------------------------------------------------------------


def test_two_latents_are_plotted_as_they_are():
    z = normal(60, 2) + np.array([3, -1])
    figure = plots.latent_space(z)
    axis = figure.axes[0]
    np.testing.assert_array_equal(offsets(figure), z)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "$z_2$")
    assert axis.get_title() == "posterior means"
    assert axis.get_legend() is None
    assert plots.latent_space(z, title="mine").axes[0].get_title() == "mine"


def test_one_latent_is_a_line():
    z = normal(60, 1)
    drawn = offsets(plots.latent_space(z))
    np.testing.assert_array_equal(drawn, np.hstack([z, np.zeros((60, 1))]))


@pytest.mark.parametrize("shape", [(3,), (6,), (2, 3)])
def test_more_latents_are_plotted_by_their_principal_components(shape):
    z = normal(60, *shape) * np.random.default_rng(2).uniform(0.1, 3, shape) + 5
    figure = plots.latent_space(z)
    z = z.reshape(60, -1)
    variances, directions = np.linalg.eigh(np.cov(z.T))
    largest_first = np.argsort(variances)[::-1][:2]
    projected = (z - z.mean(axis=0)) @ directions[:, largest_first]
    drawn = offsets(figure)
    signs = np.sign((drawn * projected).sum(axis=0))  # a component's sign is free
    np.testing.assert_allclose(drawn * signs, projected, atol=1e-10)
    axis = figure.axes[0]
    for name, variance in zip(
        (axis.get_xlabel(), axis.get_ylabel()), variances[largest_first], strict=True
    ):
        assert f"({variance / variances.sum():.0%} of the variance)" in name


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS % 3,
        np.where(LABELS < 5, 2, 70),
        np.where(LABELS < 5, "cat", "dog"),
        LABELS[:, np.newaxis],
    ],
    ids=["ten", "three", "with a gap", "words", "a column, as of Keras' CIFAR-10"],
)
def test_the_legend_names_each_label_in_the_colour_of_its_points(labels):
    z = normal(60, 2)
    figure = plots.latent_space(z, labels)
    legend = figure.axes[0].get_legend()
    labels = labels.ravel()
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [str(label) for label in np.unique(labels)]
    assert legend.get_title().get_text() == "label"
    colours = set()
    for scatter, handle, label in zip(
        scatters(figure), legend.legend_handles, np.unique(labels), strict=True
    ):
        np.testing.assert_array_equal(scatter.get_offsets(), z[labels == label])
        np.testing.assert_array_equal(scatter.get_facecolors(), handle.get_facecolors())
        colours.add(scatter.get_facecolors().tobytes())
    assert len(colours) == len(names)


def test_many_labels_have_a_colour_bar_in_place_of_a_legend():
    labels = np.arange(60)
    figure = plots.latent_space(normal(60, 2), labels)
    assert figure.axes[0].get_legend() is None
    _, bar = figure.axes
    assert bar.get_ylabel() == "label"
    (scatter,) = scatters(figure)
    np.testing.assert_array_equal(scatter.get_array(), labels)


# -- the manifold ------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tile_of_the_manifold_is_the_decoded_mean_at_its_normal_quantiles(size, channels):
    height, width = 6, 4
    shape = (height, width, channels)
    vae = VAE(*small_networks(shape=shape))
    for weight in vae.decoder.weights:  # far from 0.5 everywhere, so that no two tiles are alike
        weight.assign(weight * 5)
    axis = plots.manifold(vae, size).axes[0]
    picture = shown(axis)
    assert axis.images[0].origin == "upper"
    rows, columns = height + 2, width + 2  # with the black frame that parts the tiles
    assert picture.shape == (size * rows, size * columns, channels)
    quantile = NormalDist().inv_cdf
    for row in range(size):
        for column in range(size):
            # The vertical axis goes up, as axes do: the first row has the largest z_2.
            z = [quantile((column + 0.5) / size), quantile((size - 1 - row + 0.5) / size)]
            expected = vae.decode(np.array([z], np.float32)).mean()[0]
            tile = picture[row * rows :, column * columns :][:rows, :columns].copy()
            np.testing.assert_allclose(tile[1:-1, 1:-1], expected, atol=1e-5)
            tile[1:-1, 1:-1] = 0
            assert tile.max() == 0
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("$z_1$", "$z_2$")


@pytest.mark.parametrize("size", [2, 9])
def test_the_ticks_of_the_manifold_are_where_its_tiles_have_that_z(vae, size):
    axis = plots.manifold(vae, size).axes[0]
    width = 10
    centres = [(tile + 0.5) * width - 0.5 for tile in range(size)]  # of a tile, in pixels
    quantiles = [NormalDist().inv_cdf((tile + 0.5) / size) for tile in range(size)]
    for ticks, labels, z in (
        (axis.get_xticks(), axis.get_xticklabels(), quantiles),
        (axis.get_yticks(), axis.get_yticklabels(), quantiles[::-1]),
    ):
        assert [label.get_text() for label in labels] == ["-1.96", "-0.67", "0.00", "0.67", "1.96"]
        values = np.array([float(label.get_text()) for label in labels])
        # Probabilities are linear along an axis, and so their line through two tiles has them all.
        line = np.polyfit(centres, [NormalDist().cdf(value) for value in z], 1)
        shares = [NormalDist().cdf(value) for value in values]
        np.testing.assert_allclose(np.polyval(line, ticks), shares, atol=0.002)


@pytest.mark.parametrize(("pixels", "size"), [(8, 12), (16, 20)])
def test_the_manifold_of_small_images_has_fewer_tiles(pixels, size):
    shape = (pixels, pixels, 1)
    axis = plots.manifold(VAE(*small_networks(shape=shape))).axes[0]
    assert shown(axis).shape == (size * (pixels + 2), size * (pixels + 2), 1)


@pytest.mark.parametrize("latent_size", [1, 3])
def test_a_manifold_wants_two_latents(latent_size):
    shape = (4, 4, 1)
    vae = VAE(
        networks.encoder(shape, latent_size, widths=(4,)),
        networks.decoder(latent_size, layers.IndependentBernoulli(shape), widths=(4,)),
    )
    with pytest.raises(InputError, match=rf"two dimensions. Received: \({latent_size},\)"):
        plots.manifold(vae)


@pytest.mark.parametrize("rows", [1, 2, 3, 14])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_latent_space_of_few_points_is_drawn(rows, size, alike):
    z = np.zeros([rows, size]) if alike else np.random.default_rng(0).normal(size=[rows, size])
    figure = plots.latent_space(z, np.arange(rows) % 2)
    figure.canvas.draw()
    drawn = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    assert drawn.shape == (rows, 2)
    assert np.isfinite(drawn).all()


def test_a_notebook_shows_each_figure():
    """IPython asks an object for `_repr_png_`; a bare matplotlib Figure has none without pyplot."""
    images = np.zeros([2, 4, 4, 1])
    for figure in (
        plots.image_grid(images),
        plots.reconstructions(images, images),
        plots.latent_space(np.zeros([2, 2])),
    ):
        assert figure._repr_png_().startswith(b"\x89PNG\r\n")


def test_colours_beyond_0_and_1_are_shown_without_a_word(caplog):
    """The means of a Normal may be; matplotlib says of each that it clips it."""
    images = np.linspace(-1, 2, 2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    for figure in (plots.image_grid(images), plots.reconstructions(images, images)):
        figure.canvas.draw()
    assert caplog.text == ""


def test_codes_in_use_are_shares_in_order_with_a_line_for_each_level():
    figure = plots.codes_in_use([[1, 3, 0], [0, 2, 0]], "codes")
    (axis,) = figure.axes
    drawn = [line.get_ydata().tolist() for line in axis.lines]
    assert drawn == [[0.75, 0.25, 0], [1, 0, 0]]
    named = [text.get_text() for text in axis.get_legend().get_texts()]
    assert named == ["level 1: 2 of 3 codes", "level 2: 1 of 3 codes"]
    assert len(plots.codes_in_use([1, 1]).axes[0].lines) == 1
