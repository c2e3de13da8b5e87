"""Draws that a float cannot hold: their densities are those of the numbers that were drawn."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, layers, objectives, priors
from tfp_vae.bridge import origins
from tfp_vae.distributions import divergence
from tfp_vae.distributions.density import log_density
from tfp_vae.evaluation import estimates

tfd, tfb = tfp.distributions, tfp.bijectors
N, D = 16, 10
LOGITS = 3 * np.random.default_rng(0).normal(size=[1, N * D]).astype("float32")
AGAIN = functools.partial(pytest.param, marks=pytest.mark.again)
TEMPERATURES = [0.01, AGAIN(0.05), 0.1, AGAIN(0.5), 1.0]
X = np.ones([64, 8], "float32")  # 8 fair coins: log p(x) = -8 log 2, whatever z


def newaxis(t):
    return t[tf.newaxis]


# -- relaxed one-hot vectors --------------------------------------------------------------------


def concrete(y, logits, temperature):
    """The density of y = log x, in float64: Maddison et al., arXiv:1611.00712, equation 24."""
    d, a = y.shape[-1], logits - temperature * y
    norm = scipy.special.gammaln(d) + (d - 1) * np.log(temperature)
    return norm + (a - scipy.special.logsumexp(a, axis=-1, keepdims=True)).sum(axis=-1)


def kl_of_relaxed(logits, temperature, prior_temperature, count=20_000):
    """KL against the uniform one, its mean and standard error, by draws in float64."""
    gumbel = np.random.default_rng(1).gumbel(size=[count, *logits.shape])
    y = (logits.astype("float64") + gumbel) / temperature
    y -= scipy.special.logsumexp(y, axis=-1, keepdims=True)
    each = concrete(y, logits, temperature) - concrete(y, 0 * y, prior_temperature)
    each = each.sum(axis=tuple(range(1, each.ndim)))
    return each.mean(), each.std() / np.sqrt(count)


def near(draws, expected, error=0.0, sigmas=4.5):
    draws = np.asarray(draws, "float64")
    allowed = sigmas * np.hypot(draws.std() / np.sqrt(draws.size), error)
    np.testing.assert_allclose(draws.mean(), expected, atol=allowed)


@pytest.mark.again
@pytest.mark.parametrize("compiled", [AGAIN(False), True])
@pytest.mark.parametrize("dtype", ["float32", AGAIN("float64")])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_kl_of_relaxed_categoricals_is_that_of_float64_in_log_space(
    temperature, dtype, compiled
):
    """Whoever asks: q and p themselves, at the draw and at what is made of it."""
    keras.config.set_dtype_policy(dtype)
    layer = layers.RelaxedOneHotCategorical(D, temperature, num_variables=N, seed=1, dtype=dtype)
    p, theirs = (
        layer.default_prior((N * D,)),
        tfd.RelaxedOneHotCategorical(temperature, logits=np.zeros([N, D], dtype)),
    )
    theirs = tfd.TransformedDistribution(tfd.Independent(theirs, 1), tfb.Reshape([N * D], [N, D]))

    @tf.function(jit_compile=compiled)
    def run(t):
        q = layer(t)
        z = q.sample(4000)
        moved = origins.moved(tf.stop_gradient, origins.moved(newaxis, z))
        return z, {
            "own": q.log_prob(z) - p.log_prob(z),
            "tfp": q.log_prob(z) - theirs.log_prob(z),
            "moved": log_density(q, moved) - log_density(p, moved),
            "divergence": divergence.kl_divergence(q, p, points=lambda: z),
        }

    z, found = run(tf.constant(LOGITS, dtype))
    assert (z.numpy() > 0).all()
    mean, error = kl_of_relaxed(LOGITS.reshape(N, D), temperature, temperature)
    for name, each in found.items():
        near(each, mean, error)
        np.testing.assert_allclose(np.ravel(each), np.ravel(found["own"]), atol=0.3, err_msg=name)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_a_prior_of_another_temperature(temperature):
    layer = layers.RelaxedOneHotCategorical(
        4, temperature, num_variables=3, prior_temperature=0.2, seed=1
    )
    t = LOGITS[:, :12]
    q, p = layer(t), layer.default_prior((12,))
    mean, error = kl_of_relaxed(t.reshape(3, 4), temperature, 0.2)
    near(divergence.kl_divergence(q, p, points=lambda: q.sample(20_000)), mean, error)


@pytest.mark.parametrize("compiled", [AGAIN(False), True])
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.one
def test_the_gradient_of_the_kl_is_that_of_float64(temperature, compiled):
    layer = layers.RelaxedOneHotCategorical(D, temperature, num_variables=N, seed=1)
    p = layer.default_prior((N * D,))

    @tf.function(jit_compile=compiled)
    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = layer(t)
            z = q.value()
            kl = divergence.kl_divergence(q, p, lambda: origins.moved(newaxis, z))
        return origins.log_of(z), tape.gradient(kl, t)

    log, found = run(tf.constant(LOGITS))
    t = tf.constant(LOGITS.reshape(N, D), tf.float64)
    noise = temperature * tf.cast(tf.reshape(log, [N, D]), tf.float64) - t  # what was added to t
    with tf.GradientTape() as tape:
        tape.watch(t)
        y = tf.math.log_softmax((t + noise) / temperature)
        ratio = tf.math.log_softmax(t - temperature * y) - tf.math.log_softmax(-temperature * y)
        kl = tf.reduce_sum(ratio)
    expected = np.reshape(tape.gradient(kl, t), [1, -1])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def blind(posterior, objective=None, prior=None):
    """A VAE whose decoder does not look at z, and whose posterior is the same for each x."""
    encoder = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(
                posterior.num_parameters,
                kernel_initializer="zeros",
                bias_initializer=lambda shape, dtype=None: LOGITS[0, : shape[0]],
            ),
            posterior,
        ]
    )
    size = encoder.output_shape[-1]
    decoder = keras.Sequential(
        [
            keras.Input((size,)),
            keras.layers.Dense(8, kernel_initializer="zeros"),
            layers.IndependentBernoulli(8),
        ]
    )
    return VAE(encoder, decoder, prior=prior, objective=objective)


OBJECTIVES = {
    "elbo": objectives.ELBO(),
    "iwae": objectives.IWAE(4),
    "dreg": objectives.IWAE(4, "dreg"),
    "stl": objectives.MIWAE(4, 1, "stl"),
    "ciwae": objectives.CIWAE(4, 0.3, "dreg"),
    "piwae": objectives.PIWAE(2, 2),
}


@pytest.mark.again
@pytest.mark.parametrize("name", ["elbo", "dreg", *map(AGAIN, ["iwae", "stl", "ciwae", "piwae"])])
def test_the_kl_in_training_and_after_it(name):
    """Compiled, and by `evaluate`."""
    layer = layers.RelaxedOneHotCategorical(D, 0.1, num_variables=N, seed=1)
    vae = blind(layer, OBJECTIVES[name])
    mean, error = kl_of_relaxed(LOGITS.reshape(N, D), 0.1, 0.1)
    deviation = error * np.sqrt(20_000)
    draws = 64 * vae.objective.num_samples
    vae.compile(keras.optimizers.SGD(0.0), jit_compile=True)
    found = [vae.fit(X, batch_size=64, verbose=0).history["kl"][0]]
    found.append(vae.evaluate(X, batch_size=64, verbose=0, return_dict=True)["kl"])
    np.testing.assert_allclose(found, mean, atol=4.5 * np.hypot(deviation / np.sqrt(draws), error))


@pytest.mark.parametrize("estimator", ["plain", "dreg"])
def test_the_gradient_of_a_bound_is_the_same_whether_z_underflows_or_not(estimator):
    """The weights depend on `T log z` alone: with a blind decoder T is of no account."""

    def gradient(temperature):
        layer = layers.RelaxedOneHotCategorical(4, temperature, num_variables=2, seed=3)
        vae = blind(layer, objectives.IWAE(5, estimator))
        with tf.GradientTape() as tape:
            out = vae(X, training=True)
            loss = vae.compute_loss(X, None, out)
        return tape.gradient(loss, vae.encoder.layers[-2].bias.value)

    expected = gradient(1.0)
    assert np.abs(expected).max() > 1e-3
    for temperature in (0.02, 0.1):
        np.testing.assert_allclose(gradient(temperature), expected, rtol=1e-2, atol=1e-5)


POSTERIORS = {
    "relaxed-0.05": lambda: layers.RelaxedOneHotCategorical(3, 0.05, seed=1),
    "relaxed-several": lambda: layers.RelaxedOneHotCategorical(3, 0.05, num_variables=2, seed=1),
    "relaxed-0.01": lambda: layers.RelaxedOneHotCategorical(3, 0.01, num_variables=2, seed=1),
    "gamma": lambda: layers.Gamma(2, seed=1),
    "joint": lambda: layers.Joint(
        [layers.IndependentNormal(1), layers.RelaxedOneHotCategorical(3, 0.05), layers.Gamma(1)],
        seed=1,
    ),
}


MILD = {  # so that the weights have a variance
    "gamma": [-1.5, 0.5, 0.2, 0.3],
    "joint": [0.3, 0.4, 0.5, 0.0, -0.5, -1.5, 0.4],
}


@pytest.mark.again
@pytest.mark.parametrize("name", POSTERIORS)
def test_the_likelihood_is_right_where_the_decoder_does_not_look(name, tmp_path):
    """`E_q[p / q] = 1`: also by a SavedModel's endpoint, and with q as its own mixture prior."""
    vae = blind(POSTERIORS[name]())
    size = vae.encoder.layers[-2].units
    vae.encoder.layers[-2].bias.assign(MILD.get(name, LOGITS[0, 40 : 40 + size] / 4))
    expected = -8 * np.log(2)
    x = np.repeat(X[:1], 40, axis=0)
    np.testing.assert_allclose(vae.log_likelihood(x, 5000).numpy().mean(), expected, atol=0.02)
    vae.export(tmp_path / "saved")
    served = tf.saved_model.load(tmp_path / "saved")
    found = served.log_likelihood(tf.constant(x), tf.constant(5000))
    np.testing.assert_allclose(found.numpy().mean(), expected, atol=0.02)
    vamp = priors.VampPrior(X[:2])
    exact = blind(POSTERIORS[name](), prior=vamp)  # a mixture of q and q
    found = exact.log_likelihood(X[:4], 5)
    np.testing.assert_allclose(found, expected, atol=0.02)
    results = estimates.evaluate(exact, X[:4], num_samples=2)
    np.testing.assert_allclose(results["kl"], 0, atol=0.02)


