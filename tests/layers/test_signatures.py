"""What follows from a layer's signatures: config, distribution, docstring and checks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import extending, layers
from tfp_vae.errors import InputError

tfd = tfp.distributions


@keras.saving.register_keras_serializable(package="tests")
class Cauchy(extending.IndependentLayer):
    """A leaf of one expression."""

    parameters_per_value = 2

    @classmethod
    def each(cls, loc, log_scale, validate_args, power=1.0):
        scale = tf.exp(power * log_scale)
        return tfd.Cauchy(loc, scale, validate_args=validate_args)


def test_a_leaf_is_the_distribution_of_its_parameters():
    layer = Cauchy((2, 2), validate_args=True, name="leaf", seed=1)
    t = np.arange(8, dtype="float32").reshape(1, 8) / 8
    d = layer(t)
    assert layer.num_parameters == Cauchy.params_size((2, 2)) == 8
    np.testing.assert_array_equal(d.distribution.loc, t[:, :4].reshape(1, 2, 2))
    np.testing.assert_allclose(d.distribution.scale, np.exp(t[:, 4:]).reshape(1, 2, 2), rtol=1e-6)
    assert (d.validate_args, d.distribution.validate_args) == (True, True)
    scale = Cauchy.new(t, (2, 2), power=2.0).distribution.scale
    np.testing.assert_allclose(scale, np.exp(2 * t[:, 4:]).reshape(1, 2, 2), rtol=1e-6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again(t), d)


def test_a_class_of_the_users_says_itself_what_it_adds():
    class Mine(layers.Gamma):
        def __init__(self, scale=(1.0, 2.0), **kwargs):  # a name that has a rule in the package
            super().__init__(**kwargs)
            self.scale = object()  # nothing that Keras could save

    config = Mine(event_shape=2, min_rate=0.3).get_config()
    assert set(config) == set(layers.Gamma(2).get_config())
    assert (config["event_shape"], config["min_rate"]) == ([2], 0.3)
    with pytest.raises(InputError, match="min_rate >= 0"):
        Mine(min_rate=-1)


@pytest.mark.parametrize("kind", [layers.Gamma, layers.VonMisesFisher, layers.Conv2DFlipout])
def test_the_config_is_of_the_arguments_alone(kind):
    layer = kind(3, 2) if kind is layers.Conv2DFlipout else kind(3)
    of_keras = {"name", "trainable", "dtype", "activity_regularizer"}
    documented = {line.split(":")[0].strip() for line in kind.__doc__.split("\n")}
    assert set(layer.get_config()) - of_keras <= documented


def test_a_docstring_has_what_the_classes_above_say_once_each():
    doc = layers.VonMisesFisher.__doc__
    for line in ("event_size: d, at least 2.", "seed: see `DistributionLambda`.", "Shapes: input"):
        assert doc.count(line) == 1
    assert doc.index("Shapes:") < doc.index("Args:") < doc.index("Raises:") < doc.index("Source:")
    assert "event_size: the size of one draw." not in doc
