"""What a function or a distribution holds is tracked, trained, saved and exported by Keras."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python

from tfp_vae import VAE, layers, priors
from tfp_vae.bridge.tracking import Held, as_keras_variable
from tfp_vae.errors import InputError

tfd, tfb = tfp.distributions, tfp.bijectors
A_GLOBAL = tf.Variable(2.0, name="a_global")
NOT_READ = tf.Variable(0.0, name="not_read")


def base():
    return tfd.Normal(tf.Variable([0.0, 0.0]), tfp.util.TransformedVariable([1.0, 1.0], tfb.Exp()))


def closure(v):
    return lambda t: tfd.Normal(t + v, 1.0)


class Owner:
    def __init__(self, v):
        self.inside = {"list": [v]}

    def make(self, t):
        return tfd.Normal(t + self.inside["list"][0], 1.0)

    def __call__(self, t):
        return self.make(t)


def nested(v):
    def outer(t):
        def inner():
            return t + v

        return tfd.Normal(inner(), 1.0)

    return outer


def of_a_global():
    return lambda t: tfd.Normal((lambda: t * A_GLOBAL)(), 1.0)


ONE_VARIABLE = {
    "closure": closure,
    "nested function": nested,
    "default": lambda v: lambda t, v=v: tfd.Normal(t + v, 1.0),
    "keyword default": lambda v: lambda t, *, v=v: tfd.Normal(t + v, 1.0),
    "partial": lambda v: functools.partial(lambda v, t: tfd.Normal(t + v, 1.0), v),
    "method": lambda v: Owner(v).make,
    "callable object": Owner,
    "dictionary": lambda v: (lambda held: lambda t: tfd.Normal(t + held["v"], 1.0))({"v": v}),
    "deferred": lambda v: closure(tfp.util.DeferredTensor(v, tf.exp)),
    "distribution": lambda v: (lambda d: lambda t: tfd.Normal(t + d.mean(), 1.0))(tfd.Normal(v, 1)),
    "bijector": lambda v: (lambda b: lambda t: tfd.Normal(b(t), 1.0))(tfb.Shift(v)),
    "within a bijector": lambda v: (
        lambda d: lambda t: tfd.Normal(t + d.bijector(0.0), 1.0)
    )(tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfb.Chain([tfb.Shift(v)]))),
}  # fmt: skip


@pytest.mark.one
@pytest.mark.parametrize("kind", [tf.Variable, keras.Variable])
@pytest.mark.parametrize("hold", ONE_VARIABLE.values(), ids=ONE_VARIABLE.keys())
def test_a_variable_is_found_trained_and_saved_wherever_it_is(hold, kind, tmp_path):
    variable = kind(0.0)
    in_a_distribution = hold in [ONE_VARIABLE[key] for key in ("distribution", "bijector",
                                 "within a bijector", "deferred")]  # fmt: skip
    if kind is keras.Variable and in_a_distribution:
        pytest.skip("TFP reads a keras.Variable once: refused, see below")
    layer = layers.DistributionLambda(hold(variable), "mean")
    model = keras.Sequential([keras.Input((1,)), layer])
    assert len(model.trainable_weights) == 1
    model.compile(keras.optimizers.SGD(0.1), lambda y, d: -d.log_prob(y), jit_compile=False)
    x = np.zeros([8, 1], "float32")
    model.fit(x, x + 3.0, epochs=60, verbose=0)
    np.testing.assert_allclose(model(x).mean(), x + 3.0, atol=0.05)  # it moved, and is what is used
    model.save_weights(tmp_path / "m.weights.h5")
    value = variable.numpy()
    variable.assign(7.0)
    model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(variable.numpy(), value)


def test_globals_that_a_function_reads_are_held_and_no_others():
    assert [v.value for v in Held(of_a_global()).variables] == [A_GLOBAL]
    assert Held(lambda t: tfd.Normal(t, 1.0)).variables == []


def test_layers_are_held():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    layer = layers.DistributionLambda(lambda t: tfd.Normal(network(t), 1.0), "mean")
    model = keras.Sequential([keras.Input((2,)), layer])
    assert [w.path for w in model.trainable_weights] == [w.path for w in network.weights]


def test_one_keras_variable_for_one_tf_variable():
    v = tf.Variable(1.0)
    assert as_keras_variable(v) is as_keras_variable(v)
    assert as_keras_variable(v).value is v
    two = keras.Sequential([keras.Input((1,))])
    for _ in range(2):
        two.add(layers.DistributionLambda(closure(v), "mean"))
    assert len(two.trainable_weights) == 1


def test_what_is_not_trainable_stays_so():
    assert as_keras_variable(tf.Variable(1.0, trainable=False)).trainable is False
    prior = priors.as_prior(base())
    prior.trainable = False
    assert prior.trainable_weights == []


@pytest.mark.parametrize(
    "make",
    [
        lambda v: tfd.Normal(v, 1.0),
        lambda v: tfd.Independent(tfd.Normal(v, 1.0), 0),
        lambda v: tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfb.Shift(v)),
    ],
)
@pytest.mark.parametrize("use", [priors.as_prior, lambda d: Held(lambda: d)])
def test_a_keras_variable_that_tfp_has_frozen_is_refused_in_words(make, use):
    with pytest.raises(InputError, match=r"tf\.Variable.*variable\.value.*Received"):
        use(make(keras.Variable(0.0)))


def flow():
    return tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(2)),
        tfb.Chain(
            [
                tfb.MaskedAutoregressiveFlow(
                    layers.AutoregressiveNetwork(2, 2, hidden_units=[8], activation="tanh")
                ),
                tfb.Permute([1, 0]),
                tfb.RealNVP(num_masked=1, shift_and_log_scale_fn=layers.CouplingNetwork(1, 1, [8])),
            ]
        ),
    )


def mixture():
    return tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable([0.0, 0.5])),
        tfd.MultivariateNormalDiag(
            tf.Variable([[1.0, 0.0], [-1.0, 0.5]]),
            tfp.util.TransformedVariable([[1.0, 0.5], [2.0, 1.0]], tfb.Softplus()),
        ),
    )


def model_as_prior():
    return keras.Sequential([Constant(), layers.IndependentNormal(2)])


@keras.saving.register_keras_serializable(package="tests")
class Constant(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = self.add_weight(shape=(4,), initializer="zeros")

    def call(self, x):
        return tf.convert_to_tensor(self.value)


# name: (a prior with variables, how many)
PRIORS = {
    "diagonal": (lambda: tfd.Independent(base(), 1), 2),
    "mixture": (mixture, 3),
    "flow": (flow, 8),
    "function": (lambda: (lambda d: lambda: tfd.Independent(d, 1))(base()), 2),
    "model": (model_as_prior, 1),
}


def encoder(**kwargs):
    size = layers.MultivariateNormalTriL.params_size(2)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(size),
            layers.MultivariateNormalTriL(2, **kwargs),
        ]
    )


def vae_of(prior, where):
    if where == "vae":
        first, kwargs = encoder(), {"prior": prior}
    elif where == "regularizer":
        kl = layers.KLDivergenceRegularizer(prior)
        first, kwargs = encoder(activity_regularizer=kl), {}
    else:
        first = encoder()
        first.add(layers.KLDivergenceAddLoss(prior))
        kwargs = {}
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(6), layers.IndependentNormal(3)]
    )
    return VAE(first, decoder, **kwargs)


PLACES = ["vae", "regularizer", "add-loss"]


@pytest.mark.one
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(("make", "number"), PRIORS.values(), ids=PRIORS.keys())
def test_a_trainable_prior_is_trained(make, number, where):
    """Two of them under XLA: its compilation is what takes time."""
    vae = vae_of(make(), where)
    number_of_prior = [value[0] for value in PRIORS.values()].index(make)
    xla = number_of_prior < 2 and where == PLACES[number_of_prior % 3]
    assert len(vae.prior.trainable_weights) == number
    assert len(vae.trainable_weights) == 4 + number
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=xla, run_eagerly=not xla)
    before = [w.numpy() for w in vae.trainable_weights]
    x = np.random.default_rng(0).normal(size=[50, 3]).astype("float32")
    history = vae.fit(x, batch_size=16, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for w, start in zip(vae.trainable_weights, before, strict=True):
        assert (w.numpy() != start).any(), w.path


@pytest.mark.again
def test_a_trained_prior_fits_the_aggregated_posterior():
    """KL[N(c, 1) || N(loc, scale)], c fixed, over c of mean 2 and variance 1: loc 2, scale^2 2."""
    prior = tfd.Independent(base(), 1)
    c = np.random.default_rng(0).normal(2.0, 1.0, [512, 2]).astype("float32")
    layer = layers.DistributionLambda(
        lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1),
        activity_regularizer=layers.KLDivergenceRegularizer(prior),
    )
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(
        keras.optimizers.Adam(0.05), loss=lambda y, d: 0.0 * d.log_prob(y), jit_compile=False
    )
    model.fit(c, c, batch_size=512, epochs=200, verbose=0)
    np.testing.assert_allclose(prior.mean(), c.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(prior.variance(), 1 + c.var(axis=0), atol=0.05)


@pytest.mark.again
@pytest.mark.parametrize(
    "name",
    [
        "diagonal",
        pytest.param("mixture", marks=pytest.mark.again),
        pytest.param("flow", marks=pytest.mark.again),
    ],
)
def test_trained_priors_reload_and_serve_in_a_fresh_process(name, tmp_path):
    vae = vae_of(PRIORS[name][0](), "vae")
    vae.compile("adam", jit_compile=False)
    x = np.random.default_rng(0).normal(size=[50, 3]).astype("float32")
    vae.fit(x, epochs=2, verbose=0)
    vae.save(tmp_path / "m.keras")
    vae.export(tmp_path / "exported", verbose=False)
    weights = np.concatenate([w.numpy().ravel() for w in vae.trainable_weights])
    np.savez(
        tmp_path / "known.npz",
        x=x,
        weights=weights,
        sample=vae.sample(5, seed=1),
        evaluate=vae.evaluate(x, verbose=0),
        again=vae.fit(x, shuffle=False, verbose=0).history["loss"],
    )
    code = f"""