def test_blocks_each_have_their_own_kl_at_what_they_drew():
    layer = layers.Joint(
        [layers.RelaxedOneHotCategorical(4, 0.05), layers.IndependentNormal(2)], seed=1
    )
    q, p = layer(np.tile(LOGITS[:, :8], [4000, 1])), layer.default_prior((6,))
    mean, error = kl_of_relaxed(LOGITS[0, :4], 0.05, 0.05)
    for z in (q.value(), origins.moved(newaxis, q.value())):
        relaxed, _ = divergence.blocks(q, p, z)
        kl = divergence.kl_divergence(relaxed.posterior, relaxed.prior, lambda: relaxed.z)  # noqa: B023
        near(kl, mean, error)
    forward = objectives.ForwardPass(q, p, origins.moved(newaxis, q.value()), tf.zeros([1, 4000]))
    near(objectives.ELBO(capacity=[0.0, 0.0])(forward).kl - kl_of_normal(layer, q, p), mean, error)


def kl_of_normal(layer, q, p):
    return tfd.kl_divergence(q.distributions[1], p.distributions[1])


def test_a_later_draw_does_not_take_the_place_of_an_earlier_one():
    layer = layers.Joint([layers.RelaxedOneHotCategorical(4, 0.02), layers.Gamma(1)], seed=1)
    q = layer(np.tile(LOGITS[:, :6], [50, 1]))
    draws = [q.sample(3, seed=i) for i in range(3)]
    known = [log_density(q, z) for z in draws]
    np.testing.assert_array_equal(q.log_prob(draws[0]), known[0])
    np.testing.assert_allclose(
        log_density(q, origins.moved(newaxis, draws[0]))[0], known[0], rtol=1e-5, atol=1e-3
    )


