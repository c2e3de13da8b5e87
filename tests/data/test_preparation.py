"""What a run makes of its data where nothing is said: bits, columns of any unit, watched rows."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits, load_sample_images, load_wine

from tfp_vae import VAE, data, layers, networks, recipes
from tfp_vae.app import preparation
from tfp_vae.errors import InputError
from tfp_vae.evaluation.baselines import baseline
from tfp_vae.layers.rescaled import Rescaled, Scale
from tfp_vae.recipes.base import LIKELIHOODS
from tfp_vae_cli.options import DataOptions

SCALE = Scale([700.0, -3e-9, 0.0], [300.0, 1e-9, 1.0])


# -- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [layers.IndependentNormal, layers.IndependentLogistic, layers.Laplace, layers.StudentT,
             layers.SharedScale]
)  # fmt: skip
def test_a_rescaled_density_is_the_other_by_the_change_of_variables(make):
    inner = make(3)
    params = tf.random.stateless_normal([5, inner.num_parameters], [0, 1])
    base = inner.make_distribution(params)
    layer = Rescaled(inner, *SCALE)
    p = layer(params)
    loc, scale = np.array(SCALE.loc), np.array(SCALE.scale)
    u = base.sample(seed=[1, 2]).numpy()
    expected = base.log_prob(u) - np.log(scale).sum()
    np.testing.assert_allclose(p.log_prob((loc + scale * u).astype("float32")), expected, rtol=1e-4)
    np.testing.assert_allclose(p.mean(), loc + scale * base.mean(), rtol=1e-5)
    np.testing.assert_allclose(p.stddev(), scale * base.stddev(), rtol=1e-5)
    np.testing.assert_allclose(
        p.sample(seed=[3, 4]), loc + scale * base.sample(seed=[3, 4]), rtol=1e-4
    )
    again = Rescaled.from_config(layer.get_config())
    np.testing.assert_allclose(again(params).log_prob(p.mean()), p.log_prob(p.mean()), rtol=1e-6)


def test_a_rescaled_mean_of_a_likelihood_without_a_scale_is_refused():
    with pytest.raises(InputError, match=r"a location and a scale.*IndependentPoisson"):
        Rescaled(layers.IndependentPoisson(1), [0.0], [1.0])(tf.zeros([1, 1]))
    with pytest.raises(InputError, match="scales above 0"):
        Rescaled(layers.IndependentNormal(1), [0.0], [0.0])


def test_the_scale_is_that_of_each_column_and_of_a_constant_one():
    x = np.array([[1e9, 5.0, 1e-12], [3e9, 5.0, 3e-12]], "float32")
    scale = Scale.of(x)
    np.testing.assert_allclose(scale.loc, [2e9, 5.0, 2e-12], rtol=1e-6)
    np.testing.assert_allclose(scale.scale, [1e9, 1.0, 1e-12], rtol=1e-6)
    np.testing.assert_allclose(scale.to_standard()(x), [[-1, 0, -1], [1, 0, 1]], atol=1e-3)


def wine(tmp_path) -> data.Examples:
    np.save(tmp_path / "wine.npy", load_wine().data)
    return data.load(str(tmp_path / "wine.npy"))


def of_wine(images, **options) -> tuple[VAE, preparation.Preparation]:
    choice = preparation.prepared(images, DataOptions(**options))
    setting = recipes.Setting(
        images.shape, len(images.train), latent_size=4, widths=(64,), scale=choice.scale,
        usual_likelihood=LIKELIHOODS[choice.likelihood],
    )  # fmt: skip
    return recipes.build("vae", setting), choice


@pytest.mark.again
def test_raw_wine_is_modelled_better_than_one_gaussian_a_column_does(tmp_path):
    images = wine(tmp_path)
    vae, choice = of_wine(images)
    assert choice.scale is not None
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(images.train, epochs=150, batch_size=160, verbose=0)
    normal = layers.IndependentNormal(13)
    gaussians = baseline(normal(tf.zeros([2, 26])), images.train, normal)
    bar = gaussians.nll(images.test).mean()
    assert bar == pytest.approx(26.0, abs=0.1)
    assert vae.evaluate(images.test, verbose=0, return_dict=True)["loss"] < bar
    assert -np.mean(vae.log_likelihood(images.test)) < bar - 1
    drawn = vae.sample(200, seed=0).numpy()
    np.testing.assert_allclose(drawn.mean(0), images.train.mean(0), rtol=0.2, atol=0.2)
    path = tmp_path / "wine.keras"  # the numbers of the scale are in the model
    vae.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_allclose(again.reconstruct(images.test), vae.reconstruct(images.test), 1e-5)


def test_every_recipe_takes_columns_of_any_unit(tmp_path):
    images = wine(tmp_path)
    scale = Scale.of(images.train)
    for name in ("vamp_prior_vae", "ae", "two_stage_vae", "conditional_vae"):
        setting = recipes.Setting(
            images.shape,
            160,
            latent_size=2,
            widths=(4,),
            scale=scale,
            num_classes=3,
            usual_likelihood=layers.IndependentNormal,
        )
        vae = recipes.build(name, setting)
        label = np.arange(18, dtype="int32") % 3
        mean = vae.reconstruct({"x": images.test, "label": label}).numpy()
        assert np.abs((mean - scale.loc) / scale.scale).max() < 10
        if name == "vamp_prior_vae":  # its pseudo-inputs are among the data
            u = vae.prior.pseudo_inputs.numpy()
            assert np.abs((u - scale.loc) / scale.scale).max() <= 1.001


@pytest.mark.parametrize(
    ("x", "options", "scaled", "likelihood"),
    [
        ([[700.0], [1.0]], {}, True, "student_t"),
        ([[1.0], [-1.0]], {}, False, "normal"),
        ([[1.0], [-1.0]], {"standardize": True}, True, "student_t"),
        ([[700.0], [1.0]], {"standardize": False}, False, "normal"),
        ([[1e-6], [2e-6]], {}, True, "student_t"),
        ([[700.0], [1.0]], {"likelihood": "laplace"}, True, "student_t"),
        ([[0.7], [0.1]], {"likelihood": "bernoulli"}, False, "normal"),
        ([[700], [1]], {}, False, "negative_binomial"),
    ],
)
def test_columns_of_a_unit_of_their_own_are_standardized(x, options, scaled, likelihood):
    x = np.array(x)
    x = x.astype("int32" if x.dtype.kind == "i" else "float32")
    choice = preparation.prepared(data.Examples("x", x, x), DataOptions(**options))
    assert (choice.scale is not None, choice.likelihood) == (scaled, likelihood)
    said = preparation.said(data.Examples("x", x, x), choice, layers.StudentT(1))
    assert ("standardized inside the model, under StudentT" in said) == scaled


def test_what_has_no_scale_is_not_standardized():
    x = np.ones([2, 2], "int32")
    with pytest.raises(InputError, match="counts under negative_binomial"):
        preparation.prepared(data.Examples("x", x, x), DataOptions(standardize=True))


# -- pixels ------------------------------------------------------------------------------------


def photographs(grey: bool) -> np.ndarray:
    """Pieces of scikit-learn's two photographs."""
    pieces = [image[i : i + 64, j : j + 64] for image in load_sample_images().images
              for i in range(0, 384, 64) for j in range(0, 640, 64)]  # fmt: skip
    x = np.stack(pieces)
    return x.mean(-1, keepdims=True).astype("uint8") if grey else x


