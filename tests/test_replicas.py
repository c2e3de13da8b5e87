"""Replicas of a strategy each draw noise of their own."""

import json

import numpy as np
from conftest import python

CODE = """
import json

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfp_vae import VAE, layers, networks, objectives
from tfp_vae.objectives.base import draws_of_its_own, seed_of_step

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
print(json.dumps({"found": found, "loss": loss}))
"""


def test_replicas_draw_noise_of_their_own():
    told = json.loads(python(CODE).splitlines()[-1])
    draws = [z for step in told["found"] for z in step[0]]
    assert len({str(z) for z in draws}) == 4
    for _, seeds in told["found"]:
        assert seeds[0] != seeds[1]
    assert told["found"][0][1] == told["found"][1][1]  # of one step, as often as it is asked for
    assert np.isfinite(told["loss"]).all()
