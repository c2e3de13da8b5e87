"""Functions that lead back to their own layer, or use what was made after the layer."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers, priors
from tfp_vae.errors import InputError

tfd = tfp.distributions
X = np.linspace(-1.0, 1.0, 8, dtype="float32")[:, None]
MODE = pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": False}])


@keras.saving.register_keras_serializable(package="tests")
class OfItsMethod(layers.DistributionLambda):
    """Gives a method of itself; the variables come after the constructor of the base."""

    def __init__(self, **kwargs):
        super().__init__(self.make, **{"convert_to_tensor_fn": "mean", **kwargs})
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")
        self._plain = tf.Variable([0.0], name="plain")
        self.inner = {"deep": [tf.Variable([0.0], name="deep")]}
        self.network = keras.layers.Dense(1)

    def make(self, t):
        loc = self.network(t) + self.bias + self._plain + self.inner["deep"][0]
        return tfd.Independent(tfd.Normal(loc, 1.0), 1)


@keras.saving.register_keras_serializable(package="tests")
class OfItsClosure(layers.DistributionLambda):
    def __init__(self, **kwargs):
        super().__init__(lambda t: self.make(t), **{"convert_to_tensor_fn": "mean", **kwargs})
        self.log_scale = tf.Variable([0.0])

    def make(self, t):
        return tfd.Independent(tfd.Normal(t, tf.exp(self.log_scale)), 1)


@keras.saving.register_keras_serializable(package="tests")
class OwnMakeDistribution(layers.DistributionLambda):
    """The base class' own method, overridden, with a tf.Variable that Keras does not see."""

    def __init__(self, **kwargs):
        super().__init__(lambda t: None, **{"convert_to_tensor_fn": "mean", **kwargs})
        self.log_scale = tf.Variable([0.0])

    def make_distribution(self, t):
        return tfd.Independent(tfd.Normal(t, tf.exp(self.log_scale)), 1)


