"""A model whose likelihood is known: z ~ N(0, I), x|z ~ N(Wz + b, s^2 I), so x ~ N(b, WW' + s^2 I).

With orthogonal columns in W the exact posterior is diagonal, N(V (x - b) / (s^2 + |w|^2), ...), and
so an IndependentNormal encoder can be it.
"""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import ELBO, IWAE, VAE, layers
from tfp_vae.evaluation import estimates

W = np.array([[1.0, 0.5], [1.0, -0.5], [0.5, 0.0], [0.0, 1.0]])
W[:, 1] -= W[:, 0] * (W[:, 0] @ W[:, 1]) / (W[:, 0] @ W[:, 0])
B = np.array([0.3, -0.2, 0.0, 1.0])
S = 0.7
PRECISION = 1 + (W**2).sum(axis=0) / S**2  # of the posterior, diagonal
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def inverse_softplus(scale):
    return np.log(np.expm1(scale))


def dense(network, kernel, bias):
    network.layers[-2].set_weights([kernel, bias])


def linear_vae(objective=None, wrong_by=0.0):
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4), layers.IndependentNormal(2, seed=1)]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8), layers.IndependentNormal(4, seed=2)]
    )
    to_mean = (W / S**2 / PRECISION).astype("float32")
    scale = inverse_softplus(PRECISION**-0.5)
    dense(
        encoder,
        np.hstack([to_mean, np.zeros([4, 2])]),
        np.concatenate([-B @ to_mean + wrong_by, scale]),
    )
    dense(
        decoder,
        np.hstack([W.T, np.zeros([2, 4])]),
        np.concatenate([B, np.full(4, inverse_softplus(S))]),
    )
    vae = VAE(encoder, decoder, objective=objective)
    vae.compile("adam")
    return vae


def exact_log_p(x=X):
    return scipy.stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(4)).logpdf(x)


def loss_of(vae, repeats=1):
    x = np.tile(X, (repeats, 1))
    return vae.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)["loss"]


def test_the_posterior_of_this_file_is_exact():
    z = np.random.default_rng(1).normal(size=(5, 1, 2))
    vae = linear_vae()
    log_joint = scipy.stats.norm(0, 1).logpdf(z).sum(-1) + scipy.stats.norm(z @ W.T + B, S).logpdf(
        X
    ).sum(-1)
    log_q = vae.encode(X).log_prob(tf.constant(z, tf.float32))
    np.testing.assert_allclose(log_joint - log_q, np.tile(exact_log_p(), (5, 1)), atol=1e-4)


def test_elbo_of_the_exact_posterior_is_log_p():
    """Its expectation is; one draw varies, since the KL is in closed form and the nll is not."""
    vae = linear_vae()
    assert loss_of(vae, 2000) == pytest.approx(-exact_log_p().mean(), abs=0.02)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_iwae_of_the_exact_posterior_is_log_p_at_every_draw(num_samples):
    assert loss_of(linear_vae(IWAE(num_samples))) == pytest.approx(-exact_log_p().mean(), abs=1e-4)


def test_elbo_of_a_wrong_posterior_misses_log_p_by_its_kl():
    vae = linear_vae(wrong_by=0.5)
    gap = 0.5 * (0.5**2 * PRECISION).sum()  # KL of equal covariances, means 0.5 apart
    assert loss_of(vae, 2000) == pytest.approx(gap - exact_log_p().mean(), abs=0.02)


@pytest.mark.again
def test_iwae_grows_with_its_samples_towards_log_p():
    exact = -exact_log_p().mean()
    losses = [loss_of(linear_vae(IWAE(k), wrong_by=0.4), 100) for k in (1, 4, 32, 256)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] - losses[-1] > 0.3
    assert losses[-1] == pytest.approx(exact, abs=0.03)
    assert losses[-1] > exact - 0.01


def test_iwae_with_one_sample_is_the_monte_carlo_elbo():
    vae = linear_vae(IWAE(1), wrong_by=0.4)
    p = vae(X, training=False)
    q, z = p.latents.posterior, p.latents.z[0]
    prior = vae.prior.distribution()
    by_hand = -tf.reduce_mean(p.log_prob(X) + prior.log_prob(z) - q.log_prob(z))
    np.testing.assert_allclose(vae.compute_loss(X, None, p), by_hand, rtol=1e-6)


@pytest.mark.again
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_elbo_is_nll_plus_beta_kl(beta):
    logs = linear_vae(ELBO(beta)).evaluate(X, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["nll"] + beta * logs["kl"], rel=1e-5)
    m, s = linear_vae().encode(X).mean().numpy(), PRECISION**-0.5
    kl = -0.5 * (1 + np.log(s**2) - s**2 - m**2).sum(axis=1).mean()
    assert logs["kl"] == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize(("num_samples", "batch_size"), [(1, 32), (10, 5), (5000, 32)])
def test_log_likelihood_of_the_exact_posterior_is_log_p(num_samples, batch_size):
    estimate = linear_vae().log_likelihood(X, num_samples, batch_size)
    np.testing.assert_allclose(estimate, exact_log_p(), atol=2e-4)


def test_log_likelihood_of_a_wrong_posterior_comes_to_log_p():
    estimate = linear_vae(wrong_by=0.5).log_likelihood(X, 20_000)
    np.testing.assert_allclose(estimate, exact_log_p(), atol=0.08)


def test_evaluate_reports_the_elbo_and_the_likelihood():
    results = estimates.evaluate(linear_vae(IWAE(5), wrong_by=0.5), X, 20_000, batch_size=7)
    assert results["negative_elbo"] == pytest.approx(results["nll"] + results["kl"])
    assert results["log_likelihood"] == pytest.approx(exact_log_p().mean(), abs=0.02)
    assert results["negative_elbo"] > -results["log_likelihood"]


@pytest.mark.again
def test_training_finds_the_likelihood_of_the_data():
    """Fitted to draws of the model, a linear VAE comes to the data's own log-likelihood."""
    data = np.random.default_rng(3)
    draws = data.normal(size=(4096, 2)) @ W.T + B + S * data.normal(size=(4096, 4))
    vae = linear_vae(wrong_by=1.0)
    for network in (vae.encoder, vae.decoder):
        kernel, bias = network.layers[-2].get_weights()
        dense(network, data.normal(size=kernel.shape) * 0.1, bias * 0)
    vae.compile(keras.optimizers.Adam(0.01))
    vae.fit(draws.astype("float32"), epochs=40, batch_size=128, verbose=0)
    fitted = vae.evaluate(draws.astype("float32"), verbose=0, return_dict=True)["loss"]
    assert fitted == pytest.approx(-exact_log_p(draws).mean(), abs=0.05)


def test_the_prior_is_a_choice():
    prior = tfp.distributions.Independent(tfp.distributions.Laplace(tf.zeros(2), 1.0), 1)
    vae = VAE(linear_vae().encoder, linear_vae().decoder, prior=prior)
    p = vae(X)
    q, z = p.latents.posterior, p.latents.z[0]
    by_hand = -p.log_prob(X) + q.log_prob(z) - prior.log_prob(z)  # no closed form: the same z
    vae.compile("adam")
    np.testing.assert_allclose(vae.compute_loss(X, None, p), tf.reduce_mean(by_hand), rtol=1e-5)
