"""A VAE as a whole: how it is listed, drawn, saved in the legacy format, copied."""

import copy

import keras
import numpy as np
import pytest
from conftest import small_networks

from tfp_vae import VAE, layers, networks, priors


def conditional():
    return VAE(
        networks.encoder((8, 8, 1), 2, widths=(4,), num_classes=3),
        networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), widths=(4,), num_classes=3),
    )


MODELS = {
    "with a KL regularizer": lambda: VAE(*small_networks()),
    "without": lambda: VAE(*small_networks(regularized=False)),
    "a trained prior": lambda: VAE(
        *small_networks(regularized=False), prior=priors.MixturePrior(2, 3)
    ),
    "conditional": conditional,
}


def data_of(vae, x):
    return x if not vae.wiring.conditions else {"x": x, "label": np.arange(len(x)) % 3}


def summary(vae, **kwargs):
    lines = []
    vae.summary(print_fn=lines.append, line_length=200, **kwargs)
    return "\n".join(lines)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_summary_names_each_part_once(make):
    vae = make()
    assert vae.layers == [vae.encoder, vae.decoder, vae.prior]
    for nested in (False, True):
        text = summary(vae, expand_nested=nested)
        names = [vae.encoder.name, vae.decoder.name, vae.prior.name]
        names += [vae.posterior_layer.name, vae.decoder.layers[-1].name] if nested else []
        for name in names:
            assert text.count(f"{name} (") == 1, name
    assert vae.get_layer("encoder") is vae.encoder


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_functional_model_is_the_same_model_and_is_drawn_whole(make, x):
    vae = make()
    whole = vae.functional()
    data = data_of(vae, x)
    assert whole(data).batch_shape == [len(x)]
    assert [layer.name for layer in whole.layers if isinstance(layer, keras.Model)] == [
        "encoder",
        "decoder",
    ]
    known = {id(weight) for weight in vae.weights}
    assert all(id(weight) in known for weight in whole.trainable_weights)
    pytest.importorskip("pydot")
    drawn = keras.utils.model_to_dot(whole, expand_nested=True).to_string()
    for network in (vae.encoder, vae.decoder):
        assert all(f"<b>{layer.name}</b>" in drawn for layer in network.layers)


@pytest.mark.one
@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_legacy_format_loads(make, suffix, x, tmp_path):
    vae = make()
    vae.save(tmp_path / f"vae.{suffix}")
    again = keras.models.load_model(tmp_path / f"vae.{suffix}")
    assert type(again) is VAE
    data = data_of(vae, x)
    np.testing.assert_array_equal(again.reconstruct(data), vae.reconstruct(data))
    means = [model.prior.distribution().mean() for model in (again, vae)]
    np.testing.assert_array_equal(*means)


def test_weights_alone(x, tmp_path):
    one, other = (MODELS["without"]() for _ in range(2))
    one.save_weights(tmp_path / "vae.weights.h5")
    other.load_weights(tmp_path / "vae.weights.h5")
    np.testing.assert_array_equal(one.reconstruct(x), other.reconstruct(x))


COPIES = {
    "deepcopy": (copy.deepcopy, True),
    "clone_model": (keras.models.clone_model, False),
    "json": (lambda vae: keras.models.model_from_json(vae.to_json()), False),
}


@pytest.mark.parametrize(("make", "with_weights"), COPIES.values(), ids=COPIES)
def test_a_copy_is_a_vae(make, with_weights, x):
    vae = MODELS["without"]()
    made = make(vae)
    assert type(made) is VAE
    assert not {id(w) for w in made.weights} & {id(w) for w in vae.weights}
    if not with_weights:
        made.set_weights(vae.get_weights())
    np.testing.assert_allclose(made.reconstruct(x), vae.reconstruct(x), rtol=1e-6)
