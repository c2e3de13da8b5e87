"""What a type checker finds in code that uses the package, and what it lets pass."""

import inspect
import re
from pathlib import Path

import keras
import pytest
import tensorflow_probability as tfp
from conftest import ROOT

import tfp_vae
from tfp_vae import types
from tfp_vae.bridge.coercible import TensorCoercible

BEFORE = """
import keras
from tfp_vae import ELBO, VAE, layers, networks, types

encoder = networks.encoder((4,), 2)
decoder = networks.decoder(2, layers.IndependentNormal(4))
vae = VAE(encoder, decoder, objective=ELBO(), name="vae")
x = [[1.0, 2.0, 3.0, 4.0]]
"""
WRONG = {
    "VAE(encoder, decoder, obective=ELBO())": "obective",
    "VAE(encoder, decoder, objective=3)": "incompatible type",
    "VAE(encoder)": "decoder",
    "VAE(encoder, decoder, nme='a')": "nme",
    "ELBO(bta=4.0)": "bta",
    "vae.encod(x)": "encod",
    "vae.encode()": "encode",
    "vae.encode(x, 3)": "encode",
    "vae.encode(x).meen()": "meen",
    "vae.encode(x).sample(sead=3)": "sead",
    "vae.decode(x, condition=3)": "condition",
    "vae.decode(x).log_probability(x)": "log_probability",
    "vae.sample(num=3)": "num",
    "vae.sample('3')": "incompatible type",
    "vae.reconstruct(x, 3)": "reconstruct",
    "vae.log_likelihood(x, num_sample=5)": "num_sample",
    "vae.log_likelihood(x, '5')": "incompatible type",
    "vae.fit(x, epoch=3)": "epoch",
    "vae.fit(x, epochs='3')": "incompatible type",
    "vae.fit(x).histories": "histories",
    "vae.evaluate(x, return_dic=True)": "return_dic",
    "vae.predict(x, batchsize=3)": "batchsize",
    "vae.compile(optimzer='adam')": "optimzer",
    "vae.export('a', fromat='onnx')": "fromat",
    "vae.safe('a.keras')": "safe",
    "vae.sumary()": "sumary",
    "vae.objektive": "objektive",
    "a: str = vae.encode(x)": "Incompatible types",
    "b: dict[str, str] = vae.fit(x).history": "Incompatible types",
}
RIGHT = """
q: types.Distribution = vae.encode(x)
mean = vae.encode(x).mean() + vae.encode(x)[:, :2] * 2
width = vae.decode(q.sample(3, seed=1)).stddev().numpy()
vae.compile("adam", metrics=["mse"], jit_compile=False, steps_per_execution=3)
history = vae.fit(x, x, 32, epochs=3, callbacks=[keras.callbacks.EarlyStopping()], verbose=0)
loss: float = history.history["loss"][-1]
vae.evaluate(x, return_dict=True, batch_size=3)["loss"]
vae.predict(x, verbose=0).mean()
vae.sample(3, mean=False, seed=1).numpy()
vae.reconstruct({"x": x})
vae.log_likelihood(x, 5, batch_size=3)
vae.export("folder", format="onnx", endpoints=["encode"])
vae.save("vae.keras")
vae.save_weights("vae.weights.h5")
vae.summary(expand_nested=True)
vae.get_layer("encoder").summary()
vae.trainable = False
vae.optimizer.learning_rate = 3.0
rest = vae.metrics_names, vae.losses, vae.layers, vae.weights, vae.count_params(), vae.get_config()
parts = vae.encoder.layers, vae.decoder, vae.prior.distribution().mean(), vae.objective.num_samples
vae(x, training=True)
keras.models.clone_model(vae)


def trained(model: keras.Model) -> keras.Model:
    return model


class Mine(VAE):
    def train_step(self, data):
        return {**super().train_step(data), "more": 1.0}


trained(vae)
Mine(encoder, decoder).encode(x)
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What mypy says of a program's lines: by the line, the messages."""
    api = pytest.importorskip("mypy.api")
    path = tmp_path_factory.mktemp("types") / "program.py"
    lines = [*BEFORE.splitlines(), *RIGHT.splitlines(), *WRONG]
    path.write_text("\n".join(lines) + "\n")
    options = ["--ignore-missing-imports", "--follow-imports=silent", "--no-error-summary"]
    cache = ["--config-file=", f"--cache-dir={path.parent / 'cache'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(ROOT))
        out, err, _ = api.run([*options, *cache, str(path)])
    assert not err
    found: dict[str, str] = {}
    for line in out.splitlines():
        number, message = re.match(r".*?program\.py:(\d+): (.*)", line).groups()
        found[lines[int(number) - 1]] = found.get(lines[int(number) - 1], "") + message
    return found


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_found(line, checked):
    assert WRONG[line] in checked.get(line, "nothing is found")


def test_what_is_right_passes(checked):
    assert {line: said for line, said in checked.items() if line not in WRONG} == {}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("protocol", "thing"),
    [
        (types.Distribution, tfp.distributions.Normal(0.0, 1.0)),
        (types.TensorDistribution, TensorCoercible(tfp.distributions.Normal(0.0, 1.0))),
    ],
)
def test_a_distribution_has_all_that_its_protocol_has(protocol, thing):
    assert public(protocol) - public(thing) == set()


def test_the_protocol_has_what_every_distribution_of_tfp_has():
    everywhere = public(tfp.distributions.Distribution)
    of_modules = {"name_scope", "submodules", "with_name_scope", "non_trainable_variables"}
    of_classes = {"experimental_fit", "param_shapes", "param_static_shapes"}
    of_classes |= {"parameter_properties"}
    assert everywhere - of_modules - of_classes - public(types.Distribution) == set()


def test_the_stub_has_all_that_is_public_of_a_keras_model():
    text = (Path(tfp_vae.__file__).parent / "bridge" / "keras_model.pyi").read_text()
    stub = set(re.findall(r"^    (?:def )?(\w+)[:(]", text, re.MULTILINE))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    of_sequential = {"add", "pop", "rebuild", "operations", "output_names", "input_names"}
    of_sequential |= {"input_shape", "output_shape", "input_dtype", "input_spec"}
    missing = public(keras.Model) | (public(model) - public(keras.Sequential) - of_sequential)
    assert missing - stub == set()


METHODS = ["compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch"]


@pytest.mark.parametrize("name", METHODS)
def test_arguments_are_those_of_keras(name):
    ours, theirs = (
        [
            p.name
            for p in inspect.signature(getattr(owner, name)).parameters.values()
            if p.kind is not p.VAR_KEYWORD and not p.name.startswith("_")
        ]
        for owner in (tfp_vae.VAE, keras.Model)
    )
    assert ours == theirs
