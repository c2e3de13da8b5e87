"""Crafted files: what is loaded calls nothing that was not registered, and changes nothing."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp
from conftest import small_networks

from tfp_vae import VAE, InputError, layers, objectives, priors
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.marginals import DeferredPrior
from tfp_vae.bridge.serialization import distribution_from_config
from tfp_vae.layers import util

tfd = tfp.distributions


def named(path, as_class=False):
    """A config that names any public function of Keras, as a file may."""
    module, _, name = path.rpartition(".")
    if as_class:
        return {"module": module, "class_name": name, "config": {}, "registered_name": None}
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


FUNCTIONS = [
    "keras.config.set_epsilon",
    "keras.datasets.mnist.load_data",
    "keras.utils.set_random_seed",
    "keras.utils.get_file",
    "keras.saving.load_model",
    "keras.activations.get",
    "keras.backend.clear_session",
    "os.system",
    "builtins.exec",
]


def autoregressive(function):
    return {
        "distribution": "Autoregressive",
        "parameters": {"distribution_fn": {"keras": function}, "sample0": 1.5, "num_steps": 1},
    }


def inline(function):
    bijector = {"bijector": "Inline", "parameters": {"forward_fn": {"keras": function}}}
    return {
        "distribution": "TransformedDistribution",
        "parameters": {
            "distribution": {"distribution": "Normal", "parameters": {"loc": 0.0, "scale": 1.0}},
            "bijector": bijector,
        },
    }


def config_of(thing, **changed):
    return {**thing.get_config(), **changed}


NORMAL = layers.IndependentNormal(2)
PLACES = {
    "itself": loaded,
    "in a list in a dict": lambda f: loaded({"a": [{"b": f}]}),
    "of the layer's utilities": lambda f: util.deserialize_function(f, "function"),
    "an autoregressive prior": lambda f: distribution_from_config(autoregressive(f)),
    "a bijector": lambda f: distribution_from_config(inline(f)),
    "a deferred prior": lambda f: DeferredPrior.from_config({"make": f}),
    "make_distribution_fn": lambda f: layers.DistributionLambda.from_config(
        {"make_distribution_fn": f}
    ),
    "convert_to_tensor_fn": lambda f: layers.IndependentNormal.from_config(
        config_of(NORMAL, convert_to_tensor_fn=f)
    ),
    "activity_regularizer": lambda f: layers.IndependentNormal.from_config(
        config_of(NORMAL, activity_regularizer=f)
    ),
    "test_points_fn": lambda f: layers.KLDivergenceRegularizer.from_config(
        config_of(layers.KLDivergenceRegularizer(priors.unit_normal(2)), test_points_fn=f)
    ),
    "component_layer": lambda f: layers.MixtureSameFamily.from_config(
        config_of(layers.MixtureSameFamily(2, layers.IndependentNormal(1)), component_layer=f)
    ),
    "kernel_posterior_fn": lambda f: layers.DenseFlipout.from_config(
        config_of(layers.DenseFlipout(2), kernel_posterior_fn=f)
    ),
    "a schedule": lambda f: objectives.ELBO.from_config({"beta": f}),
}


@pytest.fixture
def unchanged():
    """What a crafted file was seen to change stays as it was."""
    before = keras.config.epsilon(), keras.config.floatx(), keras.config.dtype_policy()
    yield
    now = keras.config.epsilon(), keras.config.floatx(), keras.config.dtype_policy()
    assert now == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("load", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("path", FUNCTIONS)
def test_no_function_of_others_is_let_in(load, path):
    for function in (named(path), named(path, as_class=True)):
        with pytest.raises((ValueError, TypeError)):
            load(function)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("key", ["prior", "objective", "encoder", "decoder"])
@pytest.mark.again
def test_no_part_of_a_model_is_a_function(key, tmp_path):
    vae = VAE(*small_networks(regularized=False))
    vae.save(tmp_path / "vae.keras")
    with zipfile.ZipFile(tmp_path / "vae.keras") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"][key] = named("keras.config.set_epsilon")
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "crafted.keras", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises((InputError, TypeError), match="register_keras_serializable"):
        keras.models.load_model(tmp_path / "crafted.keras")


@keras.saving.register_keras_serializable(package="test_loading")
def make():
    return tfd.Normal(0.0, 1.0)


def test_what_was_registered_is_let_in():
    again = loaded(keras.saving.serialize_keras_object(DeferredPrior(make)))
    assert again.make is make
    for function in (keras.activations.relu, "relu"):
        config = keras.saving.serialize_keras_object(keras.layers.Dense(2, function))
        assert loaded(config).activation is keras.activations.relu


def test_custom_objects_reach_what_is_within(tmp_path):
    """As an argument and as a scope; without them the same file is refused."""

    def local(h):
        return 2.0 * h

    decoder = small_networks(regularized=False)[1]
    x = keras.Input((8, 8, 1))
    doubled = keras.layers.Dense(4, activation=local)(keras.layers.Flatten()(x))
    vae = VAE(keras.Model(x, layers.IndependentNormal(2)(doubled)), decoder)
    vae.save(tmp_path / "vae.keras")
    known = {"local": local}
    again = [keras.models.load_model(tmp_path / "vae.keras", custom_objects=known)]
    with keras.saving.custom_object_scope(known):
        again.append(keras.models.load_model(tmp_path / "vae.keras"))
    ones = np.ones([1, 8, 8, 1], "float32")
    for model in again:
        np.testing.assert_allclose(model.encode(ones).mean(), vae.encode(ones).mean(), rtol=1e-6)
    with pytest.raises((InputError, TypeError), match="custom_objects"):
        keras.models.load_model(tmp_path / "vae.keras")
