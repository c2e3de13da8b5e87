"""ONNX's and LiteRT's runtimes answer as the Python model does, or nothing is written."""

import errno
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tfp_vae import VAE, InputError, layers, networks
from tfp_vae.model.export import converters, saved_model

RNG = np.random.default_rng(0)
BITS = (RNG.random((9, 6)) < 0.5).astype("float32")
COUNTS = RNG.poisson(2.0, (9, 6)).astype("float32")
REAL = RNG.normal(size=(9, 6)).astype("float32")
IMAGES = (RNG.random((9, 8, 8, 1)) < 0.5).astype("float32")


def vae(posterior, likelihood):
    keras.utils.set_random_seed(1)
    encoder = networks.encoder((6,), posterior, widths=(4,))
    shape = encoder.output_shape[1:]
    return VAE(encoder, networks.decoder(shape, likelihood, widths=(4,)))


def convolutional():
    keras.utils.set_random_seed(1)
    likelihood = layers.IndependentBernoulli((8, 8, 1))
    decoder = networks.decoder(2, likelihood, "conv", (4, 8))
    return VAE(networks.encoder((8, 8, 1), 2, "conv", (4, 8)), decoder)


def conditional():
    keras.utils.set_random_seed(1)
    likelihood = layers.IndependentBernoulli(6)
    decoder = networks.decoder(2, likelihood, widths=(4,), num_classes=3)
    return VAE(networks.encoder((6,), 2, widths=(4,), num_classes=3), decoder)


PARTS = {  # posterior, likelihood, x
    "TriL and StudentT": (layers.MultivariateNormalTriL, 2, layers.StudentT, REAL),
    "Normal and ContinuousBernoulli": (
        layers.IndependentNormal, 2, layers.ContinuousBernoulli, BITS * 0.9 + 0.05,
    ),
    "Diag and counts": (layers.MultivariateNormalDiag, 2, layers.NegativeBinomial, COUNTS),
    "Gamma and Poisson": (layers.Gamma, 2, layers.IndependentPoisson, COUNTS),
    "Relaxed and bits": (layers.RelaxedOneHotCategorical, 4, layers.IndependentBernoulli, BITS),
}  # fmt: skip


def of_parts(posterior, size, likelihood, x):
    return lambda: vae(posterior(size), likelihood(6))


def with_codes():
    return vae(layers.VectorQuantized(3, 4), layers.IndependentBernoulli(6))


def with_flow():
    return vae(layers.PlanarFlow(2, 2), layers.IndependentBernoulli(6))


again = pytest.mark.again
CASES = [
    *(
        pytest.param(of_parts(*parts), parts[-1], id=name, marks=[again] if i > 1 else [])
        for i, (name, parts) in enumerate(PARTS.items())
    ),
    pytest.param(with_codes, BITS, id="codes", marks=again),
    pytest.param(with_flow, BITS, id="flow", marks=again),
    pytest.param(convolutional, IMAGES, id="convolutional", marks=again),
]


def by_onnx(path, inputs, endpoint=None):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    found = session.run(None, {name: inputs[name] for name in names})
    return dict(zip([out.name for out in session.get_outputs()], found, strict=True))


def by_litert(path, inputs, endpoint=None):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    runner = interpreter.Interpreter(str(path)).get_signature_runner(endpoint)
    return runner(**{name: inputs[name] for name in runner.get_input_details()})


FORMATS = {"onnx": ("tf2onnx", ".onnx", by_onnx), "litert": ("tensorflow", ".tflite", by_litert)}


def expected(model, endpoint, given):
    if endpoint == "serve":
        return {"output_0": model.reconstruct(given)}
    if endpoint == "decode":
        return {"output_0": model.decode(given).mean()}
    q = model.encode(given)
    found = {"z": model.representative(q)}
    for name in ("mean", "stddev"):
        try:
            found[name] = getattr(q, name)()
        except NotImplementedError:
            continue
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("make", "x"), CASES)
def test_a_runtime_gives_the_numbers_of_the_model_for_any_batch(make, x, format, tmp_path):
    package, suffix, run = FORMATS[format]
    pytest.importorskip(package)
    model = make()
    path = tmp_path / ("model.tflite" if format == "litert" else "model")
    model.export(path, format=format)
    z = np.asarray(model.representative(model.encode(x)))
    for endpoint in ("serve", "encode", "decode"):
        for count in (1, len(x)):
            given = (z if endpoint == "decode" else x)[:count]
            inputs = {"z" if endpoint == "decode" else "x": given}
            found = run(path if path.is_file() else path / f"{endpoint}{suffix}", inputs, endpoint)
            known = expected(model, endpoint, given)
            assert sorted(found) == sorted(known)
            for name, values in known.items():
                np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.again
