"""A function as the loss is given the distribution, whatever the distribution's dtype.

As a tensor the output is of Keras' floatx; as a distribution it keeps its own dtype.
"""

import warnings

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import NegativeLogLikelihood, layers

tfd = tfp.distributions
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
COUNTS = np.random.default_rng(1).integers(0, 3, size=12)
REALS = np.random.default_rng(2).normal(size=12).astype("float32")
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}}
MODES["xla"] = {"jit_compile": True}


def double(t):
    return tf.cast(t, tf.float64)


# the function, the dtype of its distribution, targets, and the loss in float64 by SciPy
CASES = {
    "Poisson in float64": (
        lambda t: tfd.Poisson(log_rate=double(t[:, 0])),
        tf.float64,
        COUNTS,
        lambda t: -scipy.stats.poisson(np.exp(t[:, 0])).logpmf(COUNTS),
    ),
    "Normal in float64": (
        lambda t: tfd.Normal(double(t[:, 0]), 1.0),
        tf.float64,
        REALS,
        lambda t: -scipy.stats.norm(t[:, 0]).logpdf(REALS),
    ),
    "Normal in float16": (
        lambda t: tfd.Normal(tf.cast(t[:, 0], tf.float16), 1.0),
        tf.float16,
        REALS,
        lambda t: -scipy.stats.norm(t[:, 0]).logpdf(REALS),
    ),
    "Categorical": (
        lambda t: tfd.Categorical(logits=t),
        tf.int32,
        COUNTS,
        lambda t: -scipy.special.log_softmax(t, axis=1)[np.arange(12), COUNTS],
    ),
    "Bernoulli of integers": (
        lambda t: tfd.Bernoulli(logits=t[:, 0]),
        tf.int32,
        (COUNTS > 0).astype("int64"),
        lambda t: np.logaddexp(0, t[:, 0]) - t[:, 0] * (COUNTS > 0),
    ),
    "Bernoulli of shares": (
        lambda t: tfd.Bernoulli(logits=t[:, 0]),
        tf.int32,
        COUNTS / 4,
        lambda t: np.logaddexp(0, t[:, 0]) - t[:, 0] * COUNTS / 4,
    ),
    "Normal in float32, float64 data": (
        lambda t: tfd.Normal(t[:, 0], 1.0),
        tf.float32,
        REALS.astype("float64"),
        lambda t: -scipy.stats.norm(t[:, 0]).logpdf(REALS),
    ),
}


def model_of(make, **kwargs):
    last = layers.DistributionLambda(make, **kwargs)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), last])


@pytest.mark.parametrize(
    "mode",
    [MODES["graph"], *(pytest.param(MODES[m], marks=pytest.mark.again) for m in ("eager", "xla"))],
)
@pytest.mark.parametrize(("make", "dtype", "y", "exact"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    "loss", [lambda y, rv: -rv.log_prob(y), NegativeLogLikelihood()], ids=["lambda", "class"]
)
def test_trains_under_a_function_and_under_the_loss(make, dtype, y, exact, mode, loss):
    model = model_of(make)
    t = model.layers[0](X).numpy().astype("float64")
    model.compile(keras.optimizers.SGD(0.1), loss, **mode)
    tolerance = 5e-3 if dtype == tf.float16 else 1e-5
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), exact(t).mean(), rtol=tolerance)
    losses = model.fit(X, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("make", "dtype", "y", "exact"), CASES.values(), ids=CASES.keys())
def test_two_dtypes(make, dtype, y, exact):
    model = model_of(make)
    d = model(X)
    assert d.dtype == d.numpy().dtype == model.predict(X, verbose=0).dtype == "float32"
    assert model.outputs[0].dtype == "float32"
    assert (d + 1.0).dtype == tf.float32
    assert d.tensor_distribution.dtype == d.sample().dtype == dtype
    mean = d.tensor_distribution.mean() if "int" not in dtype.name else None
    assert mean is None or d.mean().dtype == dtype  # as a distribution it keeps all its digits
    for given in (y, y.astype("float32"), tf.constant(y)):
        np.testing.assert_array_equal(
            d.log_prob(given), d.log_prob(tf.cast(y, d.log_prob(y).dtype))
        )


def test_functions_of_a_value_cast_it():
    d = layers.DistributionLambda(lambda t: tfd.Normal(double(t), 1.0))(X)
    for name in ("log_prob", "prob", "cdf", "log_cdf", "survival_function"):
        value = getattr(d, name)(X + 0.5)
        expected = getattr(tfd.Normal(double(X), 1.0), name)(double(X + 0.5))
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == tf.float64
    np.testing.assert_allclose(d.quantile(np.float32(0.5)), X)


def test_a_chosen_dtype_loses_no_digits():
    """Between layers of float64 the tensor is of float64, whatever Keras' floatx."""
    with pytest.warns(UserWarning, match="NegativeLogLikelihood"):
        first = layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), "mean", dtype="float64")
    x = X.astype("float64") + 1e-12
    y = keras.layers.Identity(dtype="float64")(first(x))
    np.testing.assert_array_equal(y, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.IndependentNormal(2)


def test_after_floatx_is_changed():
    keras.config.set_floatx("float64")
    try:
        model = model_of(lambda t: tfd.Normal(t[:, 0], 1.0))  # Keras' dtype policy may be float32
        model.compile("sgd", lambda y, rv: -rv.log_prob(y), jit_compile=False)
        t = model.layers[0](X).numpy().astype("float64")
        expected = -scipy.stats.norm(t[:, 0]).logpdf(REALS).mean()
        np.testing.assert_allclose(model.evaluate(X, REALS, verbose=0), expected, rtol=1e-5)
    finally:
        keras.config.set_floatx("float32")


@pytest.mark.parametrize("y", [REALS, REALS[:, None]], ids=["(n,)", "(n, 1)"])
@pytest.mark.parametrize("event", [(), (1,)], ids=str)
def test_a_trailing_axis_of_the_data(y, event):
    """Right under the loss; under a function right, or refused."""
    last = layers.IndependentNormal(event)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), last])
    d = model(X)
    mean, stddev = (np.asarray(part).reshape(-1) for part in (d.mean(), d.stddev()))
    expected = -scipy.stats.norm(mean, stddev).logpdf(REALS).mean()
    model.compile("sgd", NegativeLogLikelihood(), jit_compile=False)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5)
    model.compile("sgd", lambda y, rv: -rv.log_prob(y), jit_compile=False)
    try:
        actual = model.evaluate(X, y, verbose=0)
    except AttributeError:
        assert (y.ndim, event) == (2, ())
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_saved_and_exported(tmp_path):
    model = model_of(poisson)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again(X).tensor_distribution.dtype == tf.float64
    model.export(tmp_path / "m", verbose=False)
    assert tf.saved_model.load(tmp_path / "m").serve(X).dtype == tf.float32


@keras.saving.register_keras_serializable(package="tests")
def poisson(t):
    return tfd.Poisson(log_rate=double(t[:, 0]))
