"""Layers that are made within a loss, a metric or a call, and the state of those that last."""

import gc

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, layers, networks

tfd = tfp.distributions
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}}
MODES["xla"] = {"jit_compile": True}
X = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
Y = np.random.default_rng(1).normal(size=[8]).astype("float32")


def mixture_loss(y, p):
    return -layers.MixtureNormal(3, [])(p).log_prob(tf.reshape(y, [-1]))


def exact(p, y):
    logits, own = p[:, :3], p[:, 3:].reshape(-1, 3, 2)
    scale = np.logaddexp(0, own[..., 1])
    each = scipy.stats.norm(own[..., 0], scale).logpdf(y[:, None])
    return -scipy.special.logsumexp(each + scipy.special.log_softmax(logits, 1), axis=1).mean()


@pytest.mark.one
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_layer_within_a_loss(mode):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(9)])
    model.compile(keras.optimizers.SGD(0.1), mixture_loss, **mode)
    p = model(X).numpy().astype("float64")
    # rtol: the scale has a floor of its own
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), exact(p, Y), rtol=1e-4)
    losses = model.fit(X, Y, epochs=3, batch_size=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


class Within(keras.layers.Layer):
    """Makes its layers at each call, and draws from them."""

    def call(self, x):
        draw = layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0))(x)
        return tf.convert_to_tensor(draw) + layers.IndependentNormal(2)(tf.zeros([8, 4])).sample()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_draws_of_a_layer_within_a_call_differ_from_step_to_step(mode):
    model = keras.Sequential([keras.Input((2,)), Within()])
    model.compile(loss="mse", **mode)
    a, b = (model.predict(np.zeros([8, 2], "float32"), verbose=0) for _ in range(2))
    assert (a != b).all()
    assert np.isfinite([a, b]).all()


@pytest.mark.one
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_global_seed_makes_them_repeatable(jit_compile):
    def run():
        keras.utils.set_random_seed(3)

        @tf.function(jit_compile=jit_compile, autograph=False)
        def draw():
            return layers.IndependentNormal(2)(tf.zeros([8, 4])).sample()

        first = draw().numpy()
        gc.collect()  # the layer of the trace is gone, and its state is in use
        assert draw.get_concrete_function().variables
        return first, draw().numpy()

    (a, b), (c, d) = run(), run()
    np.testing.assert_array_equal([a, b], [c, d])
    assert (a != b).all()


def test_draws_have_their_distribution():
    draw = tf.function(lambda: layers.IndependentNormal(1)(tf.zeros([500, 2])).sample())
    values = np.concatenate([draw().numpy().ravel() for _ in range(20)])
    assert scipy.stats.kstest(values, scipy.stats.norm(0, np.log(2)).cdf).pvalue > 1e-3


MADE_IN = {
    "metric": {"loss": "mse", "metrics": [lambda y, p: mixture_loss(y, tf.tile(p, [1, 9]))]},
    "loss": {"loss": lambda y, p: mixture_loss(y, tf.tile(p, [1, 9]))},
}


@pytest.mark.one
@pytest.mark.parametrize("where", MADE_IN.values(), ids=MADE_IN)
def test_several_steps_per_execution(where):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", steps_per_execution=2, jit_compile=False, **where)
    assert np.isfinite(model.fit(X, Y, batch_size=2, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("bayesian", [layers.DenseFlipout, layers.DenseReparameterization])
def test_a_bayesian_layer_makes_its_state_once_it_is_built(bayesian):
    layer = bayesian(2, seed=1)
    assert layer.variables == []
    layer.build((None, 2))
    assert [v.name for v in layer.variables].count("seed_generator_state") == 1


def test_the_state_of_a_layer_that_lasts_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.IndependentNormal(2)])
    x = np.zeros([8, 4], "float32")
    model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_seeds_are_those_of_the_order_of_making():
    """A seed is taken when the layer is made, not when it is first used."""
    keras.utils.set_random_seed(0)
    a, b = layers.IndependentNormal(1), layers.IndependentNormal(1)
    keras.utils.set_random_seed(0)
    c, d = layers.IndependentNormal(1), layers.IndependentNormal(1)
    t = np.zeros([3, 2], "float32")
    late, early = b(t).numpy(), a(t).numpy()
    np.testing.assert_array_equal([early, late], [c(t).numpy(), d(t).numpy()])


OF_KERAS = {
    "dropout": lambda: [keras.layers.Dropout(0.5)],
    "noise": lambda: [keras.layers.GaussianNoise(1.0)],
    "recurrent": lambda: [keras.layers.Reshape((4, 16)), keras.layers.GRU(8, dropout=0.5)],
    "two": lambda: [keras.layers.Dropout(0.5), keras.layers.GaussianDropout(0.3)],
}


@pytest.mark.one
@pytest.mark.parametrize("make", OF_KERAS.values(), ids=OF_KERAS)
def test_a_loaded_model_goes_on_with_the_noise_of_keras_own_layers(make, x, tmp_path):
    encoder = keras.Sequential([
        keras.Input((8, 8, 1)), keras.layers.Flatten(), *make(), keras.layers.Dense(4),
        layers.IndependentNormal(2),
    ])  # fmt: skip
    vae = VAE(encoder, networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), widths=(8,)))
    vae.compile("adam", jit_compile=False)
    vae.fit(x, verbose=0, shuffle=False)
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    for model in (vae, again):
        model.fit(x, verbose=0, shuffle=False)
    for ours, theirs in zip(vae.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-7)
