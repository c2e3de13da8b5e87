"""Marginals of known entries and conditionals of unknown ones, against closed forms."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers
from tfp_vae.distributions.blockwise import SideBySide
from tfp_vae.distributions.unknown import apart, completed, log_prob_of_known, why_not
from tfp_vae.layers.rescaled import Rescaled

tfd = tfp.distributions
RNG = np.random.default_rng(0)
D, N = 4, 3
LOC = RNG.normal(size=(N, D))
SCALE = np.tril(RNG.normal(size=(N, D, D))) + 2 * np.eye(D)
X = RNG.normal(size=(N, D))
KNOWN = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)


def made(layer):
    """A distribution of three rows of parameters, and three of its draws."""
    params = tf.constant(
        np.random.default_rng(1).normal(size=(N, layer.num_parameters)), tf.float32
    )
    p = layer(params).tensor_distribution
    return p, tf.cast(p.sample(seed=(1, 2)), tf.float32)


LAYERS = {
    "bernoulli": lambda: layers.IndependentBernoulli(D),
    "continuous-bernoulli": lambda: layers.ContinuousBernoulli(D),
    "poisson": lambda: layers.IndependentPoisson(D),
    "negative-binomial": lambda: layers.NegativeBinomial(D),
    "zero-inflated": lambda: layers.ZeroInflatedNegativeBinomial(D),
    "gamma": lambda: layers.Gamma(D),
    "normal": lambda: layers.IndependentNormal(D),
    "logistic": lambda: layers.IndependentLogistic(D),
    "laplace": lambda: layers.Laplace(D),
    "student-t": lambda: layers.StudentT(D),
    "shared": lambda: layers.SharedScale(D),
    "rescaled": lambda: Rescaled(layers.IndependentNormal(D), [9.0] * D, [2.0] * D),
    "categorical": lambda: layers.Categorical(D, 5),
    "8-bit": lambda: layers.QuantizedLogisticMixture(D, 2),
    "diagonal": lambda: layers.MultivariateNormalDiag(D),
    "tril": lambda: layers.MultivariateNormalTriL(D),
    "mixture-of-normals": lambda: layers.MixtureNormal(3, D),
    "mixture-of-vectors": lambda: layers.MixtureSameFamily(3, layers.MultivariateNormalTriL(D)),
    "joint": lambda: layers.Joint([layers.IndependentNormal(2), layers.MultivariateNormalTriL(2)]),
}
EACH = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@EACH
def test_all_known_is_the_density_and_none_is_0(make):
    p, x = made(make())
    whole = log_prob_of_known(p, x, tf.ones_like(x, tf.bool))
    np.testing.assert_allclose(whole, p.log_prob(tf.cast(x, p.dtype)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(log_prob_of_known(p, x, tf.zeros_like(x, tf.bool)), np.zeros(N))


@EACH
def test_hidden_entries_change_no_number_and_no_gradient(make):
    layer = make()
    params = np.random.default_rng(1).normal(size=(N, layer.num_parameters)).astype("float32")
    _, x = made(layer)
    found = []
    for hidden in (x.numpy(), np.full(x.shape, -7.5, "float32"), np.full(x.shape, 1e30, "float32")):
        t = tf.Variable(params)
        with tf.GradientTape() as tape:
            p = layer(t).tensor_distribution
            log_p = log_prob_of_known(p, tf.constant(np.where(KNOWN, x, hidden)), KNOWN)
        found.append((log_p.numpy(), np.asarray(tape.gradient(log_p, t))))
    for log_p, gradient in found:
        np.testing.assert_array_equal(log_p, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(gradient[2], 0, atol=1e-6)


@EACH
def test_completed_rows_have_the_known_entries_and_draws_of_the_others(make):
    p, x = made(make())
    drawn = completed(p, x, KNOWN, (3, 4)).numpy()
    mean = completed(p, x, KNOWN).numpy()
    for found in (drawn, mean):
        np.testing.assert_array_equal(found[KNOWN], x.numpy()[KNOWN])
        assert np.isfinite(found).all()
    assert not np.array_equal(drawn, completed(p, x, KNOWN, (5, 6)).numpy())


def of_normal(i, known):
    """The marginal of the known entries, and mean and covariance of the others given these."""
    cov, a, b = SCALE[i] @ SCALE[i].T, known, ~known
    gain = cov[np.ix_(b, a)] @ np.linalg.inv(cov[np.ix_(a, a)])
    log_p = scipy.stats.multivariate_normal(LOC[i][a], cov[np.ix_(a, a)]).logpdf(X[i][a])
    mean = LOC[i][b] + gain @ (X[i] - LOC[i])[a]
    return log_p, mean, cov[np.ix_(b, b)] - gain @ cov[np.ix_(a, b)]


MASKS = [np.array([n >> k & 1 for k in range(D)], bool) for n in range(1, 2**D - 1)]


@pytest.mark.one
@pytest.mark.parametrize("known", MASKS, ids=str)
def test_the_marginal_and_the_conditional_of_a_normal_are_exact(known):
    p, masks = tfd.MultivariateNormalTriL(LOC, SCALE), np.tile(known, (N, 1))
    log_p = log_prob_of_known(p, tf.constant(X), tf.constant(masks)).numpy()
    mean = completed(p, tf.constant(X), tf.constant(masks)).numpy()
    for i in range(N):
        exact, center, _ = of_normal(i, known)
        assert log_p[i] == pytest.approx(exact, abs=1e-9)
        np.testing.assert_allclose(mean[i][~known], center, atol=1e-9)


def test_draws_of_a_normal_have_the_conditional_covariance():
    known, count = np.array([True, False, True, False]), 40_000
    p = tfd.MultivariateNormalTriL(np.tile(LOC[:1], (count, 1)), np.tile(SCALE[:1], (count, 1, 1)))
    x = tf.constant(np.tile(X[:1], (count, 1)))
    drawn = completed(p, x, tf.constant(np.tile(known, (count, 1))), (1, 2)).numpy()[:, ~known]
    _, mean, cov = of_normal(0, known)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.05 * np.sqrt(cov.max()))
    np.testing.assert_allclose(np.cov(drawn.T), cov, atol=0.05 * cov.max())


def test_a_nearly_singular_normal_keeps_its_digits():
    scale = np.tril(np.ones([2, 2])) * [[1.0], [1.0]] * [[1.0, 1e-4]]
    p = tfd.MultivariateNormalTriL(np.zeros([1, 2], "float32"), scale[None].astype("float32"))
    x = np.array([[1.0, 1.0001]], "float32")
    exact = scipy.stats.norm(0, 1).logpdf(1) + scipy.stats.norm(0, 1e-4).logpdf(1.0001 - 1)
    found = log_prob_of_known(p, tf.constant(x), tf.ones([1, 2], tf.bool))
    assert float(found[0]) == pytest.approx(exact, abs=0.01)


def test_the_weights_of_a_mixture_follow_the_known_entries():
    loc = np.array([[[-5.0, 1.0], [5.0, 3.0]]])
    p = tfd.MixtureSameFamily(
        tfd.Categorical(probs=np.array([[0.3, 0.7]])),
        tfd.Independent(tfd.Normal(loc, np.float64(1.0)), 1),
    )
    x, known = tf.constant([[-4.0, 0.0]], tf.float64), tf.constant([[True, False]])
    each = np.log([0.3, 0.7]) + scipy.stats.norm([-5.0, 5.0]).logpdf(-4.0)
    assert float(log_prob_of_known(p, x, known)[0]) == pytest.approx(np.logaddexp(*each))
    shares = np.exp(each - np.logaddexp(*each))
    assert float(completed(p, x, known)[0, 1]) == pytest.approx(shares @ [1.0, 3.0])


def test_a_category_is_known_as_a_whole():
    p = tfd.OneHotCategorical(probs=[[0.2, 0.5, 0.3]], dtype="float32")
    x = tf.constant([[0.0, 1.0, 0.0]])
    part = tf.constant([[True, False, True]])
    assert float(log_prob_of_known(p, x, part)[0]) == 0
    np.testing.assert_allclose(completed(p, x, part), p.mean())


REFUSED = {
    "simplex": lambda: tfd.Dirichlet([[1.0, 1.0]]),
    "sphere": lambda: tfd.VonMisesFisher([[1.0, 0.0, 0.0]], [1.0]),
    "flow": lambda: tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag([[0.0, 0.0]]), tfp.bijectors.ScaleMatvecTriL([[1.0, 0], [1, 1]])
    ),
    "block": lambda: SideBySide([tfd.Dirichlet([[1.0, 1.0]]), tfd.MultivariateNormalDiag([[0.0]])]),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_has_no_marginals_says_so(make):
    assert "no marginal densities" in (why_not(make()) or "")


def test_integers_are_all_known():
    x, known = apart(np.array([[1, 2]], np.uint8))
    assert x.dtype == tf.uint8
    assert known.numpy().all()
