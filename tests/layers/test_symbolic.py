"""Shapes before anything runs, and TFP's methods on what a layer gives for a KerasTensor."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from layer_table import ROWS

from tfp_vae import layers, priors
from tfp_vae.errors import InputError

tfd = tfp.distributions
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
MODES = [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}]


@pytest.mark.one
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_every_distribution_layer_knows_its_output_shape(row):
    layer = row.build()
    for batch in ((None,), (None, 3)):
        if batch != (None,) and "context" in str(type(layer)):
            continue
        shape = layer.compute_output_shape((*batch, row.params_size))
        assert shape == (*batch, *row.event_shape)
    assert keras.Sequential([row.build()]).compute_output_shape((None, row.params_size)) == (
        None, *row.event_shape)  # fmt: skip
    symbolic = row.build()(keras.Input((row.params_size,)))
    assert symbolic.shape == (None, *row.event_shape)
    actual = row.build()(np.zeros([2, row.params_size], "float32"))
    assert symbolic.dtype == keras.backend.standardize_dtype(actual.dtype)
    assert actual.shape == (2, *row.event_shape)


OTHERS = {
    "variable": (lambda: layers.VariableLayer([3, 2]), (None, 1), (3, 2)),
    "add loss": (lambda: layers.KLDivergenceAddLoss(priors.unit_normal(2)), (None, 2), (None, 2)),
    "autoregressive": (
        lambda: layers.AutoregressiveTransform(layers.AutoregressiveNetwork(2, hidden_units=[4])),
        (None, 2),
        (None, 2),
    ),
    "lambda": (
        lambda: layers.DistributionLambda(lambda t: tfd.Normal(t[..., :1], 1.0)),
        (None, None, 3),
        (None, None, 1),
    ),
    "draws": (
        lambda: layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), lambda d: d.sample(5)),
        (None, 3),
        (5, None, 3),
    ),
    "bayesian": (lambda: layers.DenseFlipout(3), (None, None, 2), (None, None, 3)),
    "variational": (lambda: layers.DenseVariational(3, print, print), (None, 2), (None, 3)),
}


@pytest.mark.parametrize(("make", "given", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_other_layers_know_it_too(make, given, expected):
    assert tuple(make().compute_output_shape(given)) == expected


@pytest.mark.parametrize("mode", MODES[1:2])
def test_time_distributed(mode):
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.TimeDistributed(keras.layers.Dense(2)),
            keras.layers.TimeDistributed(layers.IndependentNormal(1, "mean")),
        ]
    )
    assert model.output_shape == (None, 5, 1)
    model.compile(keras.optimizers.Adam(0.1), "mse", **mode)
    x = np.repeat(X[:, None], 5, axis=1)
    losses = model.fit(x, x[..., :1] + 1, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# a function that Keras cannot infer the shape of, and its distribution's shape for 6 examples
UNKNOWN = {
    "squeeze": (lambda t: tfd.Normal(tf.squeeze(t[:, :1]), 1.0), (None,)),
    "squeeze of a product": (
        lambda t: tfd.Normal(tf.squeeze(tf.matmul(t, tf.ones([4, 1]))), 1.0),
        (None,),
    ),
    "unknown rank": (
        lambda t: tfd.Normal(tf.reshape(t, tf.concat([tf.shape(t)[:1], [2] * 2], 0)), 1.0),
        (None, 2, 2),
    ),
    "squeeze of an event": (
        lambda t: tfd.Independent(tfd.Normal(tf.squeeze(t[:, None]), 1.0), 1),
        (None, 4),
    ),
}


@pytest.mark.parametrize(
    "mode", [MODES[1], *(pytest.param(m, marks=pytest.mark.again) for m in MODES[::2])]
)
@pytest.mark.parametrize(("make", "shape"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_where_keras_cannot_infer_two_batch_sizes_tell(make, shape, mode):
    model = keras.Sequential([keras.Input((4,)), layers.DistributionLambda(make, "mean")])
    assert model.output_shape == shape
    y = np.zeros((6, *shape[1:]), "float32")
    model.compile("sgd", lambda y, rv: -rv.log_prob(y), **mode)
    # Batches of 4 and 2 examples; tf.squeeze makes one example's batch a scalar, as in TFP.
    loss = model.evaluate(X, y, batch_size=4, verbose=0)
    mean = np.asarray(make(tf.constant(X)).mean())
    each = 0.5 * np.log(2 * np.pi) + 0.5 * mean**2
    if make is UNKNOWN["squeeze of an event"][0]:
        each = each.sum(axis=1)
    np.testing.assert_allclose(loss, each.mean(), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), mean, rtol=1e-6)


def test_an_error_of_the_function_is_what_is_told():
    def wrong(t):
        return tfd.Normal(tf.matmul(t, tf.ones([3, 1])), 1.0)

    with pytest.raises(ValueError, match=r"Dimensions must be equal, but are 4 and 3"):
        layers.DistributionLambda(wrong)(keras.Input((4,)))


def joint(t):
    return tfd.JointDistributionSequential([tfd.Normal(t, 1.0), tfd.Normal(t[..., :1], 1.0)])


JOINT = {
    "sequential": joint,
    "named": lambda t: tfd.JointDistributionNamed({"a": tfd.Normal(t, 1.0), "b": tfd.Normal(t, 2)}),
    "same shapes": lambda t: tfd.JointDistributionSequential([tfd.Normal(t, 1.0)] * 2),
}


@pytest.mark.parametrize("make", JOINT.values(), ids=JOINT.keys())
def test_a_joint_distribution_as_the_output_of_a_model_is_refused_in_words(make):
    with pytest.raises(InputError, match=r"(?s)one tensor.*joint distribution.*Received: tfp"):
        layers.DistributionLambda(make)(keras.Input((4,)))


def test_a_joint_distribution_by_hand_and_as_one_tensor():
    d = layers.DistributionLambda(joint)(X)
    expected = joint(tf.constant(X)).log_prob([X, X[:, :1]])
    np.testing.assert_allclose(d.log_prob([X, X[:, :1]]), expected, rtol=1e-6)
    inputs = keras.Input((4,))
    one = layers.DistributionLambda(joint, lambda d: tf.concat(d.sample(), axis=-1))
    assert keras.Model(inputs, one(inputs)).predict(X, verbose=0).shape == (6, 5)


def distribution(inputs, layer=None):
    return (layer or layers.IndependentNormal(2))(inputs)


def normal(x):
    return tfd.Independent(tfd.Normal(x[:, :2], np.logaddexp(0, x[:, 2:])), 1)


METHODS = {
    "mean": lambda d: d.mean(),
    "stddev": lambda d: d.stddev(),
    "variance": lambda d: d.variance(),
    "mode": lambda d: d.mode(),
    "entropy": lambda d: d.entropy(),
    "log_prob": lambda d: d.log_prob(np.float32([1.0, 2.0])),
    "prob": lambda d: d.prob([0.5, 0.0]),
    "arithmetic": lambda d: d.mean() + 2.0 * d.stddev(),
}


@pytest.mark.parametrize("ask", METHODS.values(), ids=METHODS.keys())
def test_methods_of_a_keras_tensor(ask):
    inputs = keras.Input((4,))
    symbolic = ask(distribution(inputs))
    expected = ask(normal(X))
    assert symbolic.shape == (None, *expected.shape[1:])
    model = keras.Model(inputs, symbolic)
    np.testing.assert_allclose(model(X), expected, rtol=1e-4, atol=1e-5)  # a scale's floor
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-4, atol=1e-5)


SCALAR = {
    "cdf": lambda d: d.cdf(0.3),
    "log_cdf": lambda d: d.log_cdf(0.3),
    "survival_function": lambda d: d.survival_function(0.3),
    "quantile": lambda d: d.quantile(0.3),
    "loc": lambda d: d.loc + 0.0,
    "scale": lambda d: d.scale + 0.0,
}


@pytest.mark.parametrize("ask", SCALAR.values(), ids=SCALAR.keys())
def test_methods_and_tensors_of_a_scalar_distribution(ask):
    inputs = keras.Input((4,))
    d = layers.DistributionLambda(lambda t: tfd.Normal(t, 2.0))(inputs)
    model = keras.Model(inputs, ask(d))
    np.testing.assert_allclose(model(X), ask(tfd.Normal(X, 2.0)) + tf.zeros(model(X).shape))


def test_what_a_distribution_lacks_its_keras_tensor_lacks():
    d = distribution(keras.Input((4,)))
    assert not hasattr(d, "logits")
    assert hasattr(
        layers.DistributionLambda(lambda t: tfd.Bernoulli(t))(keras.Input((2,))), "logits"
    )


def test_draws_are_new_and_of_the_distribution():
    inputs = keras.Input((4,))
    d = distribution(inputs)
    model = keras.Model(inputs, [d.sample(3), d.sample(), d])
    three, one, own = model.predict(X, verbose=0)
    assert (three.shape, one.shape, own.shape) == ((3, 6, 2), (6, 2), (6, 2))
    assert (one != own).all()
    many = keras.Model(inputs, d.sample(20_000)).predict(X, verbose=0)
    np.testing.assert_allclose(many.mean(axis=0), normal(X).mean(), atol=0.06)


def test_a_log_prob_of_symbolic_data():
    x, y = keras.Input((4,)), keras.Input((2,))
    model = keras.Model([x, y], distribution(x).log_prob(y))
    np.testing.assert_allclose(model([X, X[:, :2]]), normal(X).log_prob(X[:, :2]), rtol=1e-4)


@pytest.mark.again
def test_a_model_of_these_is_trained_and_saved(tmp_path):
    inputs = keras.Input((4,))
    d = distribution(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, [d.mean(), d.stddev()])
    model.compile(keras.optimizers.Adam(0.05), ["mse", "mse"], jit_compile=False)
    y = [X[:, :2], np.abs(X[:, 2:])]
    losses = model.fit(X, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for a, b in zip(again.predict(X, verbose=0), model.predict(X, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_function_of_a_distribution():
    """Symbolically too it is given a distribution, through a layer that adds a KL as well."""
    inputs = keras.Input((4,))
    wide = layers.DistributionLambda(lambda d: tfd.Normal(d.mean(), 2.0 * d.stddev()), "mean")
    q = layers.KLDivergenceAddLoss(priors.unit_normal(2))(distribution(inputs))
    d = keras.Model(inputs, wide(q))(X)
    np.testing.assert_allclose(d.stddev(), 2 * normal(X).stddev(), rtol=1e-4)
    np.testing.assert_allclose(d.mean(), normal(X).mean(), rtol=1e-6)
    made = layers.AutoregressiveNetwork(2, hidden_units=[4])
    flow = layers.AutoregressiveTransform(made)(distribution(inputs))
    model = keras.Model(inputs, flow.log_prob(np.zeros(2, "float32")))
    assert np.isfinite(model(X)).all()


def test_a_function_that_needs_the_batch_size():
    """Where the batch is unknown it fails; eagerly, where it is known, the model works."""
    layer = layers.DistributionLambda(
        lambda t: tfd.Normal(tf.reshape(t, [t.shape[0], 2, 2]), 1.0), "mean"
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    assert model.output_shape == (None, 2, 2)
    np.testing.assert_array_equal(model(X), X.reshape(6, 2, 2))
