"""Leapfrog steps against linear algebra, and the weight of a chain against the exact p(x)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import MODELS, given_to, half_known, ladder

from tfp_vae import VAE, InputError, layers, networks
from tfp_vae.objectives import Hamiltonian
from tfp_vae.objectives.leapfrog import leapfrog

tfd = tfp.distributions
L = keras.layers
STIFF = np.array([[2.0, 0.3], [0.3, 0.5]])
SIZES = np.array([0.1, 0.3])


def run(z, momentum, steps, slope_at=None, sizes=SIZES):
    """K steps, of U(z) = z' STIFF z / 2 unless its slope is given."""
    slope_at = slope_at or (lambda z: {"z": tf.linalg.matvec(tf.constant(STIFF), z["z"])})
    state = {"z": z}, {"z": momentum}, slope_at({"z": z})
    for _ in range(steps):
        state = leapfrog(*state, {"z": tf.constant(sizes)}, slope_at)
    return state[0]["z"], state[1]["z"]


def test_steps_of_a_quadratic_energy_are_a_power_of_a_matrix():
    """z moves by the momentum after its half step; the half steps are at the two ends."""
    e, eye, zero = np.diag(SIZES), np.eye(2), np.zeros([2, 2])
    kick = np.block([[eye, zero], [-e @ STIFF / 2, eye]])
    drift = np.block([[eye, e], [zero, eye]])
    once = kick @ drift @ kick
    start = np.array([1.0, -0.5, 0.3, 0.8])
    found = run(tf.constant(start[:2]), tf.constant(start[2:]), 7)
    np.testing.assert_allclose(
        np.concatenate(found), np.linalg.matrix_power(once, 7) @ start, rtol=1e-12
    )


def test_steps_keep_the_volume_and_are_undone_by_the_opposite_momentum():
    """Of any energy: here log cosh and a cross term."""
    slope_at = lambda z: {"z": tf.tanh(z["z"]) + tf.reduce_sum(z["z"]) ** 3}  # noqa: E731
    start = tf.constant([0.4, -0.2, 0.7, 0.1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        z, momentum = run(start[:2], start[2:], 5, slope_at)
        end = tf.concat([z, momentum], 0)
    assert float(tf.linalg.det(tape.jacobian(end, start))) == pytest.approx(1, abs=1e-10)
    back = run(z, -momentum, 5, slope_at)
    np.testing.assert_allclose(np.concatenate([back[0], -back[1]]), start, atol=1e-12)


def normal(objective, size=2, scale=0.5, data_shape=(2,)):
    """z ~ N(0, I), x = z + noise, and a q that is only near to the posterior."""
    q = layers.DistributionLambda(
        lambda t: tfd.Independent(tfd.Normal(0.6 * tf.reshape(t, [-1, 2]), 0.6), 1)
    )
    p = layers.DistributionLambda(
        lambda t: tfd.Independent(
            tfd.Normal(tf.reshape(t, [-1, *data_shape]), scale), len(data_shape)
        )
    )
    encoder = keras.Sequential([keras.Input(data_shape), L.Identity(), q])
    decoder = keras.Sequential([keras.Input((size,)), L.Identity(), p])
    return VAE(encoder, decoder, objective=objective)


def log_weights(model, x, samples):
    forward = model.forward(x, samples, seed=tf.constant([1, 2])).observing({"x": x}, step=0)
    return model.objective.log_weights(forward), forward


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1), (1, 2)])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_mean_of_the_weights_is_the_density_of_x(temperature, shape):
    model = normal(Hamiltonian(4, 0.2, inverse_temperature=temperature), data_shape=shape)
    x = np.array([[0.3, -0.4], [1.5, 0.2]], "float32").reshape([2, *shape])
    found, forward = log_weights(model, x, 20_000)
    exact = tfd.Normal(0.0, 1.25**0.5).log_prob(x.reshape([2, 2])).numpy().sum(1)
    estimate = tf.reduce_logsumexp(found, axis=0) - np.log(20_000)
    np.testing.assert_allclose(estimate, exact, atol=0.03)
    # The steps go to where p(x, z) is: the bound is nearer than that of q alone.
    if temperature == 1.0:
        assert np.all(tf.reduce_mean(found, 0) > tf.reduce_mean(forward.log_weights, 0))


