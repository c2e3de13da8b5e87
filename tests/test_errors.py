"""Bad input: one clear error, what was expected and what was received, before any training."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import command, small_networks

from tfp_vae import IWAE, VAE, InputError, layers, networks, priors

ZEROS = np.zeros([4, 8, 8, 1], "float32")


def dense(n, *shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(n)])


def pair(**changed):
    encoder, decoder = small_networks()
    return {"encoder": encoder, "decoder": decoder, **changed}


CONSTRUCTIONS = {
    "encoder without distribution": (
        lambda: pair(encoder=dense(2, 8, 8, 1)),
        "encoder is expected to end in a distribution layer.*IndependentNormal.*Received.*Dense",
    ),
    "decoder without distribution": (
        lambda: pair(decoder=dense(64, 2)),
        "decoder is expected to end in a distribution layer.*IndependentBernoulli.*Received.*Dense",
    ),
    "encoder of unknown input": (
        lambda: pair(
            encoder=keras.Sequential([keras.layers.Dense(4), layers.IndependentNormal(2)])
        ),
        r"starts with keras\.Input",
    ),
    "encoder that is no model": (
        lambda: pair(encoder=3),
        "encoder is expected to be .*Received: 3",
    ),
    "latent sizes": (
        lambda: pair(decoder=small_networks(3)[1]),
        r"latent shape \(2,\).*Received: a decoder that takes \(3,\)",
    ),
    "two KL terms": (
        lambda: pair(
            encoder=keras.Sequential(
                [*small_networks()[0].layers, layers.KLDivergenceAddLoss(priors.unit_normal(2))]
            )
        ),
        "at most one KL term|starts with keras",
    ),
    "prior that is none": (lambda: pair(prior=3), r"Expected a prior.*Received: 3|one place"),
}


@pytest.mark.parametrize(("make", "message"), CONSTRUCTIONS.values(), ids=CONSTRUCTIONS.keys())
def test_a_wrong_model_is_refused_when_it_is_made(make, message):
    with pytest.raises((InputError, TypeError), match=message):
        VAE(**make())


DATA = {
    "rank": (np.zeros([4, 64], "float32"), r"shape \(batch, 8, 8, 1\).*Received: \(4, 64\)"),
    "size": (
        np.zeros([4, 9, 9, 1], "float32"),
        r"shape \(batch, 8, 8, 1\).*Received: \(4, 9, 9, 1",
    ),
    "pixels in 0..255": (ZEROS + 255, r"support, 0 to 1.*Divide pixels by 255.*255 to 255"),
    "negative": (ZEROS - 1, r"support, 0 to 1\. Received: values from -1 to -1"),
    "NaN": (ZEROS * np.nan, "known entry in each row of x.*4 rows of NaN"),
    "infinite": (ZEROS + np.inf, "finite numbers"),
    "empty": (ZEROS[:0], "at least one example"),
    "text": (np.full([4, 8, 8, 1], "a"), "Expected numbers"),
    "empty dataset": (tf.data.Dataset.from_tensor_slices(ZEROS).take(0), "at least one example"),
    "dataset of 0..255": (tf.data.Dataset.from_tensor_slices(ZEROS + 255).batch(2), "support"),
    "dataset of NaN": (tf.data.Dataset.from_tensor_slices(ZEROS * np.nan).batch(2), "known entry"),
    "generator": ((batch for batch in [ZEROS + 255]), "support"),
}


@pytest.mark.parametrize(("x", "message"), DATA.values(), ids=DATA.keys())
def test_wrong_data_are_refused_before_training(x, message):
    vae = VAE(*small_networks())
    vae.compile("adam")
    before = vae.get_weights()
    with pytest.raises(InputError, match=message):
        vae.fit(x, verbose=0)
    for old, new in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("use", ["evaluate", "encode", "log_likelihood"])
@pytest.mark.parametrize("key", ["rank", "pixels in 0..255", "NaN"])
def test_wrong_data_are_refused_wherever_data_go_in(use, key):
    vae = VAE(*small_networks())
    vae.compile("adam")
    x, message = DATA[key]
    with pytest.raises(InputError, match=message):
        getattr(vae, use)(x)


@pytest.mark.parametrize("validation", [(ZEROS + 255,), (ZEROS + 255, None), ZEROS + 255])
def test_wrong_validation_data_are_refused_before_training(validation):
    vae = VAE(*small_networks())
    vae.compile("adam")
    with pytest.raises(InputError, match="validation_data within the likelihood's support"):
        vae.fit(ZEROS, validation_data=validation, verbose=0)


def test_wrong_targets_are_refused_before_training():
    vae = VAE(*small_networks())
    vae.compile("adam")
    with pytest.raises(InputError, match=r"targets of x of shape \(batch, 8, 8, 1\)"):
        vae.fit(ZEROS, np.zeros([4, 10]), verbose=0)


def test_a_loss_given_to_compile_is_refused():
    vae = VAE(*small_networks())
    vae.compile("adam", loss="mse")
    with pytest.raises(InputError, match=r"objective.*Received: loss='mse'"):
        vae.fit(ZEROS, verbose=0)


def test_a_likelihood_over_less_than_an_example_is_refused():
    encoder, _ = small_networks()
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(64),
            keras.layers.Reshape((8, 8, 1)),
            layers.IndependentBernoulli(1),
        ]
    )
    with pytest.raises(InputError, match=r"event shape.*\(8, 8, 1\).*Received: event shape \(1,\)"):
        VAE(encoder, decoder)


@pytest.mark.parametrize(("n", "batch"), [(0, 4), (4, 0)])
def test_impossible_numbers_of_samples(n, batch):
    with pytest.raises(InputError, match=r"(num_samples|batch_size) >= 1"):
        VAE(*small_networks()).log_likelihood(ZEROS, n, batch)
    with pytest.raises(ValueError, match="num_samples >= 1"):
        IWAE(0)


@pytest.mark.parametrize("body", ["mlp", "conv"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (9, 13, 3)])
def test_bodies_fit_images_of_any_size(body, shape):
    encoder = networks.encoder(shape, 3, body, (4, 8))
    decoder = networks.decoder(3, layers.IndependentBernoulli(shape), body, (4, 8))
    vae = VAE(encoder, decoder)
    assert vae.reconstruct(np.zeros([2, *shape], "float32")).shape == (2, *shape)


@pytest.mark.one
@pytest.mark.parametrize("backend", ["jax", "torch", "nonsense"])
def test_another_backend_is_refused_in_words(backend):
    done = command([sys.executable, "-c", "import tfp_vae"], KERAS_BACKEND=backend)
    assert done.returncode != 0
    assert "KERAS_BACKEND=tensorflow" in done.stderr
    assert f"backend={backend!r}" in done.stderr


@pytest.mark.one
@pytest.mark.parametrize("layer", [layers.OneHotCategorical, layers.MixtureNormal])
def test_a_posterior_that_passes_no_gradient_is_refused_before_training(layer, x):
    arguments = (2, 2) if layer is layers.MixtureNormal else (2,)
    size = layer.params_size(*arguments)
    flat = keras.layers.Flatten()
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), flat, keras.layers.Dense(size), layer(*arguments)]
    )
    vae = VAE(encoder, small_networks()[1])
    vae.compile("adam")
    with pytest.raises(InputError, match=r"reparameterized.*Received"):
        vae.fit(x, verbose=0)


def straight_through(q):
    return q.probs_parameter() + tf.stop_gradient(q.sample() - q.probs_parameter())


@pytest.mark.parametrize("samples", [1, 3])
def test_a_draw_of_ones_own_is_one_draw(samples, x):
    """Several are sampled, without the gradient that the function carries."""
    posterior = layers.OneHotCategorical(4, straight_through)
    encoder = networks.encoder((8, 8, 1), posterior, widths=(8,))
    vae = VAE(encoder, small_networks(4)[1], objective=IWAE(samples))
    if samples > 1:
        with pytest.raises(InputError, match=r"reparameterized.*Received"):
            vae(x, training=True)
        return
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(vae(x, training=True).log_prob(x))
    assert all(np.any(g) for g in tape.gradient(loss, encoder.trainable_weights))
