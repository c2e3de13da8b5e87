"""Names of `tfp.layers` that code in the wild uses, and the tensors that names stand for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import plain

from tfp_vae import layers

tfd = tfp.distributions


def test_util_has_what_theirs_has():
    theirs = {
        name
        for name, value in vars(tfp.layers.util).items()
        if getattr(value, "__module__", None) == tfp.layers.util.__name__ and name[0] != "_"
    }
    assert len(theirs) == 5
    assert theirs == set(layers.util.__all__)
    assert layers.util.default_mean_field_normal_fn is layers.default_mean_field_normal_fn


def test_functions_are_serialized():
    function, kind = layers.util.serialize_function(plain)
    assert kind == "function"
    assert layers.util.deserialize_function(function, kind) is plain
    with pytest.raises(TypeError, match="Received: 'other'"):
        layers.util.deserialize_function(function, "other")


UNIT = tfd.Normal(0.0, 1.0)
THEIRS = {
    "DenseVariational": (
        lambda: layers.DenseVariational(3, plain, plain),
        ["posterior", "prior", "make_posterior_fn", "make_prior_fn"],
    ),
    "KLDivergenceAddLoss": (lambda: layers.KLDivergenceAddLoss(UNIT), ["regularizer"]),
    "KLDivergenceRegularizer": (
        lambda: layers.KLDivergenceRegularizer(UNIT, weight=2.0),
        ["weight", "use_exact_kl", "distribution_b", "test_points_fn", "test_points_reduce_axis"],
    ),
    "IndependentBernoulli": (
        lambda: layers.IndependentBernoulli(3),
        ["event_shape", "validate_args", "sample_dtype"],
    ),
    "MixtureNormal": (lambda: layers.MixtureNormal(2, 3), ["num_components", "event_shape"]),
    "MultivariateNormalTriL": (lambda: layers.MultivariateNormalTriL(3), ["event_size"]),
}


@pytest.mark.parametrize(("make", "names"), THEIRS.values(), ids=THEIRS.keys())
def test_attributes_are_there_under_their_names(make, names):
    made = make()
    if isinstance(made, layers.DenseVariational):
        made.build((None, 2))
    for name in names:
        assert getattr(made, f"_{name}") is getattr(made, name)


def test_a_subclass_sets_them_itself():
    class Mine(layers.DistributionLambda):
        def __init__(self, event_shape, **kwargs):
            super().__init__(lambda t: tfd.Normal(t, 1.0), **kwargs)
            self._event_shape = event_shape

    layer = Mine(5)
    assert layer._event_shape == 5
    assert isinstance(layer._make_distribution_fn(np.zeros(2, "float32")), tfd.Normal)


@pytest.mark.parametrize("given", ["mean", tfd.Distribution.mean, lambda d: d.mean()])
def test_the_convert_to_tensor_fn_under_their_name(given):
    layer = layers.IndependentNormal(2, given)
    d = tfd.Normal([1.0, 2.0], 1.0)
    np.testing.assert_array_equal(layer._convert_to_tensor_fn(d), [1.0, 2.0])
    layer._convert_to_tensor_fn = tfd.Distribution.stddev
    y = layer(np.zeros([1, 4], "float32"))
    np.testing.assert_array_equal(y, y.stddev())


def test_mean_and_covariance():
    size = layers.MultivariateNormalTriL.params_size(3)
    t = np.random.default_rng(0).normal(size=(5, size)).astype("float32")
    for names in (("mean", "covariance"), (tfd.Distribution.mean, tfd.Distribution.covariance)):
        layer = layers.MultivariateNormalTriL(3, names)
        d = layer(t)
        assert d.shape == (5, 3, 4)
        np.testing.assert_array_equal(d.numpy()[..., 0], d.mean())
        np.testing.assert_array_equal(d.numpy()[..., 1:], d.covariance())
        model = keras.Sequential([keras.Input((size,)), layer])
        assert model.output_shape == (None, 3, 4)
        np.testing.assert_array_equal(model.predict(t, verbose=0), d.numpy())


def test_several_of_one_shape_are_stacked_as_before():
    d = layers.IndependentNormal(2, ("mean", "stddev"))(np.zeros([1, 4], "float32"))
    np.testing.assert_array_equal(d, tf.stack([d.mean(), d.stddev()], axis=-1))


@pytest.mark.again
@pytest.mark.parametrize(
    "name", ["DenseReparameterization", "DenseLocalReparameterization", "DenseFlipout"]
)
def test_the_weights_that_an_eager_call_drew(name):
    layer = getattr(layers, name)(2, bias_posterior_fn=layers.default_mean_field_normal_fn())
    x = np.eye(3, dtype="float32")
    assert layer.kernel_posterior_tensor is None
    y = layer(x)
    kernel, bias = layer.kernel_posterior_tensor, layer.bias_posterior_tensor
    assert bias.shape == (2,)
    if name == "DenseReparameterization":
        np.testing.assert_allclose(x @ kernel + bias, y, rtol=1e-6)
    elif name == "DenseLocalReparameterization":
        assert kernel is None  # none is drawn
    tf.function(layer)(x)
    assert layer.bias_posterior_tensor is bias  # no tensor of a graph


def test_the_direction_of_weight_norm():
    layer = layers.WeightNorm(keras.layers.Conv2D(5, 2))
    layer.build((None, 4, 4, 3))
    assert layer.v is layer.layer.kernel
    assert layer.kernel_norm_axes == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "expected"), [("left-to-right", [1, 2, 3]), ("right-to-left", [3, 2, 1])]
)
def test_the_order_of_an_autoregressive_network(given, expected):
    made = layers.AutoregressiveNetwork(2, event_shape=3, hidden_units=[4], input_order=given)
    np.testing.assert_array_equal(made._input_order, expected)
    drawn = layers.AutoregressiveNetwork(2, hidden_units=[4], input_order="random")
    drawn(np.zeros([1, 3], "float32"))
    assert sorted(drawn._input_order) == [1, 2, 3]


def test_the_paths_of_dense_variational_say_which_distribution():
    def made(kernel_size, bias_size, dtype):
        make = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1))
        return keras.Sequential([layers.VariableLayer(kernel_size + bias_size, dtype=dtype), make])

    layer = layers.DenseVariational(1, made, made)
    layer(np.zeros([1, 2], "float32"))
    posterior, prior = (variable.path for variable in layer.trainable_variables)
    assert "/posterior/" in posterior
    assert "/prior/" in prior
