"""Models reload in a fresh process with `import tfp_vae` alone, safely, and compute the same."""

import functools
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python, small_networks

from tfp_vae import ELBO, IWAE, VAE, NegativeLogLikelihood, layers, priors, schedules
from tfp_vae import layers as tfpl
from tfp_vae.bridge.serialization import distribution_from_config, distribution_to_config
from tfp_vae.bridge.tracking import Held
from tfp_vae.errors import InputError

tfd, tfb = tfp.distributions, tfp.bijectors


def plain():
    encoder, decoder = small_networks()
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    model.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    return model


def with_add_loss():
    encoder, decoder = small_networks(regularized=False)
    kl = layers.KLDivergenceAddLoss(priors.unit_normal(2), weight=schedules.Cyclical(10))
    model = keras.Model(encoder.inputs[0], decoder(kl(encoder.outputs[0])))
    model.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    return model


def vae(regularized=True, **kwargs):
    def build():
        model = VAE(*small_networks(regularized=regularized), **kwargs)
        model.compile("adam", jit_compile=False)
        return model

    return build


MIXTURE = tfd.MixtureSameFamily(
    tfd.Categorical(probs=[0.3, 0.7]),
    tfd.Independent(tfd.Normal([[1.0, 0.0], [-1.0, 0.5]], [[1.0, 0.5], [2.0, 1.0]]), 1),
)
CASES = {
    "plain": plain,
    "add-loss": with_add_loss,
    "vae": vae(),
    "no-regularizer": vae(regularized=False),
    "iwae": vae(objective=IWAE(3)),
    "scheduled": vae(objective=ELBO(schedules.warm_up(10))),
    "mixture-prior": vae(regularized=False, prior=MIXTURE),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, x):
    """Every case trained a little and saved, with what it computes next."""
    folder = tmp_path_factory.mktemp("saved")
    np.save(folder / "x.npy", x)
    for name, build in CASES.items():
        keras.utils.set_random_seed(0)
        model = build()
        data = (x, x) if model.loss else (x,)
        model.fit(*data, batch_size=16, epochs=2, verbose=0)
        model.save(folder / f"{name}.keras")
        np.savez(
            folder / f"{name}.npz",
            predict=model.predict(x, verbose=0),
            evaluate=model.evaluate(*data, verbose=0),
            again=model.fit(*data, shuffle=False, verbose=0).history["loss"],
        )
    return folder


@pytest.mark.again
def test_reloads_in_a_fresh_process_with_identical_outputs(saved):
    """Draws, loss and the next training step included: the seeds and the optimizer are saved."""
    code = f"""
import keras, numpy as np, tfp_vae
x = np.load("{saved}/x.npy")
for name in {list(CASES)}:
    model = keras.models.load_model(f"{saved}/{{name}}.keras", safe_mode=True)
    data = (x, x) if model.loss else (x,)
    known = np.load(f"{saved}/{{name}}.npz")
    np.testing.assert_array_equal(model.predict(x, verbose=0), known["predict"], name)
    np.testing.assert_array_equal(model.evaluate(*data, verbose=0), known["evaluate"], name)
    again = model.fit(*data, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_array_equal(again, known["again"], name)
    print(name, type(model).__name__)
"""
    assert len(python(code).splitlines()) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_no_code_is_in_the_file(saved, name):
    with zipfile.ZipFile(saved / f"{name}.keras") as file:
        config = file.read("config.json").decode()
    assert "__lambda__" not in config
    assert "pickle" not in config
    assert json.loads(config)


@keras.saving.register_keras_serializable(package="tests")
def registered(t):
    return tfd.Normal(t, 1.0)


def one_layer(make, convert="mean"):
    return keras.Sequential([keras.Input((2,)), layers.DistributionLambda(make, convert)])


def test_a_registered_function_reloads_safely(tmp_path):
    one_layer(registered).save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(np.ones([3, 2]), verbose=0), np.ones([3, 2]))


@pytest.mark.parametrize("which", ["make", "convert"])
def test_a_lambda_needs_safe_mode_off_and_says_so(tmp_path, which):
    if which == "make":
        model = one_layer(lambda t: tfp.distributions.Normal(t, 1.0))
    else:
        model = one_layer(registered, lambda d: d.mean())
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        keras.models.load_model(tmp_path / "m.keras")


def test_a_lambda_reloads_with_safe_mode_off(tmp_path):
    model = one_layer(registered, lambda d: d.mean() + 1.0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=False)
    np.testing.assert_array_equal(again.predict(np.ones([1, 2]), verbose=0), [[2.0, 2.0]])


OFFSET = 3.0
LAMBDAS = {
    "tfd": lambda t: tfd.Normal(t, 1.0),
    "tfp": lambda t: tfp.distributions.Normal(t + np.float32(0.0), 1.0),
    "tfpl": lambda t: tfpl.IndependentNormal(2)(keras.ops.concatenate([t, t], -1)),
    "a default": lambda t, scale=2.0: tfd.Normal(t, scale),
    "one within": lambda t: (lambda u: tfd.Normal(tf.identity(u), 1.0))(t),
    "a global": lambda t: tfd.Normal(t + OFFSET, 1.0),
}


