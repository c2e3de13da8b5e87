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


def test_dense_variational_has_its_distributions_under_their_names():
    layer = layers.DenseVariational(3, plain, plain)
    layer.build((None, 2))
    assert layer._posterior is layer.posterior
    assert layer._prior is layer.prior


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
