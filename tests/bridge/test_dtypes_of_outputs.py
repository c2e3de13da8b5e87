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
from tfp_vae.errors import InputError

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


@pytest.mark.one
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
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a loss is given the distribution: nothing to warn of
        first = layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), "mean", dtype="float64")
    x = X.astype("float64") + 1e-12
    y = keras.layers.Identity(dtype="float64")(first(x))
    np.testing.assert_array_equal(y, x)


def test_where_tensorflow_cannot_keep_it_a_layer_warns(monkeypatch):
    monkeypatch.setattr("tfp_vae.bridge.casts.KEEPS_DISTRIBUTIONS", False)
    with pytest.warns(UserWarning, match="NegativeLogLikelihood"):
        layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), dtype="float64")


ONE_HOT = np.eye(3, dtype="float32")[COUNTS]
TWO = np.stack([REALS, REALS + 1], axis=1)
# the layer for a dtype, the size of its input, targets, and the loss in float64 by SciPy
LAYERS = {
    "IndependentNormal(())": (
        lambda dtype: layers.IndependentNormal((), dtype=dtype),
        2,
        REALS,
        lambda t: -scipy.stats.norm(t[:, 0], np.logaddexp(0, t[:, 1])).logpdf(REALS),
    ),
    "IndependentNormal(1)": (
        lambda dtype: layers.IndependentNormal(1, dtype=dtype),
        2,
        REALS[:, None],
        lambda t: -scipy.stats.norm(t[:, 0], np.logaddexp(0, t[:, 1])).logpdf(REALS),
    ),
    "Normal of (n, 1)": (
        lambda dtype: layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), dtype=dtype),
        1,
        REALS[:, None],
        lambda t: -scipy.stats.norm(t[:, 0]).logpdf(REALS),
    ),
    "IndependentNormal((2, 1))": (
        lambda dtype: layers.IndependentNormal((2, 1), dtype=dtype),
        4,
        TWO[..., None],
        lambda t: -scipy.stats.norm(t[:, :2], np.logaddexp(0, t[:, 2:])).logpdf(TWO).sum(1),
    ),
    "Normal of (n, 2, 1)": (
        lambda dtype: layers.DistributionLambda(
            lambda t: tfd.Normal(t[..., tf.newaxis], 1.0), dtype=dtype
        ),
        2,
        TWO[..., None],
        lambda t: -scipy.stats.norm(t).logpdf(TWO),
    ),
    "IndependentPoisson(())": (
        lambda dtype: layers.IndependentPoisson((), dtype=dtype),
        1,
        COUNTS,
        lambda t: -scipy.stats.poisson(np.exp(t[:, 0])).logpmf(COUNTS),
    ),
    "OneHotCategorical": (
        lambda dtype: layers.OneHotCategorical(3, dtype=dtype),
        3,
        ONE_HOT,
        lambda t: -np.sum(scipy.special.log_softmax(t, axis=1) * ONE_HOT, axis=1),
    ),
    "OneHotCategorical of int32": (
        lambda dtype: layers.OneHotCategorical(3, sample_dtype="int32", dtype=dtype),
        3,
        ONE_HOT,
        lambda t: -np.sum(scipy.special.log_softmax(t, axis=1) * ONE_HOT, axis=1),
    ),
    "Categorical": (
        lambda dtype: layers.DistributionLambda(lambda t: tfd.Categorical(logits=t), dtype=dtype),
        3,
        COUNTS,
        lambda t: -scipy.special.log_softmax(t, axis=1)[np.arange(12), COUNTS],
    ),
}


def by_hand(y, rv):
    return -rv.log_prob(y)


def loss_of(model, loss, y, mode):
    model.compile("sgd", loss)

    def step(x, y):
        return model.compute_loss(x, y, model(x))

    if mode == "xla":
        step = tf.function(step, jit_compile=True)
    if mode == "graph":
        unknown = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in map(tf.constant, (X, y))]
        step = tf.function(step, input_signature=unknown)
    return step(tf.constant(X), tf.constant(y))


