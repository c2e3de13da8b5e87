"""The variational Gaussian process layer against exact Gaussian process regression."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python

from tfp_vae import layers
from tfp_vae.errors import InputError

psd = tfp.math.psd_kernels
NOISE = 0.3**2


@keras.saving.register_keras_serializable(package="tests")
class Kernel(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.amplitude = self.add_weight(shape=(), initializer="zeros", name="amplitude")
        self.length_scale = self.add_weight(shape=(), initializer="zeros", name="length_scale")

    @property
    def kernel(self):
        return psd.ExponentiatedQuadratic(tf.exp(self.amplitude), tf.exp(self.length_scale))


def k(a, b):
    """What `Kernel` is before training: amplitude and length scale 1."""
    return np.exp(-((a[:, None, 0] - b[None, :, 0]) ** 2) / 2)


def layer_of(inducing, **kwargs):
    noise = keras.initializers.Constant(np.log(np.expm1(NOISE)))
    kwargs.setdefault("unconstrained_observation_noise_variance_initializer", noise)
    return layers.VariationalGaussianProcess(
        len(inducing),
        Kernel(dtype="float64"),
        inducing_index_points_initializer=keras.initializers.Constant(inducing),
        **kwargs,
    )


@pytest.fixture(name="data")
def _data():
    rng = np.random.default_rng(0)
    x = np.linspace(-8, 8, 12)[:, None] + rng.uniform(-0.3, 0.3, [12, 1])
    return x, np.sin(x) + 0.3 * rng.normal(size=[12, 1])


@pytest.fixture(autouse=True)
def _float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def optimal(x, y):
    """The layer whose inducing points are the data, at the best q(u): the exact posterior."""
    layer = layer_of(x)
    layer.build((None, 1))
    gram = k(x, x) + 1e-6 * np.eye(len(x))
    weights = np.linalg.solve(gram + NOISE * np.eye(len(x)), np.column_stack([y, gram]))
    loc, covariance = gram @ weights[:, 0], gram - gram @ weights[:, 1:]
    scale = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(x)))
    layer.variational_inducing_observations_loc.assign(loc[None])
    layer.variational_inducing_observations_scale.assign(scale[None])
    return layer


def test_with_the_data_as_inducing_points_it_is_exact_regression(data):
    x, y = data
    new = np.linspace(-9, 9, 9)[:, None]
    f = optimal(x, y)(new)
    solved = np.linalg.solve(k(x, x) + NOISE * np.eye(12), np.column_stack([y, k(x, new)]))
    np.testing.assert_allclose(f.mean()[:, 0], k(new, x) @ solved[:, 0], atol=1e-4)
    exact = np.diag(k(new, new) - k(new, x) @ solved[:, 1:]) + NOISE
    np.testing.assert_allclose(f.variance()[:, 0], exact, atol=1e-4)
    np.testing.assert_allclose(f.stddev() ** 2, f.variance())


def test_the_variational_loss_is_then_the_negative_log_marginal_likelihood(data):
    x, y = data
    f = optimal(x, y)(x)
    marginal = scipy.stats.multivariate_normal(cov=k(x, x) + NOISE * np.eye(12)).logpdf(y[:, 0])
    np.testing.assert_allclose(f.variational_loss(y), -marginal, atol=1e-3)
    np.testing.assert_allclose(f.variational_loss(y[:, 0]), f.variational_loss(y))
    kl = f.surrogate_posterior_kl_divergence_prior()
    difference = f.variational_loss(y) - f.variational_loss(y, kl_weight=0.5)
    np.testing.assert_allclose(difference, kl / 2, rtol=1e-5)


def test_draws_have_the_mean_and_the_covariance(data):
    x, y = data
    f = optimal(x, y)(np.array([[0.0], [0.1], [3.5]]))
    draws = f.sample(20_000).numpy()[..., 0]
    np.testing.assert_allclose(draws.mean(axis=0), f.mean()[:, 0], atol=0.03)
    np.testing.assert_allclose(draws.std(axis=0), f.stddev()[:, 0], atol=0.03)
    assert np.corrcoef(draws.T)[0, 1] > np.corrcoef(draws.T)[0, 2]


def test_log_prob_is_a_multivariate_normal(data):
    x, y = data
    f = optimal(x, y)(x)
    process = f.tensor_distribution.process
    normal = scipy.stats.multivariate_normal(process.mean()[0], process.covariance()[0])
    np.testing.assert_allclose(f.log_prob(y), normal.logpdf(y[:, 0]), rtol=1e-4)


def model_of(**kwargs):
    inducing = np.linspace(-8, 8, 6)[:, None]
    return keras.Sequential([keras.Input((1,)), layer_of(inducing, **kwargs)])


@pytest.mark.again
@pytest.mark.parametrize(
    ("mode", "epochs"),
    [
        pytest.param({"jit_compile": True}, 15, id="xla", marks=pytest.mark.again),
        pytest.param({"jit_compile": False}, 15, id="graph"),
        pytest.param({"run_eagerly": True}, 5, id="eager"),
    ],
)
def test_it_trains_in_every_mode_with_a_partial_last_batch(data, mode, epochs):
    x, y = (np.tile(part, [4, 1]) for part in data)
    model = model_of()
    model.compile(
        keras.optimizers.Adam(0.05),
        loss=lambda y, f: f.variational_loss(y, kl_weight=20 / 48),
        **mode,
    )
    before = [w.numpy() for w in model.trainable_weights]
    losses = model.fit(x, y, batch_size=20, epochs=epochs, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 1
    for w, start in zip(model.trainable_weights, before, strict=True):
        assert np.abs(w.numpy() - start).max() > 0, w.path


def test_options(data):
    x, _ = data
    free = model_of(unconstrained_observation_noise_variance_initializer=None)
    assert len(free.trainable_weights) == len(model_of().trainable_weights) - 1
    given = model_of(mean_fn=lambda x: 3.0 * x[..., 0])
    assert len(given.trainable_weights) == len(free.trainable_weights)
    far = np.array([[50.0]])
    np.testing.assert_allclose(given(far).mean(), [[150.0]])
    several = layer_of(x, event_shape=3, convert_to_tensor_fn="mean")
    assert several(x).event_shape == [12, 3]
    assert several(x).shape == (12, 3)


@pytest.mark.parametrize("provider", [keras.layers.Layer(), psd.Linear()])
def test_a_provider_without_a_kernel_is_refused_in_words(provider):
    with pytest.raises(InputError, match=r"property `kernel`.*Received"):
        layers.VariationalGaussianProcess(3, provider)


@pytest.mark.again
def test_it_reloads_and_serves_in_a_fresh_process(data, tmp_path):
    x, _ = data
    model = model_of(seed=3)
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "exported", verbose=False)
    np.savez(tmp_path / "known.npz", x=x, draw=model.predict(x, verbose=0))
    code = f"""