def test_the_end_of_a_chain_is_the_steps_own():
    """By hand, with the objective's noise and its tempering."""
    model = normal(Hamiltonian(3, 0.2, inverse_temperature=0.25))
    x = np.array([[0.3, -0.4]], "float32")
    forward = model.forward(x, 1, seed=tf.constant([1, 2])).observing({"x": x}, step=0)
    z0 = forward.z.numpy()[0].astype("float64")
    log_w, end = model.objective.moved(forward)
    energy = lambda z: tfd.Normal(0.0, 1.0).log_prob(z).numpy().sum()  # noqa: E731
    slope = lambda z: z - (x - z) / 0.25  # noqa: E731
    roots = [(1 - 2) * (k / 3) ** 2 + 2 for k in range(4)]
    pair = tf.random.experimental.stateless_fold_in(tf.constant([0, 6]), 0)
    noise = tf.random.stateless_normal([1, 1, 2], pair).numpy()[0]
    z, m = z0, roots[0] * noise
    for k in range(3):
        half = m - 0.1 * slope(z)
        z = z + 0.2 * half
        m = (half - 0.1 * slope(z)) * roots[k + 1] / roots[k]
    np.testing.assert_allclose(end.z[0], z, rtol=1e-4)
    p_x = tfd.Normal(z, 0.5).log_prob(x).numpy().sum()
    q = tfd.Normal(0.6 * x, 0.6).log_prob(z0.astype("float32")).numpy().sum()
    expected = p_x + energy(z) - (m**2).sum() / 2 - q + (noise**2).sum() / 2
    np.testing.assert_allclose(log_w[0, 0], expected, rtol=1e-4)


@pytest.mark.again
@pytest.mark.parametrize("make", [ladder, half_known])
def test_models_of_several_variables_train_and_are_saved(make, tmp_path):
    if make is half_known:  # relaxed labels stay where these are known
        model = make(Hamiltonian(2, 0.01))
        given = given_to(make, 8)
        forward = model.forward(given).observing({"x": given["x"]}, step=0)
        end = model.objective.moved(forward)[1]
        np.testing.assert_array_equal(end["y"].value[0, :4], forward["y"].value[0, :4])
        return
    model, given = make(Hamiltonian(2, 0.01)), given_to(make)
    model.compile(keras.optimizers.Adam(1e-2))
    before = [w.numpy() for w in model.objective.steps.trainable_variables]
    history = model.fit(given, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    changed = [w.numpy() for w in model.objective.steps.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(before, changed, strict=True))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(changed, again.objective.steps.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_is_the_same_along_a_chain_and_moving_averages_are_of_one_pass():
    encoder = networks.encoder((4,), layers.IndependentNormal(2), widths=(8,))
    decoder = keras.Sequential([
        keras.Input((2,)), L.Dense(16), L.Dropout(0.5), L.BatchNormalization(),
        L.Dense(4), layers.IndependentBernoulli(4),
    ])  # fmt: skip
    model = VAE(encoder, decoder, objective=Hamiltonian(2))
    x = tf.cast(tf.random.stateless_uniform([16, 4], [1, 2]) < 0.5, tf.float32)
    likelihood = model(x, training=True)
    means = decoder.layers[2].moving_mean.numpy()
    forward = likelihood.forward.observing({"x": x}, step=0, training=True)
    np.testing.assert_allclose(forward.at({}).log_joint, forward.log_joint, rtol=1e-5)
    model.objective(forward)
    np.testing.assert_array_equal(decoder.layers[2].moving_mean, means)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="step_size < largest_step_size"):
        Hamiltonian(step_size=0.5)
    sequence = next(make for make in MODELS if make.__name__ == "sequence")
    with pytest.raises(InputError, match="not sequences"):
        sequence(Hamiltonian())
