"""SavedModels answer in a process that has neither this package nor TFP, with the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python, small_networks

from tfp_vae import IWAE, VAE, NegativeLogLikelihood
from tfp_vae.errors import InputError


def build(objective=None, body="mlp"):
    keras.utils.set_random_seed(0)
    if body == "conv":
        from tfp_vae import layers, networks

        encoder = networks.encoder((8, 8, 1), 2, "conv", (4, 8))
        decoder = networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), "conv", (4, 8))
        return VAE(encoder, decoder, objective=objective)
    return VAE(*small_networks(), objective=objective)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, x):
    folder = tmp_path_factory.mktemp("exported")
    for name, model in {
        "mlp": build(),
        "conv": build(body="conv"),
        "iwae": build(IWAE(5)),
    }.items():
        model.compile("adam", jit_compile=False)
        model.fit(x, verbose=0)
        model.export(folder / name)
        log_likelihood = model.log_likelihood(x, 200, batch_size=64)  # the first draws, as below
        q = model.encode(x)
        np.savez(
            folder / f"{name}.npz",
            x=x,
            serve=model.reconstruct(x),
            mean=q.mean(),
            stddev=q.stddev(),
            z=q.mean(),
            decode=model.decode(q.mean()).mean(),
            sample=model.sample(6),
            log_likelihood=log_likelihood,
        )
    return folder


def test_answers_without_this_package_or_tfp(exported):
    """`sample` and `log_likelihood` too: the state of the seeds is in the SavedModel."""
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfp_vae", "tensorflow_probability", "tf_keras"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import numpy as np, tensorflow as tf
for name in ("mlp", "conv", "iwae"):
    model = tf.saved_model.load(f"{exported}/{{name}}")
    known = np.load(f"{exported}/{{name}}.npz")
    x, z = tf.constant(known["x"]), tf.constant(known["z"])
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    close(model.log_likelihood(x, tf.constant(200)), known["log_likelihood"])
    close(model.serve(x), known["serve"])
    close(model.encode(x)["mean"], known["mean"])
    close(model.encode(x)["stddev"], known["stddev"])
    close(model.decode(z), known["decode"])
    close(model.sample(tf.constant(6)), known["sample"])
    assert model.serve(x[:1]).shape == (1, 8, 8, 1)
    assert sorted(model.signatures) == ["decode", "encode", "log_likelihood", "sample", "serve",
                                        "serving_default"]
    assert not any(name in sys.modules for name in ("tfp_vae", "tensorflow_probability"))
    print("ok")
"""
    assert python(code).split() == ["ok"] * 3


@pytest.mark.one
@pytest.mark.parametrize("endpoint", ["serve", "decode"])
def test_a_tfsm_layer_takes_it(exported, endpoint):
    known = np.load(exported / "mlp.npz")
    inputs = known["x"] if endpoint == "serve" else known["z"]
    layer = keras.layers.TFSMLayer(exported / "mlp", call_endpoint=endpoint)
    np.testing.assert_allclose(layer(tf.constant(inputs)), known[endpoint], rtol=2e-5, atol=1e-6)


def test_draws_go_on_from_call_to_call(exported):
    model = tf.saved_model.load(exported / "mlp")
    first, second = model.sample(tf.constant(3)), model.sample(tf.constant(3))
    assert (first.numpy() != second.numpy()).any()


@pytest.mark.again
def test_a_plain_functional_model_exports_as_keras_does_it(tmp_path, x):
    encoder, decoder = small_networks()
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    model.compile("adam", loss=NegativeLogLikelihood(), jit_compile=False)
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    assert set(np.unique(served.serve(tf.constant(x)))) <= {0.0, 1.0}


def test_an_encoder_exports_its_draws(tmp_path, x):
    encoder, _ = small_networks()
    archive = keras.export.ExportArchive()
    archive.track(encoder)
    spec = [tf.TensorSpec([None, 8, 8, 1])]
    archive.add_endpoint("mean", lambda x: encoder(x).mean(), spec)
    archive.write_out(tmp_path / "encoder", verbose=False)
    served = tf.saved_model.load(tmp_path / "encoder")
    np.testing.assert_allclose(served.mean(tf.constant(x)), encoder(x).mean(), atol=1e-6)


@pytest.mark.again
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    vae = VAE(*small_networks())
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="new or empty folder, or a SavedModel"):
            vae.export(path)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "file").unlink()
    for _ in range(2):  # and one of its own is written anew
        vae.export(tmp_path)
    assert (tmp_path / "saved_model.pb").is_file()
