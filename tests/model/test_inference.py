"""Large batches go through one compiled function: the same figures as layer by layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, layers, networks
from tfp_vae.bridge.marginals import unit_normal
from tfp_vae.model import inference

X = (np.random.default_rng(0).random((1200, 6)) < 0.5).astype(np.float32)
LABELS = np.arange(1200, dtype=np.int32) % 3


def decoder(num_classes=None):
    return networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,), num_classes=num_classes)


def with_dropout():
    """Its rows are the same each time only outside of training."""
    hidden = [keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    end = [keras.layers.Dense(4), layers.IndependentNormal(2)]
    return VAE(keras.Sequential([keras.Input((6,)), *hidden, *end]), decoder())


def with_added_loss():
    end = [keras.layers.Dense(4), layers.IndependentNormal(2)]
    kl = layers.KLDivergenceAddLoss(unit_normal(2))
    return VAE(keras.Sequential([keras.Input((6,)), *end, kl]), decoder())


def nested():
    x = keras.Input((6,), name="x")
    return VAE(keras.Model(x, networks.encoder((6,), 2, widths=(8,))(x)), decoder())


def quantized():
    """Its layer behaves otherwise in training."""
    codebook = layers.VectorQuantized(2, num_codes=5)
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2), codebook])
    return VAE(encoder, decoder())


def in_half_precision():
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        return VAE(networks.encoder((6,), 2), decoder())
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


CASES = {  # how the model is made, its data, and whether encoder and decoder are compiled
    "perceptron": (lambda: VAE(networks.encoder((6,), 2), decoder()), X, True, True),
    "with a condition": (
        lambda: VAE(networks.encoder((6,), 2, num_classes=3), decoder(3)),
        {"x": X, "label": LABELS},
        True,
        True,
    ),
    "layers that differ in training": (with_dropout, X, True, True),
    "a codebook that follows its data": (quantized, X, True, True),
    "bfloat16 but for the distributions": (in_half_precision, X, True, True),
    "ends in an added loss": (with_added_loss, X, False, True),
    "ends in another model": (nested, X, False, True),
}


@pytest.mark.again
@pytest.mark.parametrize("name", CASES)
def test_a_large_batch_is_what_its_rows_are(name):
    make, data, *compiled = CASES[name]
    keras.utils.set_random_seed(0)
    vae = make()
    some = {key: v[:50] for key, v in data.items()} if isinstance(data, dict) else data[:50]
    weights = [w.numpy() for w in vae.weights if "seed" not in w.path]

    close = {"rtol": 1e-2, "atol": 2e-3} if "bfloat16" in name else {"rtol": 1e-5, "atol": 1e-6}
    whole, part = (vae.representative(vae.encode(d)) for d in (data, some))
    np.testing.assert_allclose(whole[:50], part, **close)
    given = {"conditions": LABELS} if isinstance(data, dict) else {}
    first = {"conditions": LABELS[:50]} if given else {}
    decoded = vae.decode(whole, **given).mean()
    np.testing.assert_allclose(decoded[:50], vae.decode(part, **first).mean(), **close)
    runs = (vae.graph.posteriors["z"].inference, vae.graph.likelihoods["x"].inference)
    assert [run._run is not None for run in runs] == compiled
    for before, after in zip(
        weights, [w for w in vae.weights if "seed" not in w.path], strict=True
    ):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.one
def test_many_reconstructions_and_draws_are_those_of_the_plain_path(name):
    make, data, *_ = CASES[name]
    keras.utils.set_random_seed(0)
    vae = make()
    close = {"rtol": 1e-2, "atol": 5e-3} if "bfloat16" in name else {"rtol": 1e-5, "atol": 1e-6}
    some = {key: v[:50] for key, v in data.items()} if isinstance(data, dict) else data[:50]
    np.testing.assert_allclose(vae.reconstruct(data)[:50], vae.reconstruct(some), **close)
    given = {"label": LABELS} if isinstance(data, dict) else {}
    for mean in (True, False):
        many = vae.sample(1200, mean, seed=3, conditions=LABELS if given else None)
        plain = vae.answers._draw(1200, tf.constant([3, 0]), given, mean, None)["x"]
        differ = np.abs(many - plain) > close["atol"] + close["rtol"]
        assert differ.mean() <= (0 if mean else 1e-3)  # a draw may fall to the other side
        other = vae.sample(1200, mean, seed=4, conditions=LABELS if given else None)
        assert np.abs(many - other).max() > 0.01
    assert vae.answers.draw_many.experimental_get_tracing_count() == 2  # means, and draws
    assert vae.answers.means_of_many.experimental_get_tracing_count() == 1
    vae.compile("adam")  # what a layer added to the losses in a graph is not in the way
    assert np.isfinite(vae.evaluate(data, verbose=0)).all()
    np.testing.assert_allclose(vae.reconstruct(some), vae.reconstruct(data)[:50], **close)


def test_weights_that_change_are_followed_and_gradients_reach_them():
    vae = VAE(networks.encoder((6,), 2, widths=(8,)), decoder())
    before = vae.encode(X).mean().numpy()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(vae.encode(X).mean())
    weight = vae.encoder.trainable_weights[0]
    assert np.abs(tape.gradient(total, weight.value)).max() > 0
    weight.assign(weight + 1.0)
    after = vae.encode(X).mean().numpy()
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after[:50], vae.encode(X[:50]).mean(), rtol=1e-5, atol=1e-6)


def test_a_small_batch_compiles_nothing():
    vae = VAE(networks.encoder((6,), 2, widths=(8,)), decoder())
    vae.encode(X[: inference.ROWS - 1])
    assert vae.graph.posteriors["z"].inference._run is None


def test_evaluation_counts_what_the_decoder_adds_to_the_loss():
    """Which has no place in what a model is used for, but is part of its loss."""
    kl = layers.KLDivergenceRegularizer(unit_normal(6))
    end = [keras.layers.Dense(12), layers.IndependentNormal(6, activity_regularizer=kl)]
    vae = VAE(networks.encoder((6,), 2), keras.Sequential([keras.Input((2,)), *end]))
    vae.compile("adam")
    found = vae.evaluate(X, batch_size=1200, verbose=0, return_dict=True)
    assert found["loss"] > found["nll"] + found["kl"] + 0.1