import sys
sys.path[:0] = ["tests/layers", "tests"]
import keras, numpy as np, tensorflow as tf
import test_gaussian_process  # where the kernel is registered
keras.config.set_floatx("float64")
known = np.load("{tmp_path}/known.npz")
model = keras.models.load_model("{tmp_path}/m.keras", safe_mode=True)
np.testing.assert_array_equal(model.predict(known["x"], verbose=0), known["draw"])
served = tf.saved_model.load("{tmp_path}/exported")
np.testing.assert_allclose(served.serve(known["x"]), known["draw"], rtol=1e-6)
print("same")
"""
    assert python(code).split() == ["same"]


def test_against_tfp_layers_where_tf_keras_is_installed(data):
    tf_keras = pytest.importorskip("tf_keras", reason="tfp.layers needs tf_keras")

    class TheirKernel(tf_keras.layers.Layer):
        kernel = psd.ExponentiatedQuadratic(np.float64(1), np.float64(1))

    x, y = data
    constant = tf_keras.initializers.constant
    theirs = tfp.layers.VariationalGaussianProcess(
        12,
        TheirKernel(dtype="float64"),
        inducing_index_points_initializer=constant(x),
        unconstrained_observation_noise_variance_initializer=constant(np.log(np.expm1(NOISE))),
        variational_inducing_observations_scale_initializer=constant(0.3 * np.eye(12)),
    )
    ours = layer_of(
        x,
        variational_inducing_observations_scale_initializer=keras.initializers.Constant(
            0.3 * np.eye(12)
        ),
    )
    mine, reference = ours(x), theirs(tf.constant(x))
    np.testing.assert_allclose(mine.mean(), reference.mean(), atol=1e-8)
    np.testing.assert_allclose(mine.log_prob(y), reference.log_prob(y), rtol=1e-6)
    # Theirs has the noise in the variance of f too: noise / (2 noise) for each of 12 points.
    np.testing.assert_allclose(
        mine.variational_loss(y, 0.5), reference.variational_loss(y, 0.5) - 6.0, rtol=1e-6
    )


@pytest.mark.again
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_the_loss_in_a_function_whatever_the_dtypes(dtype, floatx):
    """As in TFP's tutorial on regression: the kernel in one dtype, Keras' floatx in another."""
    keras.config.set_floatx(floatx)
    try:
        kernel = Kernel(dtype=dtype)
        layer = layers.VariationalGaussianProcess(
            4,
            kernel,
            inducing_index_points_initializer=keras.initializers.Constant(
                np.linspace(-1, 1, 4)[:, None]
            ),
        )
        model = keras.Sequential([keras.Input((1,)), layer])
        x = np.linspace(-1, 1, 16)[:, None]
        y = np.sin(3 * x[:, 0])
        exact = layer(x).variational_loss(y, kl_weight=0.5)
        model.compile(
            keras.optimizers.Adam(0.05),
            lambda y, f: f.variational_loss(y, kl_weight=0.5),
            jit_compile=False,
        )
        np.testing.assert_allclose(model.evaluate(x, y, batch_size=16, verbose=0), exact, rtol=1e-4)
        losses = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert model(x).sample().dtype == dtype
    finally:
        keras.config.set_floatx("float32")
