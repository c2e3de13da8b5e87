"""Lengths of a Riemannian normal: their normalizer, their draws and the gradient of these."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special

from tfp_vae.distributions import radial

SCALES = [0.05, 0.4, 1.0, 2.5]


def log_h(x, scale, power):
    """Relative to the largest."""
    with np.errstate(divide="ignore"):
        return -((x / scale) ** 2) / 2 + power * (x + np.log(-np.expm1(-2 * x) / 2))


def moment(of, scale, power):
    """`log Z` and `E of(x)`, by scipy's adaptive quadrature in pieces around the mode."""
    grid = np.linspace(1e-12, power * scale**2 + 12 * scale * (1 + power**0.5), 100_001)
    top = log_h(grid, scale, power).max()
    h = np.exp(log_h(grid, scale, power) - top)
    z = integrate.simpson(h, x=grid)
    return np.log(z) + top, integrate.simpson(h * of(grid), x=grid) / z


@pytest.mark.parametrize("power", [0, 1, 2, 4, 15, 49])
@pytest.mark.parametrize("scale", SCALES)
def test_the_normalizer_is_the_integral(power, scale):
    expected, _ = moment(np.square, scale, power)
    assert float(radial.log_integral(tf.constant(scale, tf.float64), power)) == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )
    single = float(radial.log_integral(tf.constant(scale), power))
    assert single == pytest.approx(expected, rel=1e-6, abs=3e-6)


@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_normalizer_is_the_sum_of_the_paper(power, scale):
    """Where its terms, of both signs, have digits to spare."""
    k = np.arange(power + 1)
    a = power - 2 * k
    terms = (-1.0) ** k * special.comb(power, k) * np.exp((a * scale) ** 2 / 2)
    total = np.sum(terms * (1 + special.erf(a * scale / 2**0.5)))
    expected = np.log(scale * (np.pi / 2) ** 0.5 / 2**power * total)
    found = radial.log_integral(tf.constant(scale, tf.float64), power)
    assert float(found) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("by_xla", [False, True])
@pytest.mark.parametrize(("power", "scale"), [(0, 0.7), (1, 0.05), (1, 1.0), (4, 0.6), (30, 0.3)])
def test_draws_and_their_gradient_have_the_moments_of_the_integral(power, scale, by_xla):
    """E x and E x^2, and the derivatives of both with respect to the scale."""
    compiled = tf.function(jit_compile=by_xla, autograph=False)
    p = lambda s: radial.RadialNormal(s, power + 1)  # noqa: E731

    @compiled
    def run(s):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(s)
            x = tf.norm(p(s).sample(40_000, seed=(3, 4)), axis=-1)
            first, second = tf.reduce_mean(x), tf.reduce_mean(x**2)
        spread = tf.math.reduce_std(x), tf.math.reduce_std(x**2)
        return first, second, tape.gradient(first, s), tape.gradient(second, s), *spread

    first, second, slope, slope2, spread, spread2 = map(float, run(tf.constant(scale)))
    for found, gradient, error, of in (
        (first, slope, spread, lambda x: x), (second, slope2, spread2, np.square)
    ):  # fmt: skip
        assert found == pytest.approx(moment(of, scale, power)[1], abs=4.5 * error / 200)
        ends = [moment(of, scale + step, power)[1] for step in (-1e-3, 1e-3)]
        assert gradient == pytest.approx((ends[1] - ends[0]) / 2e-3, rel=0.02)


@pytest.mark.parametrize("power", [1, 4, 30])
def test_the_slope_of_a_draw_is_that_of_the_quantile(power):
    scale = 0.6
    x = moment(lambda x: x, scale, power)[1] * np.array([0.4, 0.8, 1.0, 1.3])
    grid = np.linspace(1e-6, power * scale**2 + 14 * scale * (1 + power**0.5), 200_001)

    def quantile(s, u):
        cdf = integrate.cumulative_simpson(np.exp(log_h(grid, s, power)), x=grid, initial=0)
        return np.interp(u, cdf / cdf[-1], grid)

    cdf = integrate.cumulative_simpson(np.exp(log_h(grid, scale, power)), x=grid, initial=0)
    u = np.interp(x, grid, cdf / cdf[-1])
    expected = (quantile(scale + 1e-3, u) - quantile(scale - 1e-3, u)) / 2e-3
    found = radial._slope(tf.constant(x), tf.fill([4], tf.constant(scale, tf.float64)), power)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
