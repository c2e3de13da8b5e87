"""A metric that is learned: its energy and steps, and the weight of a chain against p(x)."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from latent_models import MODELS
from test_hamiltonian import log_weights, normal

from tfp_vae import VAE, InputError, layers, networks
from tfp_vae.objectives import Hamiltonian, RiemannianHamiltonian
from tfp_vae.objectives.metric import Metric
from tfp_vae.objectives.riemannian import Curved

X = np.array([[0.3, -0.4], [1.5, 0.2]], "float32")


def metric(width=1.2, least=0.3, dtype="float64"):
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=[4, 2, 2]))
    centroids = rng.normal(size=[4, 2])
    squares = lower @ lower.transpose(0, 2, 1)
    return Metric(tf.constant(centroids, dtype), tf.constant(squares, dtype), width, least)


def by_hand(metric, z):
    """G(z), by numpy."""
    shares = np.exp(-np.sum((z - metric.centroids.numpy()) ** 2, axis=-1) / metric.width**2)
    total = sum(s * square for s, square in zip(shares, metric.squares.numpy(), strict=True))
    return np.linalg.inv(total + metric.least * np.eye(2))


def test_the_energy_is_that_of_a_normal_with_the_metric_for_its_covariance():
    m, z = metric(), np.array([[0.2, -0.3], [0.9, 1.4]])
    momentum = np.array([[0.5, -1.0], [0.1, 2.0]])
    expected = [
        -scipy.stats.multivariate_normal(np.zeros(2), by_hand(m, a)).logpdf(b)
        for a, b in zip(z, momentum, strict=True)
    ]
    found = m.energy(tf.constant(z), tf.constant(momentum)) + np.log(2 * np.pi)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    noise = np.eye(2)[:, np.newaxis] + np.zeros([2, 2, 2])
    columns = m.momentum(tf.constant(np.stack([z, z])), tf.constant(noise)).numpy()
    for i in range(2):  # m = A g has the covariance A A'
        np.testing.assert_allclose(columns[:, i].T @ columns[:, i], by_hand(m, z[i]), rtol=1e-10)


def test_its_slope_and_velocity_are_its_derivatives():
    m, z = metric(), tf.constant([[0.2, -0.3], [0.9, 1.4]], tf.float64)
    momentum = tf.constant([[0.5, -1.0], [0.1, 2.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([z, momentum])
        energy = m.energy(z, momentum)
    of_z, of_m = tape.gradient(energy, [z, momentum])
    np.testing.assert_allclose(m.slope(z, momentum), of_z, rtol=1e-10)
    np.testing.assert_allclose(m.velocity(z, momentum), of_m, rtol=1e-10)


def steps(start, iterations, count=4, sizes=(0.1, 0.2)):
    """From `[z, m]` to `[z, m]`, of an energy with cross terms, by steps of two sizes."""
    space, sizes = Curved(metric(), iterations), {"z": tf.constant(sizes, tf.float64)}
    slope_at = lambda z: {"z": tf.tanh(z["z"]) + tf.reduce_sum(z["z"])}  # noqa: E731
    z, m = {"z": start[:2]}, {"z": start[2:]}
    slope = slope_at(z)
    for _ in range(count):
        z, m, slope = space.step(z, m, slope, sizes, slope_at)
    return tf.concat([z["z"], m["z"]], 0)


@pytest.mark.parametrize(("iterations", "error"), [(20, 1e-9), (3, 5e-3)])
def test_steps_keep_the_volume_and_are_undone_to_the_tolerance_of_the_fixed_point(
    iterations, error
):
    start = tf.constant([0.4, -0.2, 0.7, 0.1], tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(start)
        end = steps(start, iterations, 3)
    assert np.max(abs(end - start)) > 0.1
    jacobian = tape.jacobian(end, start, experimental_use_pfor=False)
    assert float(tf.linalg.det(jacobian)) == pytest.approx(1, abs=error)
    flipped = tf.constant([1, 1, -1, -1], tf.float64)
    np.testing.assert_allclose(flipped * steps(flipped * end, iterations, 3), start, atol=error)


def test_the_energy_of_a_curved_path_is_kept_as_steps_become_small():
    """Of second order in the step: H along the way changes by a quarter at half the step."""
    m, start = metric(), tf.constant([0.4, -0.2, 0.7, 0.1], tf.float64)

    def total(state):
        z, momentum = state[:2], state[2:]
        u = tf.reduce_sum(tf.math.log(tf.cosh(z))) + tf.reduce_sum(z) ** 2 / 2
        return float(u + m.energy(z, momentum))

    lost = [
        abs(total(steps(start, 60, count, [0.4 / count] * 2)) - total(start)) for count in (4, 8)
    ]
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_where_the_metric_is_flat_it_is_the_euclidean_bound(temperature):
    given = {"num_steps": 3, "step_size": 0.2, "largest_step_size": 0.5}
    flat = normal(Hamiltonian(**given, inverse_temperature=temperature))
    curved = normal(
        RiemannianHamiltonian(**given, inverse_temperature=temperature, width=1e-3, least=1.0)
    )
    (expected, _), (found, _) = (log_weights(model, X, 5) for model in (flat, curved))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("temperature", "training"),
    [(0.3, True), (1.0, False), pytest.param(1.0, True, marks=pytest.mark.again)],
)
def test_the_mean_of_the_weights_is_the_density_of_x(temperature, training):
    objective = RiemannianHamiltonian(
        3, 0.1, 0.5, inverse_temperature=temperature, least=0.5, num_iterations=5
    )
    model = normal(objective)
    log_weights(model, X, 1)
    kept = objective.learned.squares.numpy()[:2]
    assert np.all(np.linalg.eigvalsh(kept) > 0)  # the metric of that pass
    forward = model.forward(X, 10_000, seed=tf.constant([1, 2]))
    forward = forward.observing({"x": X}, step=0, training=training)
    found = objective.log_weights(forward)
    exact = scipy.stats.norm(0, 1.25**0.5).logpdf(X).sum(1)
    estimate = tf.reduce_logsumexp(found, axis=0) - np.log(10_000)
    np.testing.assert_allclose(estimate, exact, atol=0.03)


@pytest.mark.again
def test_it_learns_keeps_the_last_examples_and_is_saved(tmp_path, x):
    encoder = networks.encoder((8, 8, 1), layers.IndependentNormal(3), widths=(12,))
    decoder = networks.decoder(3, layers.IndependentBernoulli((8, 8, 1)), widths=(12,))
    model = VAE(encoder, decoder, objective=RiemannianHamiltonian(2, num_centroids=40))
    model.compile(keras.optimizers.Adam(0.01))
    before = [w.numpy() for w in model.objective.learned.trainable_variables]
    history = model.fit(x, batch_size=32, epochs=4, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    changed = [w.numpy() for w in model.objective.learned.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(before, changed, strict=True))
    kept = model.objective.learned.centroids.numpy()
    assert np.all(np.any(kept != 0, axis=-1))  # 32 of one batch and 8 of the one before
    assert np.isfinite(model.evaluate(x, verbose=0)).all()
    np.testing.assert_array_equal(model.objective.learned.centroids, kept)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.objective.learned.centroids, kept)
    of_each = []
    for one in (model, again):
        forward = one.forward(x, 2, seed=tf.constant([1, 2]))
        of_each.append(one.objective.log_weights(forward.observing({"x": x}, training=False)))
    np.testing.assert_allclose(*of_each, rtol=1e-4)


def test_what_has_no_metric_is_refused():
    sequence = next(make for make in MODELS if make.__name__ == "sequence")
    with pytest.raises(InputError, match="not sequences"):
        sequence(RiemannianHamiltonian())
    small = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    with pytest.raises(InputError, match="from 2 values of x to 3 of L"):
        normal(RiemannianHamiltonian(metric=small))
