"""Replicas of a strategy: noise of their own, and else what one would do with the whole batch."""

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import ROOT, command, python

from tfp_vae import recipes

CODE = """
import json

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfp_vae import VAE, InputError, layers, networks, objectives
from tfp_vae.objectives.batch import draws_of_its_own, seed_of_step

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.ones([1, 6], "float32")
with strategy.scope():
    keras.utils.set_random_seed(0)
    vae = VAE(
        networks.encoder((6,), 2, widths=(8,)),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,)),
        objective=objectives.MMD(beta=1.0),
    )
    vae.compile("adam")


class AtStep:
    step = 3


def drawn():
    return vae(x, training=True).latents.z, seed_of_step(AtStep(), 0)


found = [strategy.run(tf.function(drawn, autograph=False)) for _ in range(2)]
found = tf.nest.map_structure(lambda v: [t.numpy().tolist() for t in v.values], found)
loss = vae.fit(np.ones([8, 6], "float32"), epochs=2, verbose=0).history["loss"]

restarts = {"decay": 0.5, "restart": 0.9, "revive_after": 1}
with strategy.scope():
    quantized = VAE(
        networks.encoder((6,), layers.VectorQuantized(2, 50, **restarts), widths=(8,)),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,)),
    )
    quantized.compile("adam")
quantized.fit(np.random.default_rng(0).random([16, 6]).round(), epochs=3, verbose=0)
weights = quantized.posterior_layer.codebook.weights
codebook = [[w.value.values[i].numpy().tolist() for w in weights] for i in range(2)]
with strategy.scope():
    normed = layers.WeightNorm(keras.layers.Dense(2))
    model = keras.Sequential([keras.Input((3,)), normed])
    model.compile("sgd", "mse")
data = np.random.default_rng(0).normal(size=[8, 3]), np.ones([8, 2])
try:
    refused = str(model.fit(*data, verbose=0))
except InputError as error:
    refused = str(error)
model(data[0])
model.fit(*data, verbose=0)
norms = [value.numpy().tolist() for value in normed.g.value.values]
told = {"found": found, "loss": loss, "codebook": codebook, "refused": refused, "norms": norms}
print(json.dumps(told))
"""


@pytest.mark.again
def test_replicas_draw_noise_of_their_own():
    told = json.loads(python(CODE).splitlines()[-1])
    draws = [z for step in told["found"] for z in step[0]]
    assert len({str(z) for z in draws}) == 4
    for _, seeds in told["found"]:
        assert seeds[0] != seeds[1]
    assert told["found"][0][1] == told["found"][1][1]  # of one step, as often as it is asked for
    assert np.isfinite(told["loss"]).all()
    assert told["codebook"][0] == told["codebook"][1]  # also of codes that start anew
    assert "replicas would start from different rows" in told["refused"]
    assert told["norms"][0] == told["norms"][1]


# Of the others the noise is not drawn by rows alone, or nobody has compared them yet.
COMPARED = (
    "published", "quantized", "two_levels", "geometry", "hierarchies", "labels", "residual",
    "sequences",
)  # fmt: skip


def room_of(name):
    return recipes.RECIPES[name].make.__module__.split(".")[-1]


ONE = ["vq_vae", "losses of a prior"]
OTHERS = [
    "MMD",
    "free bits",
    "capacity",
    "DIP",
    "weighted TC",
    *(n for n in recipes.RECIPES if n not in ONE and room_of(n) in COMPARED),
]
CASES = [
    pytest.param(45, ONE, id="a replica without rows"),
    pytest.param(45, OTHERS, id="the others"),
    # Noise is drawn by rows: models without it.
    pytest.param(47, ["vq_vae", "ae", "swae", "wae_mmd_rbf"], id="uneven"),
]


@pytest.mark.again
@pytest.mark.parametrize(("rows", "names"), CASES)
def test_two_replicas_are_one_where_the_noise_is_the_same(rows, names):
    """Losses, metrics and weights of two epochs of batches of 22, 22 and the rest, in float64."""
    agree([together(rows, names)], names)


@pytest.mark.again
def test_two_processes_are_one_where_the_noise_is_the_same():
    places = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            places.append(f"127.0.0.1:{free.getsockname()[1]}")
    configs = [
        json.dumps({"cluster": {"worker": places}, "task": {"type": "worker", "index": i}})
        for i in range(2)
    ]
    with ThreadPoolExecutor(2) as threads:
        done = threads.map(lambda config: together(45, ONE, TF_CONFIG=config), configs)
        agree(list(done), ONE)


def together(rows, names, **environment):
    script = [sys.executable, ROOT / "tests/bridge/two_replicas.py", rows, *names]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return command(script, timeout=900, PYTHONPATH=path, **environment)


def agree(done, names):
    for process in done:
        told = [json.loads(line) for line in process.stdout.splitlines()]
        assert [each["name"] for each in told] == names, process.stderr[-3000:]
        for each in told:
            assert each["told"] < 1e-13, each
            assert each["weights"] < 1e-13, each
            assert each["moved"] > 1e-4, each
            assert each["apart"] == 0, each