@pytest.mark.parametrize(
    ("dtype", "mode", "loss"),
    [
        ("float64", "graph", by_hand),
        *(
            pytest.param(dtype, mode, loss, marks=pytest.mark.again)
            for dtype in ("float32", "float64", "float16")
            for mode in ("eager", "graph", "xla")
            for loss in (by_hand, NegativeLogLikelihood())
            if (dtype, mode, loss) != ("float64", "graph", by_hand)
            and (dtype, mode) != ("float16", "xla")  # where TensorFlow draws no categories
        ),
    ],
)
@pytest.mark.parametrize("name", LAYERS)
def test_no_loss_is_given_a_bare_tensor(name, dtype, mode, loss):
    """Of every layer and dtype, y of the distribution's shape or with an axis less or more."""
    make, size, y, exact = LAYERS[name]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(size), make(dtype)])
    expected = np.mean(exact(model.layers[0](X).numpy().astype("float64")))
    for given in (y, y[..., 0] if y.shape[-1] == 1 else y[..., None]):
        if name == "Categorical" or "OneHot" not in name or given is y:
            actual = loss_of(model, loss, given, mode)
            np.testing.assert_allclose(actual, expected, rtol=1e-2 if dtype == "float16" else 1e-5)


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
    """Right under the loss, and under a function."""
    last = layers.IndependentNormal(event)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), last])
    d = model(X)
    mean, stddev = (np.asarray(part).reshape(-1) for part in (d.mean(), d.stddev()))
    expected = -scipy.stats.norm(mean, stddev).logpdf(REALS).mean()
    model.compile("sgd", NegativeLogLikelihood(), jit_compile=False)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5)
    model.compile("sgd", lambda y, rv: -rv.log_prob(y), jit_compile=False)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5)


class Subclassed(keras.losses.Loss):
    """Keras does not change the rank of what it gives to one."""

    def call(self, y, rv):
        return -rv.log_prob(y)


@pytest.mark.one
@pytest.mark.parametrize("use", [{"loss": Subclassed()}, {"loss": by_hand, "metrics": [by_hand]}])
@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize(
    ("event", "y"), [((), REALS[:, None]), (1, REALS), ((2, 1), TWO), (2, TWO[..., None])]
)
def test_all_pairs_are_no_loss(event, y, run_eagerly, use):
    """Where y would be broadcast to (n, n), it is refused before anything is trained."""
    size = layers.IndependentNormal.params_size(event)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(size), layers.IndependentNormal(event)]
    )
    model.compile("sgd", run_eagerly=run_eagerly, jit_compile=False, **use)
    before = model.get_weights()
    with pytest.raises(InputError, match="NegativeLogLikelihood"):
        model.fit(X, y, verbose=0)
    if not (run_eagerly and "metrics" in use):  # Keras asks a metric after the step
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_pairs_may_be_asked_for():
    d = layers.DistributionLambda(lambda t: tfd.Normal(t[:, 0], 1.0))(X)
    assert d.at.log_prob(REALS[:, None]).shape == (12, 12)
    assert d.log_prob(REALS[:5, None]).shape == (5, 12)  # no data of these distributions
    assert d.quantile(np.linspace(0.1, 0.9, 12)[:, None]).shape == (12, 12)
    one = layers.DistributionLambda(lambda t: tfd.Normal(t[:, 0], 1.0))(X[:1])
    assert one.log_prob(REALS[:1, None]).shape == (1, 1)


@pytest.mark.again
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


@keras.saving.register_keras_serializable(package="tests")
def of_moments(q):
    return tfd.Normal(tf.cast(q.mean(), tf.float32), tf.cast(q.stddev(), tf.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_layer_on_a_layer_of_another_dtype_is_given_the_distribution(dtype, tmp_path):
    inputs = keras.Input((4,))
    q = layers.IndependentNormal(2, dtype=dtype)(inputs)
    model = keras.Model(inputs, layers.DistributionLambda(of_moments)(q))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    loc, stddev = x[:, :2], np.logaddexp(0, x[:, 2:])
    model.save(tmp_path / "m.keras")
    for one in (model, tf.function(model), keras.models.load_model(tmp_path / "m.keras")):
        d = one(x)
        tolerance = 2e-3 if dtype == "float16" else 1e-5
        if isinstance(d, tfd.Distribution):
            np.testing.assert_allclose(d.mean(), loc, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(d.stddev(), stddev, rtol=tolerance)
        assert d.shape == (5, 2)