# -- Gammas ---------------------------------------------------------------------------------------


@pytest.mark.again
@pytest.mark.parametrize("compiled", [AGAIN(False), True])
@pytest.mark.parametrize("a", [AGAIN(0.05), 0.06, AGAIN(0.2), 2.0])
def test_gammas_draws_and_densities_at_small_concentrations(a, compiled):
    """`dE[log z] / da = psi'(a)`; KL as in closed form; `E_q[p / q] = 1`."""
    count = 100_000
    layer, other = layers.Gamma((), min_concentration=1e-3, seed=1), tfd.Gamma(0.3, 1.5)

    @tf.function(jit_compile=compiled)
    def run(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            rate = tf.ones_like(a)
            q = layer(tfp.math.softplus_inverse(tf.stack([a, rate], axis=-1)))
            z = q.value()
            log_z = tf.math.log(z)
        log_q = q.log_prob(z)
        kl = log_q - log_density(other, z)
        return (
            origins.log_of(z),
            tape.gradient(log_z, a),
            kl,
            tfd.kl_divergence(q, tfd.Independent(other, 0)),
        )

    log, gradient, kl, exact = run(tf.fill([count], a))
    near(log, scipy.special.digamma(a))
    near(gradient, scipy.special.polygamma(1, a))
    near(kl, np.mean(exact))
    if a < 0.6:  # else the variance of the weights is infinite
        near(np.exp(-kl), 1)


@pytest.mark.parametrize("num", [100.0, 1e30])
def test_the_gradient_of_a_draw_that_was_raised_is_finite(num):
    """1 / z is near the largest number there."""
    t = tf.constant([[tfp.math.softplus_inverse(0.06).numpy(), 1.0]] * 2000)
    with tf.GradientTape() as tape:
        tape.watch(t)
        z = layers.Gamma((), seed=1)(t).value()
        loss = num * tf.reduce_sum(tf.math.log(z))
    assert (z.numpy() < 3e-38).any()
    assert np.isfinite(tape.gradient(loss, t)).all()


def test_a_gammas_log_prob_has_a_gradient_to_the_draw():
    q = layers.Gamma((), seed=1)(np.array([[1.0, 1.0]], "float32"))
    z = q.sample(5)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = q.log_prob(z)
    a = np.logaddexp(0, 1.0)
    np.testing.assert_allclose(tape.gradient(value, z), (a - 1) / z - a, rtol=1e-4)


# -- priors over what underflows ------------------------------------------------------------------

Y = np.array([[-400.0, -95.0, -2.0], [-1.0, -88.0, -700.0]])  # the logarithms that were drawn


def gamma(a, rate):
    return lambda y: a * np.log(rate) - scipy.special.gammaln(a) + (a - 1) * y - rate * np.exp(y)


def log_normal(loc, scale):
    return lambda y: scipy.stats.norm(loc, scale).logpdf(y) - y


def dirichlet(alpha):
    norm = scipy.special.gammaln(sum(alpha)) - scipy.special.gammaln(alpha).sum()
    return lambda y: norm + ((np.array(alpha) - 1) * y).sum(axis=-1)


def over_vectors(density):
    return lambda y: density(y).sum(axis=-1)


def mixed(weights, *densities):
    def density(y):
        each = np.stack([own(y) for own in densities], axis=-1)
        return scipy.special.logsumexp(each + np.log(weights), axis=-1)

    return density


def relaxed(temperature, logits):
    return lambda y: concrete(y, np.array(logits), temperature) - y.sum(axis=-1)


def weibull(k, scale):
    def density(y):
        u = y - np.log(scale)
        return np.log(k / scale) + (k - 1) * u - np.exp(k * u)

    return density


def independent(p):
    return tfd.Independent(p, 1)


PRIORS = {
    "gamma": (lambda: tfd.Gamma([0.3] * 3, 2.0), gamma(0.3, 2.0)),
    "gamma-vector": (
        lambda: independent(tfd.Gamma([0.3] * 3, 2.0)),
        over_vectors(gamma(0.3, 2.0)),
    ),
    "gamma-sample": (lambda: tfd.Sample(tfd.Gamma(20.0, 2.0), 3), over_vectors(gamma(20.0, 2.0))),
    "chi2": (lambda: tfd.Chi2([3.0] * 3), gamma(1.5, 0.5)),
    "exponential": (lambda: tfd.Exponential([2.0] * 3), gamma(1.0, 2.0)),
    "weibull": (lambda: tfd.Weibull([0.7] * 3, 2.0), weibull(0.7, 2.0)),
    "dirichlet": (lambda: tfd.Dirichlet([20.0, 0.5, 3.0]), dirichlet([20.0, 0.5, 3.0])),
    "beta": (
        lambda: tfd.Beta([0.4] * 3, 2.0),
        lambda y: -scipy.special.betaln(0.4, 2.0) - 0.6 * y + np.log1p(-np.exp(y)),
    ),
    "log-normal": (lambda: tfd.LogNormal([-3.0] * 3, 50.0), log_normal(-3.0, 50.0)),
    "chain": (
        lambda: tfd.TransformedDistribution(
            tfd.Normal([-1.0] * 3, 5.0), tfb.Chain([tfb.Exp(), tfb.Shift(-2.0), tfb.Scale(10.0)])
        ),
        log_normal(-12.0, 50.0),
    ),
    "relaxed": (
        lambda: tfd.RelaxedOneHotCategorical(0.3, logits=[0.0, 1.0, -1.0]),
        relaxed(0.3, [0.0, 1.0, -1.0]),
    ),
    "mixture-same-family": (
        lambda: tfd.MixtureSameFamily(
            tfd.Categorical(probs=[0.3, 0.7]),
            independent(tfd.Gamma([[0.3] * 3, [5.0] * 3], 2.0)),
        ),
        mixed([0.3, 0.7], over_vectors(gamma(0.3, 2.0)), over_vectors(gamma(5.0, 2.0))),
    ),
    "mixture": (
        lambda: tfd.Mixture(
            tfd.Categorical(probs=[0.3, 0.7]),
            [tfd.Dirichlet([0.5, 0.5, 3.0]), independent(tfd.LogNormal([-3.0] * 3, 50.0))],
        ),
        mixed([0.3, 0.7], dirichlet([0.5, 0.5, 3.0]), over_vectors(log_normal(-3.0, 50.0))),
    ),
    "blockwise": (
        lambda: tfd.Blockwise(
            [independent(tfd.Gamma([0.3], 2.0)), independent(tfd.LogNormal([-3.0] * 2, 50.0))]
        ),
        lambda y: gamma(0.3, 2.0)(y[:, 0]) + log_normal(-3.0, 50.0)(y[:, 1:]).sum(axis=-1),
    ),
}


@pytest.mark.parametrize("shape", ["whole", "blocks"])
@pytest.mark.parametrize(("make", "expected"), PRIORS.values(), ids=PRIORS.keys())
def test_the_density_of_a_prior_is_that_of_the_number_that_was_drawn(make, expected, shape):
    """And its gradient to the logarithm, which must not overflow on its way."""
    y = tf.constant(Y, tf.float32)
    step = 1e-4
    slope = np.stack(
        [
            (expected(Y + step * unit) - expected(Y - step * unit)) / (2 * step)
            for unit in np.eye(3)
        ],
        axis=-1,
    )
    with tf.GradientTape() as tape:
        tape.watch(y)
        if shape == "whole":
            z = origins.positive(y)
        else:
            z = origins.end_to_end([origins.positive(y[:, :1]), origins.positive(y[:, 1:])])
        value = log_density(make(), z)
    np.testing.assert_allclose(value, expected(Y), rtol=1e-5)
    found = tape.gradient(value, y).numpy()
    per_value = slope.sum(axis=1) if expected(Y).ndim == 2 else slope
    np.testing.assert_allclose(found, per_value, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["gamma-vector", "log-normal", "dirichlet"])
def test_numbers_that_a_float_holds_have_the_density_that_they_had(name):
    z = np.array([[0.2, 1e-30, 0.5]], "float32")
    p = PRIORS[name][0]()
    carried = origins.positive(tf.math.log(z))
    np.testing.assert_allclose(log_density(p, carried), p.log_prob(z), rtol=1e-5)
    np.testing.assert_array_equal(log_density(p, z), p.log_prob(z))


# -- the mechanism ------------------------------------------------------------------------------


@pytest.mark.again
@pytest.mark.parametrize("name", POSTERIORS)
def test_what_a_draw_carries_goes_with_it(name):
    """TFP's memory would keep each draw for ever."""
    layer = POSTERIORS[name]()
    p = layer.default_prior((layer.event_size if hasattr(layer, "event_size") else 2,))

    def work():
        q = layer(np.zeros([2, layer.num_parameters], "float32"))
        z = origins.moved(newaxis, q.value())
        q.log_prob(q.value())
        q.log_prob(z)
        log_density(q, z)
        log_density(p, z)
        return weakref.ref(q.value())

    work()
    gc.collect()
    before = len(tfb.Exp._cache.storage)
    gone = [work() for _ in range(3)]
    gc.collect()
    assert all(draw() is None for draw in gone)
    assert len(tfb.Exp._cache.storage) == before


def test_pieces_of_other_sizes_keep_their_logarithms():
    y = tf.constant(Y, tf.float32)
    z = origins.end_to_end([tf.constant([[-3.0], [0.5]]), origins.positive(y)])
    first, second = origins.blocks_of(z, [3, 1])
    np.testing.assert_array_equal(origins.log_of(first)[:, 1:], y[:, :2])
    np.testing.assert_array_equal(origins.log_of(second), y[:, 2:])
    np.testing.assert_array_equal(tf.concat([first, second], axis=-1), z)
    np.testing.assert_allclose(origins.log_of(first)[1, 0], np.log(0.5), rtol=1e-6)
    assert all(
        origins.log_of(piece) is None for piece in origins.blocks_of(tf.ones([2, 4]), [1, 3])
    )