@pytest.mark.one
@pytest.mark.parametrize("name", LAMBDAS)
def test_a_lambda_reloads_with_the_names_that_it_uses(tmp_path, name):
    model = one_layer(LAMBDAS[name], lambda d: tf.convert_to_tensor(d.mean()))
    model.save(tmp_path / "m.keras")
    load = functools.partial(keras.models.load_model, tmp_path / "m.keras", safe_mode=False)
    if name == "a global":
        with pytest.raises(InputError, match=r"custom_objects.*OFFSET"):
            load()
    again = load(custom_objects={"OFFSET": 3.0})
    x = np.ones([1, 2], "float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(again(x).stddev(), model(x).stddev())


def test_weights_alone_are_saved_and_loaded(tmp_path, x):
    first, second = vae()(), vae()()
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(first.reconstruct(x), second.reconstruct(x))


DISTRIBUTIONS = {
    "normal": tfd.Normal(1.0, [2.0, 3.0]),
    "float64": tfd.Normal(np.float64(1), np.float64(2)),
    "independent": priors.unit_normal((2, 3)),
    "diagonal": tfd.MultivariateNormalDiag(tf.zeros(2), [1.0, 2.0]),
    "tril": tfd.MultivariateNormalTriL([0.0, 1.0], [[1.0, 0.0], [0.5, 2.0]]),
    "mixture": MIXTURE,
    "sample": tfd.Sample(tfd.Laplace(0.0, 1.0), [3]),
    "integers": tfd.Bernoulli(logits=[0.5], dtype=tf.int64),
    "transformed": tfd.TransformedDistribution(
        tfd.Normal(0.0, 1.0), tfb.Chain([tfb.Shift(1.0), tfb.Scale(2.0)])
    ),
    "sphere": tfd.SphericalUniform(3),
    "variables": tfd.Normal(tf.Variable([0.5, 1.0], name="loc"), tf.Variable(2.0, trainable=False)),
    "transformed-variable": tfd.Normal(0.0, tfp.util.TransformedVariable([1.0, 2.0], tfb.Exp())),
    "deferred": tfd.Normal(0.0, tfp.util.DeferredTensor(tf.Variable([1.0, 2.0]), tfb.Exp())),
    "trained-mixture": tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable([0.0, 1.0])),
        tfd.MultivariateNormalDiag(
            tf.Variable([[1.0, 0.0], [-1.0, 0.5]]),
            tfp.util.TransformedVariable([[1.0, 0.5], [2.0, 1.0]], tfb.Softplus()),
        ),
    ),
    "masked-flow": tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag([0.0, 1.0]),
        tfb.Chain(
            [
                tfb.MaskedAutoregressiveFlow(layers.AutoregressiveNetwork(2, 2, seed=1)),
                tfb.Permute([1, 0]),
                tfb.Invert(
                    tfb.MaskedAutoregressiveFlow(
                        layers.AutoregressiveNetwork(2, 2, hidden_units=[4], activation="relu")
                    )
                ),
            ]
        ),
    ),
    "real-nvp": tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), [3]),
        tfb.RealNVP(
            num_masked=1,
            shift_and_log_scale_fn=layers.CouplingNetwork(1, 2, [8], activation="tanh"),
        ),
    ),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_distributions_come_back_from_json(distribution):
    config = json.loads(json.dumps(distribution_to_config(distribution)))
    again = distribution_from_config(config)
    assert type(again) is type(distribution)
    assert again.dtype == distribution.dtype
    # Networks come back with initial weights of their own, which Keras then loads.
    weights = [
        [w for layer in Held(d).layers for w in layer.weights] for d in (again, distribution)
    ]
    for mine, theirs in zip(*weights, strict=True):
        mine.assign(theirs)
    assert len(Held(again).variables) == len(Held(distribution).variables)
    for mine, theirs in zip(Held(again).variables, Held(distribution).variables, strict=True):
        assert mine.trainable == theirs.trainable
        assert mine.value is not theirs.value
    value = distribution.sample(seed=(0, 1)).numpy()  # TFP knows a bijector's own draws again
    np.testing.assert_array_equal(again.log_prob(value), distribution.log_prob(value))
    np.testing.assert_array_equal(again.sample(seed=(0, 1)), value)


class OfTheUser(tfd.Normal):
    pass


@pytest.mark.parametrize(
    "distribution",
    [OfTheUser(0.0, 1.0), tfd.Sample(OfTheUser(0.0, 1.0), 2)],
    ids=["class", "part"],
)
def test_what_cannot_be_saved_says_so_by_name(distribution):
    with pytest.raises(ValueError, match=r"priors\.Prior.*Received"):
        distribution_to_config(distribution)


def test_a_variable_that_occurs_twice_stays_one():
    shared = tf.Variable(0.5)
    config = distribution_to_config(tfd.Laplace(shared, shared))
    again = distribution_from_config(config)
    assert again.loc is again.scale


@pytest.mark.parametrize(
    "config",
    [
        {"distribution": "os", "parameters": {}},
        {"distribution": "kl_divergence", "parameters": {}},
        {"bijector": "Normal", "parameters": {}},
    ],
)
def test_a_config_constructs_nothing_but_distributions(config):
    with pytest.raises(ValueError, match="Expected the name of a TFP"):
        distribution_from_config(config)
