"""`python two_replicas.py ROWS MODEL ...`: two replicas against one of the same noise, as JSON."""

import functools
import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from recipe_models import inputs, made
from tensorflow.python.ops import gen_stateless_random_ops_v2 as generators

from tfp_vae import VAE, data, layers, networks
from tfp_vae.bridge import random_state, replicas
from tfp_vae.objectives import DIP, ELBO, MMD, BetaTC, batch

ROWS = 11  # of a replica: an axis of another multiple is of rows of several draws, not 2 or 6
LATENTS = 3  # of `made`, and below
# Beside the recipes: what sees the whole batch otherwise than these do.
OBJECTIVES = {
    "free bits": lambda: ELBO(free_bits=0.1),
    "capacity": lambda: ELBO(beta=3.0, capacity=1.0),
    "MMD": lambda: MMD(weight=5.0, beta=1.0),
    "DIP": lambda: DIP(weight=5.0),
    "weighted TC": lambda: BetaTC(100, sampling="weighted"),
    "losses of a prior": lambda: MMD(weight=5.0, beta=1.0),
}


def model(name):
    """A recipe's, or one of an objective, whose layers add losses to it."""
    if name not in OBJECTIVES:
        return made(name)
    posterior = (
        layers.MultivariateNormalDiag if name in ("MMD", "DIP") else layers.IndependentNormal
    )
    if name == "losses of a prior":
        return VAE(
            networks.encoder((8, 8, 1), layers.IndependentNormal(3), widths=(12,)),
            networks.decoder(3, layers.IndependentBernoulli((8, 8, 1)), widths=(12,)),
            prior=regularized(),
            objective=OBJECTIVES[name](),
        )
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(3, "float64"))
    encoder = keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(12, "tanh", activity_regularizer="l2", kernel_regularizer="l1"),
        keras.layers.Dense(posterior.params_size(3)),
        posterior(3, activity_regularizer=layers.KLDivergenceRegularizer(prior)),
    ])  # fmt: skip
    decoder = networks.decoder(3, layers.IndependentBernoulli((8, 8, 1)), widths=(12,))
    return VAE(encoder, decoder, objective=OBJECTIVES[name]())


def regularized():
    """A prior whose layers add a loss whenever it is made."""
    return keras.Sequential([
        layers.VariableLayer([6], initializer="ones"),
        keras.layers.Activation("tanh", activity_regularizer=keras.regularizers.L2(10.0)),
        layers.IndependentNormal(3),
    ])  # fmt: skip


def sliced(generator):
    """Gives each replica its rows of what one replica would draw, of each draw of several."""

    def drawn(shape, *args, **kwargs):
        draw = functools.partial(generator, *args, **kwargs)
        this = replicas.replica()
        if this is None:
            return draw(shape=shape)
        shape = tf.convert_to_tensor(shape)
        if not shape.shape[0]:
            return draw(shape=shape)
        # Rows may be of several draws, one after the other, on the first or the second axis.
        ahead = shape[:2]
        times = ahead // ROWS
        of_both = (ahead == 2 * ROWS) | (ahead == 2 * ROWS * LATENTS)  # beside the whole batch
        several = (ahead == times * ROWS) & ~of_both
        pairs = [tf.where(several, times, 1), tf.where(several, ROWS, ahead)]
        apart = tf.concat([tf.reshape(tf.stack(pairs, axis=1), [-1]), shape[2:]], axis=0)
        own = ROWS * tf.cast(apart == ROWS, shape.dtype)
        start = own * tf.cast(this.replica_id_in_sync_group, shape.dtype)
        return tf.reshape(tf.slice(draw(shape=apart + own), start, apart), shape)

    return drawn


def same_noise():
    random_state.of_replica = batch.of_replica = lambda seed: seed
    for name in ("normal_v2", "uniform_v2", "uniform_int_v2", "uniform_full_int_v2"):
        name = f"stateless_random_{name}"
        setattr(generators, name, sliced(getattr(generators, name)))
    raw = "StatelessRandomNormalV2"
    setattr(tf.raw_ops, raw, sliced(getattr(tf.raw_ops, raw)))
    # Whether a draw is rejected depends on its parameter, of which a replica has its rows alone.
    generators.stateless_random_gamma_v3 = lambda shape, alpha, **_: (
        0.9 * tf.broadcast_to(alpha, shape)
    )


def trained(name, strategy, x, weights):
    """What `fit` and `evaluate` tell, and the weights before and after."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        vae = model(name)
        if weights is not None:
            vae.set_weights(weights)
        weights = vae.get_weights()
        vae.compile(keras.optimizers.SGD(1e-3))
        given = {"batch_size": 2 * ROWS, "sample_weight": np.linspace(0, 2, len(x)), "verbose": 0}
        told = vae.fit(inputs(vae, x), epochs=2, shuffle=False, **given)
        found = vae.evaluate(inputs(vae, x), **given)
    copies = [getattr(variable.value, "values", []) for variable in vae.variables]
    apart = [len({value.numpy().tobytes() for value in values}) > 1 for values in copies]
    return [*told.history.values(), found], weights, vae.get_weights(), sum(apart)


def farthest(one, other):
    """The largest difference, of the larger of 1 and the value."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True)]
    return float(np.max([np.max(abs(a - b) / np.maximum(1, abs(a)), initial=0) for a, b in pairs]))


def strategy_of_two():
    """Two replicas: two processes, or in one two logical devices."""
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main(rows, names):
    two = strategy_of_two()
    same_noise()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    x = data.binarized(data.load("digits").train[: int(rows)])
    for name in names:
        told, start, end, _ = trained(name, tf.distribute.get_strategy(), x, None)
        told_by_two, _, end_of_two, apart = trained(name, two, x, start)
        found = {
            "name": name,
            "told": farthest(told, told_by_two),
            "weights": farthest(end, end_of_two),
            "moved": farthest(start, end),
            "apart": apart,  # variables of which replicas have copies that differ
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2], sys.argv[2:])
