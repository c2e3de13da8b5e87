"""Von Mises-Fisher draws in any dimension: their gradient against integrals and closed forms."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import integrate, special

from tfp_vae import layers
from tfp_vae.distributions import implicit_angle
from tfp_vae.distributions.spherical import FisherAroundMean

tfd = tfp.distributions


def mean_cosine(d, kappa):
    return special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)


@pytest.mark.parametrize(("d", "kappa"), [(2, 1.5), (2, 100.0), (4, 10.0), (50, 1.5), (50, 300.0)])
def test_the_slope_of_a_draw_is_that_of_the_quantile(d, kappa):
    """By quadrature: -int_0^angle (cos s - A) h(s) ds / h(angle)."""
    density = lambda s: np.exp(kappa * (np.cos(s) - 1)) * np.sin(s) ** (d - 2)  # noqa: E731
    mean = mean_cosine(d, kappa)
    around = np.arccos(mean)
    angles = np.clip(around * np.array([0.5, 0.9, 1.0, 1.2, 1.6]), 0.01, 3.1)
    expected = [
        -np.sin(a) / density(a)
        * integrate.quad(lambda s: (np.cos(s) - mean) * density(s), 0, a, limit=200)[0]
        for a in angles
    ]  # fmt: skip
    found = implicit_angle._slope(
        tf.constant(1 - np.cos(angles)), tf.constant(kappa, tf.float64), tf.constant(mean), d
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("by_xla", [False, True])
@pytest.mark.parametrize(("d", "kappa"), [(2, 2.0), (5, 20.0), (30, 8.0)])
@pytest.mark.one
def test_the_gradient_of_an_expectation_is_its_derivative(d, kappa, by_xla):
    """E cos = A(kappa): A' = 1 - A^2 - (d - 1) A / kappa; and of cos^2, numerically."""
    mean_direction = tf.one_hot(0, d)

    @tf.function(jit_compile=by_xla, autograph=False)
    def gradients(value):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(value)
            x = FisherAroundMean(mean_direction, value).sample(20_000, seed=(1, 2))[:, 0]
            first, second = tf.reduce_mean(x), tf.reduce_mean(x**2)
        return tape.gradient(first, value), tape.gradient(second, value)

    a = mean_cosine(d, kappa)
    # E cos^2 = 1 - (d - 1) A / kappa.
    slope = 1 - a**2 - (d - 1) / kappa * a
    expected = slope, -(d - 1) * (slope / kappa - a / kappa**2)
    np.testing.assert_allclose(gradients(tf.constant(kappa)), expected, rtol=0.05)


def test_it_is_a_posterior_like_any_other():
    q = layers.VonMisesFisher(6)(tf.constant([[1.0, 0, 0, 0, 0, 0, 3.0]]))
    assert q.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    kl = tfd.kl_divergence(q, tfd.SphericalUniform(6))
    z = q.sample(20_000, seed=1)
    by_draws = tf.reduce_mean(q.log_prob(z) - tfd.SphericalUniform(6).log_prob(z))
    assert float(kl[0]) == pytest.approx(float(by_draws), abs=0.02)