class Subclassed(keras.Model):
    """Its layer's function leads back to the model."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.shift = tf.Variable([0.0])
        self.last = layers.DistributionLambda(
            lambda t: tfd.Independent(tfd.Normal(self.dense(t) + self.shift, 1.0), 1), "mean"
        )

    def call(self, x):
        return self.last(x)


def in_sequential_of_itself():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="first")])
    model.add(
        layers.DistributionLambda(
            lambda t: tfd.Independent(tfd.Normal(t + model.layers[0].bias, 1.0), 1), "mean"
        )
    )
    return model


def named_later():
    layer = layers.DistributionLambda(
        lambda t: tfd.Independent(tfd.Normal(network(t) + shift, 1.0), 1), "mean"
    )
    network, shift = keras.layers.Dense(1), tf.Variable([0.0])
    return keras.Sequential([layer])


def made_at_the_first_call():
    kept = {}

    def make(t):
        if not kept:
            kept["network"] = keras.layers.Dense(1)
        return tfd.Independent(tfd.Normal(kept["network"](t), 1.0), 1)

    return keras.Sequential([keras.Input((1,)), layers.DistributionLambda(make, "mean")])


def by_way_of_a_library():
    """A path that no walk through closures finds: only that it is read tells of it."""
    box = itertools.repeat(tf.Variable([0.0]))
    return keras.Sequential(
        [
            keras.Input((1,)),
            layers.DistributionLambda(
                lambda t: tfd.Independent(tfd.Normal(t, tf.exp(next(box))), 1), "mean"
            ),
        ]
    )


def component_later():
    def component(t):
        return tfd.Independent(tfd.Normal(t[..., :1], tf.exp(log_scale)), 1)

    layer = layers.MixtureSameFamily(1, component, "mean")
    log_scale = tf.Variable([0.0])
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(2), layer])


def with_its_own_tensor():
    scale = tf.Variable([1.0])
    layer = layers.DistributionLambda(
        lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1), lambda d: d.mean() * scale
    )
    return keras.Sequential([keras.Input((1,)), layer])


# a model, and how many trainable weights it has
CASES = {
    "a method of itself": (lambda: keras.Sequential([OfItsMethod()]), 5),
    "a method, functional": (lambda: keras.Sequential([keras.Input((1,)), OfItsMethod()]), 5),
    "a closure over itself": (lambda: keras.Sequential([keras.Input((1,)), OfItsClosure()]), 1),
    "overridden": (lambda: keras.Sequential([keras.Input((1,)), OwnMakeDistribution()]), 1),
    "a model that has the layer": (Subclassed, 3),
    "a Sequential that has the layer": (in_sequential_of_itself, 2),
    "names bound later": (named_later, 3),
    "made at the first call": (made_at_the_first_call, 2),
    "hidden": (by_way_of_a_library, 1),
    "a mixture's component": (component_later, 3),
    "the tensor's function": (with_its_own_tensor, 1),
}


def check_nothing_is_poisoned():
    class Adds(keras.layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_sum(x))
            return x

    model = keras.Sequential([keras.Input((1,)), Adds()])
    for _ in range(2):
        model(np.ones([2, 1], "float32"))
        assert [float(loss) for loss in model.losses] == [2.0]


@pytest.mark.one
@MODE
@pytest.mark.parametrize(("make", "number"), CASES.values(), ids=CASES.keys())
def test_all_that_is_read_is_trained(make, number, mode):
    model = make()
    for walk in (model.weights, model.variables, model.metrics_variables):
        assert isinstance(walk, list)  # before the first call: no endless recursion
    model.trainable = False
    model.trainable = True
    model(X)
    assert len(model.trainable_weights) == number
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1)
    before = [w.numpy() for w in model.trainable_weights]
    loss = "mse" if make is with_its_own_tensor else lambda y, d: -d.log_prob(y)
    model.compile(keras.optimizers.SGD(0.1), loss, **mode)
    model.fit(X, X + 3.0, epochs=1, verbose=0)
    for weight, start in zip(model.trainable_weights, before, strict=True):
        assert (weight.numpy() != start).any(), weight.path
    check_nothing_is_poisoned()


@pytest.mark.one
@pytest.mark.parametrize("kind", [OfItsMethod, OfItsClosure, OwnMakeDistribution])
def test_a_subclass_of_this_kind_is_saved(kind, tmp_path):
    model = keras.Sequential([keras.Input((1,)), kind()])
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(weight + 0.5 + number)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X).mean(), model(X).mean())
    np.testing.assert_array_equal(again(X).stddev(), model(X).stddev())
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(X).stddev(), model(X).stddev())


def test_a_function_that_leads_back_is_refused_when_it_is_to_be_saved(tmp_path):
    layer = layers.DistributionLambda(lambda t: tfd.Normal(t * len(layer.name), 1.0))
    with pytest.raises(InputError, match=r"lead back to its own layer.*Received"):
        keras.Sequential([keras.Input((1,)), layer]).save(tmp_path / "m.keras")


ANEW = {
    "layer": lambda t: tfd.Normal(keras.layers.Dense(1)(t), 1.0),
    "variable": lambda t: tfd.Normal(t * tf.Variable(1.0), 1.0),
}


@pytest.mark.parametrize("make", ANEW.values(), ids=ANEW.keys())
def test_variables_made_at_each_call_are_refused(make):
    layer = layers.DistributionLambda(make, "mean")
    with pytest.raises(InputError, match=r"made before it is called.*Received: variables made"):
        layer(X)
    check_nothing_is_poisoned()


def test_a_layer_does_not_freeze_the_model_that_it_leads_back_to():
    model = Subclassed()
    model(X)
    model.last.trainable = False
    assert len(model.trainable_weights) == 2  # the model's own Dense


def test_a_prior_whose_function_leads_back():
    held = {}
    prior = priors.as_prior(
        lambda: tfd.Independent(tfd.Normal(held["v"] * len(held["model"].layers), 1.0), 1)
    )
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.IndependentNormal(1, "mean"),
            layers.KLDivergenceAddLoss(prior),
        ]
    )
    held.update(v=tf.Variable([1.0]), model=model)
    model(np.ones([4, 2], "float32"))
    assert len(model.trainable_weights) == 1
    check_nothing_is_poisoned()


def test_later_calls_look_for_nothing(monkeypatch):
    layer = layers.IndependentNormal(1)
    for _ in range(2):
        layer(np.zeros([3, 2], "float32"))
    monkeypatch.setattr(type(layer), "settle", None)
    layer(np.zeros([3, 2], "float32"))