def framed(x: np.ndarray) -> np.ndarray:
    return np.pad(x, [(0, 0), (32, 32), (32, 32), (0, 0)])


def bits(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, [30, 8, 8, channels]).astype("uint8") * 255


def digits() -> np.ndarray:
    return np.round(load_digits().images * 255 / 16).astype("uint8")[..., None]


KINDS = {
    "digits": (digits, True),
    "white digits": (lambda: 255 - digits(), True),
    "bits": (lambda: bits(1), True),
    "bits in colour": (lambda: bits(3), True),
    "photographs": (lambda: photographs(False), False),
    "grey photographs": (lambda: photographs(True), False),
    "even greys": (lambda: np.arange(256, dtype="uint8").reshape(4, 8, 8, 1), False),
    "photographs on black": (lambda: framed(photographs(True)), False),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_pixels_are_binarized_where_a_bernoulli_suits_them(name):
    make, drawn = KINDS[name]
    x = make()
    choice = preparation.prepared(data.Examples(name, x, x), DataOptions())
    assert choice.binarize == ("dynamic" if drawn else "none")
    assert choice.likelihood == ("bernoulli" if drawn else "shared_normal")
    said = preparation.said(data.Examples(name, x, x), choice, layers.SharedScale(1))
    if not drawn:
        assert "as they are, in 0..1, under SharedScale" in said
    elif "bits" in name:
        assert said == ""  # nothing is done to them
    else:
        assert "binarized, drawn as 0 or 1" in said


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("digits", {"binarize": "none"}, ("none", "bernoulli")),
        ("digits", {"binarize": "fixed"}, ("fixed", "bernoulli")),
        ("digits", {"likelihood": "normal"}, ("none", "bernoulli")),
        ("digits", {"likelihood": "bernoulli"}, ("dynamic", "bernoulli")),
        ("photographs", {"binarize": "dynamic"}, ("dynamic", "bernoulli")),
        ("photographs", {"likelihood": "bernoulli"}, ("dynamic", "shared_normal")),
        ("photographs", {"binarize": "none"}, ("none", "shared_normal")),
    ],
)
def test_what_is_said_comes_before_what_the_data_suggest(name, options, expected):
    x = KINDS[name][0]()
    choice = preparation.prepared(data.Examples(name, x, x), DataOptions(**options))
    assert (choice.binarize, choice.likelihood) == expected


def test_looking_at_bytes_takes_no_more_than_bytes():
    x = np.zeros([500, 32, 32, 3], np.uint8)
    tracemalloc.start()
    preparation.looks_drawn(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes


# -- rows to watch -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "held"),
    [(1, 0), (19, 0), (20, 1), (45, 2), (1500, 75), (60_000, 3000), (10**6, 5000)],
)
def test_a_share_of_the_rows_is_watched(count, held):
    x = np.broadcast_to(np.uint8(0), (count, 1, 1, 1))
    mask = preparation.watched(data.Examples("x", x, x))
    assert (mask.shape, mask.sum()) == ((count,), held)
    np.testing.assert_array_equal(mask, preparation.watched(data.Examples("x", x, x)))
    assert not preparation.watched(data.Examples("x", x, x, validation=x)).any()
    if held > 10:  # a file may be sorted
        assert mask[: count // 2].any()
        assert mask[count // 2 :].any()


def test_a_network_may_begin_with_a_layer_of_ones_own():
    first = keras.layers.Rescaling(2.0)
    for classes in (None, 3):
        encoder = networks.encoder((2,), 2, widths=(3,), num_classes=classes, first=first)
        assert first in encoder.layers
