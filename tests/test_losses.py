import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import NegativeLogLikelihood, layers

tfd = tfp.distributions
X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")


def model(event_shape=(2,), **kwargs):
    size = layers.IndependentNormal.params_size(event_shape)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(size),
            layers.IndependentNormal(event_shape, **kwargs),
        ]
    )


def exact(m, y):
    d = m(X)
    mean, stddev = np.asarray(d.mean(), "float64"), np.asarray(d.stddev(), "float64")
    each = -scipy.stats.norm(mean, stddev).logpdf(y.reshape(mean.shape))
    return each.reshape(len(each), -1).sum(axis=1)


@pytest.mark.parametrize(
    ("event_shape", "y_shape", "kwargs"),
    [
        ((2,), (10, 2), {}),
        ((2,), (10, 2), {"dtype": "float64"}),
        ((), (10,), {}),
        ((), (10, 1), {}),
        ((1,), (10,), {}),
        ((1,), (10, 1), {}),
        ((2, 2), (10, 2, 2), {}),
    ],
)
@pytest.mark.parametrize("eager", [False, True])
def test_equals_scipy_in_every_dtype_and_rank(event_shape, y_shape, kwargs, eager):
    y = np.random.default_rng(1).normal(size=y_shape)
    m = model(event_shape, **kwargs)
    m.compile("adam", loss=NegativeLogLikelihood(), run_eagerly=eager)
    np.testing.assert_allclose(m.evaluate(X, y, verbose=0), exact(m, y).mean(), rtol=1e-5)


def test_sample_weights_weigh_each_example():
    y, w = np.ones([10, 2], "float32"), np.arange(10.0)
    m = model()
    m.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    expected = (exact(m, y) * w).sum() / 10
    np.testing.assert_allclose(m.evaluate(X, y, sample_weight=w, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize(("reduction", "reduce"), [("sum", np.sum), (None, np.asarray)])
def test_reductions_are_those_of_keras(reduction, reduce):
    y, m = np.ones([10, 2], "float32"), model()
    value = NegativeLogLikelihood(reduction=reduction)(y, m(X))
    np.testing.assert_allclose(value, reduce(exact(m, y)), rtol=1e-5)


@pytest.mark.one
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_keeps_the_distribution_under_every_policy(policy):
    keras.config.set_dtype_policy(policy)
    m = model()
    m.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    assert np.isfinite(m.fit(X, np.ones([10, 2]), verbose=0).history["loss"]).all()


def test_integer_samples():
    m = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2),
            layers.IndependentBernoulli(2, sample_dtype="int32"),
        ]
    )
    m.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    y = np.ones([10, 2], "int64")
    logits = np.asarray(m(X).distribution.logits, "float64")
    assert m.evaluate(X, y, verbose=0) == pytest.approx(
        np.logaddexp(0, -logits).sum(1).mean(), 1e-5
    )


def test_builds_symbolically_under_a_distribution_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        m = model()
        m.compile("adam", loss=NegativeLogLikelihood(), metrics=["mse"], jit_compile=False)
    y = np.ones([10, 2], "float32")
    history = m.fit(X, y, verbose=0, epochs=2).history
    assert history["loss"][1] < history["loss"][0]
    np.testing.assert_allclose(m.evaluate(X, y, verbose=0)[0], exact(m, y).mean(), rtol=1e-5)


def test_a_function_as_the_loss_works_too():
    y, m = np.ones([10, 2], "float32"), model()
    m.compile("adam", loss=lambda y, rv: -rv.log_prob(y), jit_compile=False)
    np.testing.assert_allclose(m.evaluate(X, y, verbose=0), exact(m, y).mean(), rtol=1e-5)


def test_one_distribution_for_all_examples():
    """As a VariableLayer and a distribution layer make one."""
    normal = tfd.Independent(tfd.Normal([0.0, 1.0, 2.0], 1.0), 1)
    each = NegativeLogLikelihood(reduction=None)(X, normal)
    exact = -scipy.stats.norm([0.0, 1.0, 2.0]).logpdf(X).sum(axis=1)
    np.testing.assert_allclose(each, exact, rtol=1e-5)
    with pytest.raises(ValueError, match=r"of the distribution's shape.*Received"):
        NegativeLogLikelihood()(X[:, :2], normal)


def test_several_outputs_each_with_its_loss():
    inputs = keras.Input((3,))
    a = layers.IndependentNormal(2, name="a")(keras.layers.Dense(4)(inputs))
    b = layers.IndependentBernoulli(1, name="b")(keras.layers.Dense(1)(inputs))
    m = keras.Model(inputs, {"a": a, "b": b})
    m.compile(
        "adam", loss={"a": NegativeLogLikelihood(), "b": NegativeLogLikelihood()}, jit_compile=False
    )
    y = {"a": np.ones([10, 2], "float32"), "b": np.ones([10, 1], "float32")}
    logs = m.evaluate(X, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["a_loss"] + logs["b_loss"], 1e-5)


def test_a_model_without_a_distribution_is_refused_in_words():
    m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    m.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    with pytest.raises(TypeError, match="distribution layer"):
        m.fit(X, np.ones([10, 2]), verbose=0)


def test_targets_of_the_wrong_shape_are_refused_in_words():
    m = model()
    m.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    with pytest.raises(ValueError, match=r"expected y .*\(None, 2\).*Received: \(None, 3\)"):
        m.fit(X, np.ones([10, 3]), verbose=0)


def test_the_config_gives_the_loss_again():
    config = keras.saving.serialize_keras_object(NegativeLogLikelihood("sum", "named"))
    again = keras.saving.deserialize_keras_object(config)
    assert (again.reduction, again.name) == ("sum", "named")