import keras, numpy as np, tensorflow as tf, tfp_vae
known = np.load("{tmp_path}/known.npz")
vae = keras.models.load_model("{tmp_path}/m.keras", safe_mode=True)
weights = np.concatenate([w.numpy().ravel() for w in vae.trainable_weights])
np.testing.assert_array_equal(weights, known["weights"])
np.testing.assert_array_equal(vae.sample(5, seed=1), known["sample"])
np.testing.assert_array_equal(vae.evaluate(known["x"], verbose=0), known["evaluate"])
again = vae.fit(known["x"], shuffle=False, verbose=0).history["loss"]
np.testing.assert_array_equal(again, known["again"])
served = tf.saved_model.load("{tmp_path}/exported")
assert served.sample(tf.constant(4)).shape == (4, 3)
assert np.isfinite(served.log_likelihood(known["x"][:3], tf.constant(5))).all()
print("same")
"""
    assert python(code).split() == ["same"]


def test_a_clone_of_a_model_with_a_trained_prior_computes_the_same():
    kl = layers.KLDivergenceRegularizer(mixture())
    model = encoder(activity_regularizer=kl)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert len(clone.trainable_weights) == len(model.trainable_weights)
    assert not {id(w) for w in clone.trainable_weights} & {id(w) for w in model.trainable_weights}


def test_a_function_is_told_whether_the_model_trains():
    layer = layers.DistributionLambda(
        lambda t, training: tfd.Normal(t + (1.0 if training else 0.0), 1.0), "mean"
    )
    x = np.zeros([2, 1], "float32")
    assert np.asarray(layer(x, training=True)).max() == 1.0
    assert np.asarray(layer(x, training=False)).max() == 0.0
