"""The Poincare ball: densities integrate to 1, distances are those of the shortest ways."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, optimize, stats

from tfp_vae import VAE, layers, networks
from tfp_vae.bijectors import exponential_map as ball
from tfp_vae.layers.poincare import WrappedNormalPrior, wrapped_normal
from tfp_vae.layers.riemannian import RiemannianNormalPrior, riemannian_normal

tfd = tfp.distributions
C = pytest.mark.parametrize("c", [0.5, 1.0, 2.0])


def around(mu, scale, c, dtype=tf.float64):
    return wrapped_normal(tf.constant(mu, dtype), tf.constant(scale, dtype), c)


def polar(c, count=120, farthest=12.0):
    """Points of the ball in geodesic coordinates around 0, and the weights of its own volume.

    The volume at the distance r is `sinh(sqrt(c) r) / sqrt(c) dr d(angle)`.
    """
    nodes, weights = np.polynomial.legendre.leggauss(count)
    r = farthest * (nodes + 1) / 2
    angle = np.arange(count) * 2 * np.pi / count
    grid, turn = np.meshgrid(r, angle, indexing="ij")
    z = np.tanh(c**0.5 * grid / 2) / c**0.5
    points = np.stack([z * np.cos(turn), z * np.sin(turn)], -1).reshape(-1, 2)
    each = np.outer(
        weights * farthest / 2 * np.sinh(c**0.5 * r) / c**0.5, [2 * np.pi / count] * count
    )
    return points, each.reshape(-1)


def log_lambda(z, c):
    return np.log(2) - np.log1p(-c * np.sum(z**2, -1))


@C
@pytest.mark.parametrize(("distance", "scale"), [(0.0, [1.0, 1.0]), (0.8, [0.5, 0.9])])
def test_the_density_over_the_volume_of_the_ball_integrates_to_one(c, distance, scale):
    mu = np.tanh(c**0.5 * distance / 2) / c**0.5 * np.array([0.6, -0.8])
    points, volume = polar(c)
    log_p = around(mu, scale, c).log_prob(tf.constant(points)).numpy() - 2 * log_lambda(points, c)
    assert np.sum(np.exp(log_p) * volume) == pytest.approx(1, abs=1e-4)


@C
def test_the_density_is_that_of_the_paper_and_of_the_jacobian(c):
    """N(lambda log_mu(z)) (r / sinh r)^(d - 1), in 3 dimensions; and log |det| by autodiff."""
    mu = np.array([0.2, -0.1, 0.3]) / c**0.5
    d, v = around(mu, [0.7] * 3, c), tf.constant([[0.3, 0.5, -0.4], [1.5, -0.2, 0.9]], tf.float64)
    f = ball.ExponentialMap(tf.constant(mu), c)
    with tf.GradientTape() as tape:
        tape.watch(v)
        z = f.forward(v)
    jacobian = tape.batch_jacobian(z, v)
    _, log_det = np.linalg.slogdet(jacobian)
    np.testing.assert_allclose(f.forward_log_det_jacobian(v, 1), log_det, rtol=1e-8)
    r = c**0.5 * np.linalg.norm(v, axis=-1)
    published = stats.norm(0, 0.7).logpdf(v).sum(-1) + 2 * np.log(r / np.sinh(r))
    z = tf.identity(z)
    np.testing.assert_allclose(d.log_prob(z) - 3 * log_lambda(z.numpy(), c), published, rtol=1e-7)
    np.testing.assert_allclose(f.inverse(z), v, rtol=1e-8)


@C
def test_the_map_goes_as_far_as_its_vector_is_long(c):
    """The length of the straight ray from 0, and of any way after a translation, by quadrature."""
    a, b = np.array([0.3, -0.2]) / c**0.5, np.array([-0.1, 0.5]) / c**0.5
    exact = np.arccosh(1 + 2 * c * np.sum((a - b) ** 2) / ((1 - c * a @ a) * (1 - c * b @ b)))
    found = ball.distance(tf.constant(a), tf.constant(b), c)
    assert float(found) == pytest.approx(exact / c**0.5, rel=1e-10)
    ray = integrate.quad(lambda t: np.exp(log_lambda(t * b, c)) * np.linalg.norm(b), 0, 1)[0]
    assert float(ball.distance(tf.zeros(2, tf.float64), tf.constant(b), c)) == pytest.approx(ray)
    v = tf.constant([0.6, -1.1], tf.float64)
    z = ball.ExponentialMap(tf.constant(a), c).forward(v)
    assert float(ball.distance(tf.constant(a), z, c)) == pytest.approx(float(tf.norm(v)))


@C
def test_gyroplanes_are_distances_to_the_nearest_point_of_a_plane(c):
    layer = layers.Gyroplanes(1, c, dtype="float64")
    z = np.array([0.35, -0.2]) / c**0.5
    layer.build((None, 2))
    normal, offset = np.array([0.6, 0.4]), np.array([-0.5, 0.3])
    layer.normals.assign([normal])
    layer.offsets.assign([offset])
    p = ball.from_origin(tf.constant(offset), c)
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    f = ball.ExponentialMap(p, c)

    def far(t):
        return float(ball.distance(f.forward(tf.constant(t * along)), tf.constant(z), c))

    nearest = optimize.minimize_scalar(
        far, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}
    )
    expected = 2 * np.linalg.norm(normal) * nearest.fun
    assert abs(float(layer(tf.constant([z]))[0, 0])) == pytest.approx(expected, rel=1e-6)
    flat = layers.Gyroplanes(1, 1e-8, dtype="float64")
    flat.build((None, 2))
    flat.normals.assign([normal])
    flat.offsets.assign([offset])
    assert float(flat(tf.constant([z]))[0, 0]) == pytest.approx(
        4 * normal @ (z - offset / 2), rel=1e-5
    )


@C
@pytest.mark.parametrize(("distance", "scale"), [(0.0, 1.0), (0.8, 0.3)])
def test_the_riemannian_normal_falls_with_the_distance_and_integrates_to_one(c, distance, scale):
    """In two dimensions over the whole ball; in 3, around the origin, by the radius alone."""
    mu = np.tanh(c**0.5 * distance / 2) / c**0.5 * np.array([0.6, -0.8])
    points, volume = polar(c)
    p = riemannian_normal(tf.constant(mu), tf.constant(scale, tf.float64), c)
    log_p = p.log_prob(tf.constant(points)).numpy() - 2 * log_lambda(points, c)
    far = ball.distance(tf.constant(mu), tf.constant(points), c).numpy()
    falls = log_p + far**2 / (2 * scale**2)
    np.testing.assert_allclose(falls[far < 6], falls[0], atol=1e-6)
    assert np.sum(np.exp(log_p) * volume) == pytest.approx(1, abs=1e-4)
    r = np.linspace(1e-4, 9, 2001)
    z = np.tanh(c**0.5 * r / 2)[:, None] / c**0.5 * np.array([0.36, -0.48, 0.8])
    p = riemannian_normal(tf.zeros(3, tf.float64), tf.constant(scale, tf.float64), c)
    log_p = p.log_prob(tf.constant(z)).numpy() - 3 * log_lambda(z, c)
    shell = 4 * np.pi * np.sinh(c**0.5 * r) ** 2 / c
    assert integrate.simpson(np.exp(log_p) * shell, x=r) == pytest.approx(1, abs=1e-5)


def test_in_five_dimensions_it_integrates_to_one_by_importance():
    mu = tf.constant([0.2, -0.1, 0.3, 0.0, 0.1], tf.float64)
    p = riemannian_normal(mu, tf.constant(0.5, tf.float64), 1.0)
    proposal = around(np.zeros(5), [0.9] * 5, 1.0)
    z = proposal.sample(200_000, seed=1)
    weights = tf.exp(p.log_prob(z) - proposal.log_prob(z)).numpy()
    assert weights.mean() == pytest.approx(1, abs=4.5 * weights.std() / len(weights) ** 0.5)
    assert weights.std() < 5


LAYERS = pytest.mark.parametrize(
    ("layer", "prior"),
    [(layers.WrappedNormal, WrappedNormalPrior), (layers.RiemannianNormal, RiemannianNormalPrior)],
)


@LAYERS
@pytest.mark.one
def test_draws_far_away_stay_inside_with_finite_densities_and_gradients(layer, prior):
    layer = layer(3)
    t = tf.constant([[0.0] * 6, [50.0, 0, 0, 3, 3, 3], [0, -1e-12, 0, -90, -90, -90]])
    t = t[:, : layer.num_parameters]

    @tf.function(jit_compile=True, autograph=False)
    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = layer(t)
            z = tf.convert_to_tensor(q)
            value = tf.reduce_sum(q.log_prob(z) - prior(3).distribution().log_prob(z))
        return z, value, tape.gradient(value, t)

    z, value, gradient = run(t)
    assert np.all(np.linalg.norm(z, axis=-1) < 1)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_the_kl_is_that_of_the_integral():
    c, q = 1.0, around([0.3, 0.1], [0.4, 0.6], 1.0)
    p = around([0.0, 0.0], 1.0, 1.0)
    points, volume = polar(c)
    log_q, log_p = (d.log_prob(tf.constant(points)).numpy() for d in (q, p))
    density = np.exp(log_q - 2 * log_lambda(points, c))
    exact = np.sum(density * (log_q - log_p) * volume)
    z = q.sample(40_000, seed=1)
    assert float(tf.reduce_mean(q.log_prob(z) - p.log_prob(z))) == pytest.approx(exact, abs=0.02)


@pytest.mark.again
@LAYERS
def test_a_vae_on_the_ball_learns_draws_and_is_saved(layer, prior, tmp_path, x):
    encoder = networks.encoder((8, 8, 1), layer(2, 0.7), widths=(16,))
    decoder = keras.Sequential(
        [keras.Input((2,)), layers.Gyroplanes(16, 0.7), keras.layers.Activation("silu"),
         keras.layers.Dense(64), layers.IndependentBernoulli((8, 8, 1))]
    )  # fmt: skip
    vae = VAE(encoder, decoder)
    vae.compile(keras.optimizers.Adam(0.01))
    history = vae.fit(x, epochs=15, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert vae.sample(3).shape == (3, 8, 8, 1)
    assert np.isfinite(vae.log_likelihood(x, 5)).all()
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    assert isinstance(again.prior, prior)
    assert again.prior.curvature == 0.7
    np.testing.assert_allclose(again.sample(3, seed=1), vae.sample(3, seed=1), rtol=1e-5)