def test_conditions_are_inputs_beside_x(format, tmp_path):
    package, suffix, run = FORMATS[format]
    pytest.importorskip(package)
    model, labels = conditional(), np.arange(9, dtype=np.int32) % 3
    model.export(tmp_path / "a", format=format, endpoints=["serve"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == [f"serve{suffix}"]
    found = run(tmp_path / "a" / f"serve{suffix}", {"x": BITS, "label": labels})
    known = model.reconstruct({"x": BITS, "label": labels})
    np.testing.assert_allclose(found["output_0"], known, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    return vae(layers.IndependentNormal(2), layers.IndependentBernoulli(6))


def test_one_file_of_onnx_reconstructs(small, tmp_path):
    pytest.importorskip("tf2onnx")
    small.export(tmp_path / "new" / "model.onnx", format="onnx")
    found = by_onnx(tmp_path / "new" / "model.onnx", {"x": BITS})
    np.testing.assert_allclose(found["output_0"], small.reconstruct(BITS), atol=1e-5)


REFUSED = {
    "draws": ({"format": "onnx", "endpoints": ["sample"]}, "cannot draw .*SavedModel.* sample"),
    "densities": ({"format": "litert", "endpoints": "log_likelihood"}, "cannot draw random"),
    "another format": ({"format": "torch"}, "'tf_saved_model', 'onnx' or 'litert'.*'torch'"),
    "another endpoint": ({"format": "onnx", "endpoints": ["encod"]}, "among serve, encode, decode"),
    "no endpoint": ({"format": "onnx", "endpoints": []}, "among serve, encode, decode"),
    "a version of LiteRT": ({"format": "litert", "opset_version": 3}, "Only ONNX"),
    "a signature": ({"input_signature": 3}, "no input_signature"),
    "some of a SavedModel": ({"endpoints": ["serve"]}, "SavedModel has all endpoints"),
    "a suffix": ({"format": "litert", "filepath": "a.onnx"}, r"ends in \.tflite"),
    "two in a file": (
        {"format": "onnx", "filepath": "a.onnx", "endpoints": ["serve", "encode"]},
        "one endpoint",
    ),
}


@pytest.mark.one
@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_format_cannot_hold_is_refused(given, message, small, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        small.export(**{"filepath": "model", **given})
    assert not list(tmp_path.iterdir())


class Digamma(keras.layers.Layer):
    """An operation that neither format has."""

    def call(self, x):
        import tensorflow as tf

        return tf.math.digamma(tf.abs(x) + 1.0)


@pytest.mark.parametrize("format", FORMATS)
def test_operations_that_a_format_lacks_are_named_and_nothing_is_written(format, tmp_path):
    pytest.importorskip(FORMATS[format][0])
    last = layers.IndependentNormal(2)
    encoder = keras.Sequential([keras.Input((6,)), Digamma(), keras.layers.Dense(4), last])
    model = VAE(encoder, networks.decoder(2, layers.IndependentBernoulli(6), widths=(4,)))
    with pytest.raises(InputError, match=r"no operations for .* serve .*Digamma"):
        model.export(tmp_path / "model", format=format)
    assert not (tmp_path / "model").exists()


def test_the_standard_deviation_of_a_tril_is_tfps():
    """Above the diagonal TFP reads nothing."""
    whole = RNG.normal(size=(5, 3, 3)).astype("float32") + 2 * np.eye(3, dtype="float32")
    q = tfp.distributions.MultivariateNormalTriL(np.zeros(3, "float32"), whole)
    np.testing.assert_allclose(saved_model.stddev(q), q.stddev(), rtol=1e-5)


@pytest.mark.again
def test_what_can_be_converted_is_converted_without_the_rest(tmp_path):
    """LiteRT has no operation for the diagonal of a covariance, which is in `encode` alone."""
    model = vae(layers.PowerSpherical(3), layers.IndependentBernoulli(6))
    with pytest.raises(InputError, match=r"what the endpoint encode computes.*MatrixDiagPart"):
        model.export(tmp_path / "model.tflite", format="litert")
    model.export(tmp_path / "model.tflite", format="litert", endpoints=["serve", "decode"])
    found = by_litert(tmp_path / "model.tflite", {"x": BITS}, "serve")
    np.testing.assert_allclose(found["output_0"], model.reconstruct(BITS), atol=1e-5)


def test_a_package_that_is_absent_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"needs tf2onnx: pip install 'tfp_vae\[onnx\]'"):
        small.export(tmp_path / "model", format="onnx")
    assert not (tmp_path / "model").exists()


@pytest.mark.again
def test_what_a_runtime_rejects_is_not_written(small, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(converters.onnx_operations, "HANDLERS", {})
    monkeypatch.setattr(converters, "_unknown_to_onnx", lambda model: set())
    model = vae(layers.IndependentNormal(2), layers.StudentT(6))
    with pytest.raises(InputError, match=r"ONNXRuntimeError.*BroadcastArgs"):
        model.export(tmp_path / "model", format="onnx")
    assert not (tmp_path / "model").exists()


def test_files_of_a_conversion_take_their_places_together_or_not_at_all(
    small, tmp_path, monkeypatch
):
    monkeypatch.setattr(converters, "_to_litert", lambda _: lambda folder, names: b"new")
    monkeypatch.setattr(converters, "export_endpoints", lambda *args, **kwargs: None)
    folder, write = tmp_path / "files", Path.write_bytes
    folder.mkdir()
    (folder / "serve.tflite").write_bytes(b"old")

    def on_a_full_disk(file, content):
        write(file, content[:1])
        if "encode" in file.name:
            raise OSError(errno.ENOSPC, "No space left on device")

    def files():
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", on_a_full_disk)
        with pytest.raises(OSError, match="No space"):
            converters.export_converted(small, folder, "litert")
    assert files() == {"serve.tflite": b"old"}
    converters.export_converted(small, folder, "litert")
    assert files() == dict.fromkeys(["serve.tflite", "encode.tflite", "decode.tflite"], b"new")
