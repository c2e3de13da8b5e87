"""Sample weights weigh the loss by Keras' rule, for every objective."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_networks

from tfp_vae import ELBO, IWAE, VAE, layers, networks, objectives

SHARED = {  # of each example: its loss is a share of the batch's
    "ELBO": lambda: ELBO(beta=2.0),
    "free bits": lambda: ELBO(free_bits=0.1),
    "capacity": lambda: ELBO(beta=3.0, capacity=0.5),
    "capacity of each example": lambda: ELBO(capacity=0.5, capacity_of="example"),
    "IWAE": lambda: IWAE(3),
    "DReG": lambda: IWAE(3, "dreg"),
    "PIWAE": lambda: objectives.PIWAE(2, 2),
    "CIWAE": lambda: objectives.CIWAE(3),
    "MIWAE": lambda: objectives.MIWAE(2, 2),
    "RAE": lambda: objectives.RegularizedAE(0.5),
}


def model(make):
    keras.utils.set_random_seed(1)
    encoder, decoder = small_networks()
    if make is SHARED["RAE"]:
        encoder = networks.encoder((8, 8, 1), layers.Deterministic(2), widths=(16,))
    return VAE(encoder, decoder, objective=make())


def loss_and_gradient(make, x, weights):
    vae = model(make)
    with tf.GradientTape() as tape, vae._drawing(vae.objective.num_samples):
        p = vae(x, training=True)
        loss = vae.compute_loss(x, y_pred=p, sample_weight=weights)
    variables = [v.value for v in vae.trainable_variables]
    return [loss, *tape.gradient(loss, variables)]


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
@pytest.mark.one
def test_an_example_of_weight_0_counts_nothing(make, x):
    weights = tf.constant(np.repeat([1.0, 0.0], 32), tf.float32)
    other = np.concatenate([x[:32], 1 - x[32:]])
    for a, b in zip(*(loss_and_gradient(make, each, weights) for each in (x, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_weights_of_2_are_twice_the_loss_and_its_gradient(make, shape, x):
    twice = tf.reshape(tf.fill([64], 2.0), shape)
    plain = loss_and_gradient(make, x, None)
    for a, b in zip(plain, loss_and_gradient(make, x, twice), strict=True):
        np.testing.assert_allclose(2 * a, b, rtol=1e-4, atol=1e-6)
