"""The KL of several variables, balanced while its weight warms up."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from latent_models import given_to, ladder, top_down

from tfp_vae import schedules
from tfp_vae.objectives import ELBO

SIZES = {"z2": 2, "z1": 3}


def pass_of(model, step=0, weights=None, training=True):
    given = given_to(ladder)
    forward = model.forward(given, 2, seed=tf.constant([1, 2]))
    return forward.observing({"x": given["x"]}, step=step, weights=weights, training=training)


def published(kls, weights):
    """Numpy's `gamma_l`, of the sizes and the mean |KL| of the variables."""
    each = np.array([
        size * (np.average(np.abs(kls[name]), weights=weights) + 0.01)
        for name, size in SIZES.items()
    ])  # fmt: skip
    return dict(zip(SIZES, each / each.mean(), strict=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weigh", [False, True])
def test_the_weights_are_those_of_nvae(weigh, training):
    model = ladder(ELBO(beta=0.4, balance=True))
    rows = len(given_to(ladder)["x"])
    weights = np.linspace(0, 2, rows).astype("float32") if weigh else None
    forward = pass_of(model, weights=weights, training=training)
    kls = {name: kl.numpy().astype("float64") for name, kl in forward.kls.items()}
    gamma = published(kls, weights)
    assert max(gamma.values()) > 1.2
    expected = forward.nll.numpy() + 0.4 * sum(gamma[name] * kls[name] for name in SIZES)
    np.testing.assert_allclose(model.objective(forward).loss, expected, rtol=1e-5)
    np.testing.assert_allclose(model.objective(forward).kl, sum(kls.values()), rtol=1e-5)


def test_the_balance_has_no_gradient_of_its_own():
    model = ladder(ELBO(beta=0.4, balance=True))
    variables = model.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        forward = pass_of(model)
        gamma = published({name: kl.numpy() for name, kl in forward.kls.items()}, None)
        loss = tf.reduce_sum(model.objective(forward).loss)
        fixed = forward.nll + 0.4 * sum(gamma[name] * forward.kls[name] for name in SIZES)
        fixed = tf.reduce_sum(fixed)
    values = [v.value for v in variables]
    for a, b in zip(tape.gradient(loss, values), tape.gradient(fixed, values), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_it_ends_with_the_warm_up_of_each_variable():
    warming = schedules.warm_up(10)
    objective = ELBO(beta={"z2": 1.0, "z1": warming}, balance=True)
    model = ladder(objective)
    for step, warms in ((5, True), (10, False)):
        forward = pass_of(model, step=step)
        kls = forward.kls
        gamma = published({name: kl.numpy() for name, kl in kls.items()}, None)
        share = 0.5 * gamma["z1"] if warms else 1.0
        expected = forward.nll + kls["z2"] + share * kls["z1"]
        np.testing.assert_allclose(objective(forward).loss, expected, rtol=1e-5)


@pytest.mark.again
def test_it_trains_beside_free_bits():
    model = top_down(ELBO(beta=schedules.warm_up(100), free_bits=0.01, balance=True))
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(given_to(top_down), epochs=5, verbose=0).history
    assert history["nll"][-1] < history["nll"][0]
