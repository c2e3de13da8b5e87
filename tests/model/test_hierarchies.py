"""Two and three linear-Gaussian layers, whose log p(x), posteriors and gradients are known.

`z2 ~ N(0, 1), z1 ~ N(A z2, S1^2), x ~ N(B z1, S^2)`; with three, `z2 ~ N(C z3, S2^2)`.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import LatentModel, layers, objectives
from tfp_vae.objectives import CIWAE, ELBO, IWAE, MIWAE, PIWAE

A, B, S1, S = 0.7, 1.3, 0.5, 0.4
C, S2 = 0.9, 0.6
XS = np.array([[0.3], [-2.0], [1.1]], "float32")


class Linear(keras.layers.Layer):
    """`sum_i weight_i input_i + shift`, of numbers by name."""

    def __init__(self, weights, shift=0.0):
        super().__init__()
        self.kernel = self.add_weight(
            shape=(len(weights),), initializer=lambda *_, **__: tf.constant(weights, tf.float32)
        )
        self.shift = self.add_weight(shape=(), initializer=keras.initializers.Constant(shift))

    def call(self, inputs):
        return tf.add_n([self.kernel[i] * t for i, t in enumerate(inputs)]) + self.shift


def linear(weights, scale, shift=0.0):
    """A network of numbers by name, to a Normal."""
    inputs = {name: keras.Input((1,), name=name) for name in weights}
    mean = Linear(list(weights.values()), shift)(list(inputs.values()))
    make = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, scale), 1))
    return keras.Model(inputs, make(mean))


def conditional_of(covariance, target, given):
    """Weights and deviation of one coordinate of a Normal of mean 0, given others."""
    k = covariance[np.ix_([target], given)] @ np.linalg.inv(covariance[np.ix_(given, given)])
    variance = covariance[target, target] - (k @ covariance[np.ix_(given, [target])])[0, 0]
    return k[0], float(variance**0.5)


def covariance(depth):
    """Of (z_depth, ..., z1, x)."""
    steps = [(B, S)] if depth == 1 else [(A, S1), (B, S)]
    steps = [(C, S2), *steps] if depth == 3 else steps
    n = len(steps) + 1
    factor = np.zeros([n, n])
    factor[0, 0] = 1
    for i, (weight, scale) in enumerate(steps, 1):
        factor[i] = weight * factor[i - 1]
        factor[i, i] = scale
    return factor @ factor.T


def model(depth=2, wrong_by=0.0, objective=None):
    names = [f"z{i}" for i in range(depth, 0, -1)]
    sigma = covariance(depth)
    generative = {"z1": {2: (A, S1), 3: (A, S1)}, "z2": {3: (C, S2)}}
    latents = {}
    for i, name in enumerate(names):
        given = {"x": depth} if i == 0 else {"x": depth, names[i - 1]: i - 1}
        k, deviation = conditional_of(sigma, i, list(given.values()))
        q = linear(dict(zip(given, k, strict=True)), np.float32(deviation), wrong_by)
        prior = None
        if i:
            weight, scale = generative[name][depth]
            prior = linear({names[i - 1]: weight}, scale)
        latents[name] = (q, prior)
    built = LatentModel(latents, {"x": linear({"z1": B}, S)}, objective=objective)
    built.compile("adam", jit_compile=False)
    return built


def log_p(depth=2, x=XS):
    return tfd.Normal(0.0, np.float32(covariance(depth)[-1, -1] ** 0.5)).log_prob(x)[:, 0]


@pytest.mark.parametrize("depth", [2, 3])
def test_every_log_weight_of_the_exact_posterior_is_log_p(depth):
    forward = model(depth).forward(XS, 7)
    np.testing.assert_allclose(forward.log_weights, np.tile(log_p(depth), (7, 1)), atol=2e-5)


@pytest.mark.parametrize("depth", [2, 3])
def test_log_likelihood_is_log_p_in_any_number_of_draws(depth):
    np.testing.assert_allclose(model(depth).log_likelihood(XS, 5), log_p(depth), atol=2e-5)
    wrong = model(depth, wrong_by=0.2).log_likelihood(XS, 20_000)
    np.testing.assert_allclose(wrong, log_p(depth), atol=0.05)


def test_draws_have_the_covariance_of_the_model():
    found = model(3).sample(100_000, seed=1, mean=False)
    joint = np.concatenate([found[name] for name in ("z3", "z2", "z1", "x")], axis=1)
    np.testing.assert_allclose(np.cov(joint.T), covariance(3), atol=0.05)


def bound_by_hand(weights, k, m=1, beta=0.0):
    each = tf.reshape(weights, [m, k, -1])
    inside = tf.reduce_mean(tf.reduce_logsumexp(each, 1) - np.log(k).astype("float32"), 0)
    return beta * tf.reduce_mean(weights, 0) + (1 - beta) * inside


def gradients(built, repeats=1, seed=None):
    """Of the mean loss of many rows of each x: by weight."""
    x = tf.constant(np.repeat(XS, repeats, axis=0))
    samples = built.objective.num_samples
    with tf.GradientTape() as tape:
        loss = built.compute_loss(x, None, built._forward(x, True, samples))
    variables = built.trainable_variables
    return np.concatenate([
        np.ravel(g) for g in tape.gradient(loss, [v.value for v in variables])
    ])  # fmt: skip


def exact_gradient(built, k=1, points=12):
    """Of the negative bound of k draws of two layers, by Gauss-Hermite quadrature over them all."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    grid = [t.ravel().astype("float32") for t in np.meshgrid(*[nodes] * (2 * k))]
    weights = np.meshgrid(*[weights / weights.sum()] * (2 * k))
    w = np.prod(weights, axis=0).ravel().astype("float32")
    q2, q1 = (built.posteriors[name] for name in ("z2", "z1"))
    p1, p_x = built.priors["z1"], built.likelihoods["x"]
    with tf.GradientTape() as tape:
        total = 0.0
        for x in XS:
            x, log_w = tf.constant(np.repeat(x[None], len(w), 0)), []
            for e2, e1 in zip(grid[::2], grid[1::2], strict=True):
                d2 = q2(x)
                z2 = d2.mean() + d2.stddev() * e2[:, None]
                d1 = q1({"x": x, "z2": z2})
                z1 = d1.mean() + d1.stddev() * e1[:, None]
                each = p_x(z1).log_prob(x) + p1(z2).log_prob(z1) - d1.log_prob(z1)
                log_w.append(
                    each + built.priors["z2"].distribution().log_prob(z2) - d2.log_prob(z2)
                )
            total -= tf.reduce_sum(w * (tf.reduce_logsumexp(log_w, 0) - np.log(np.float32(k))))
        loss = total / len(XS)
    found = tape.gradient(loss, [v.value for v in built.trainable_variables])
    return np.concatenate([np.ravel(g) for g in found])


OBJECTIVES = {
    "ELBO": ELBO(),
    "IWAE of one": IWAE(1),
    "MIWAE of ones": MIWAE(4, 1),
    "sticking the landing": MIWAE(4, 1, estimator="stl"),
    "DReG of one": IWAE(1, estimator="dreg"),
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.one
def test_the_gradient_of_the_elbo_is_exact_on_average(objective):
    built = model(2, wrong_by=0.3, objective=objective)
    exact = exact_gradient(built)
    found = np.stack([gradients(built, 4000) for _ in range(6)])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - exact), 5 * error + 2e-3)


@pytest.mark.parametrize("estimator", ["plain", "dreg"])
@pytest.mark.parametrize("beta", [0.0, 0.25])
@pytest.mark.one
def test_the_gradient_of_a_bound_of_two_draws_is_exact_on_average(beta, estimator):
    built = model(2, wrong_by=0.3, objective=CIWAE(2, beta, estimator))
    exact = beta * exact_gradient(built) + (1 - beta) * exact_gradient(built, k=2, points=8)
    found = np.stack([gradients(built, 4000) for _ in range(6)])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - exact), 5 * error + 2e-3)


SAME_MEAN = {
    "DReG": (IWAE(4), IWAE(4, estimator="dreg")),
    "DReG of groups": (MIWAE(2, 3), MIWAE(2, 3, estimator="dreg")),
    "DReG of CIWAE": (CIWAE(4, 0.3), CIWAE(4, 0.3, estimator="dreg")),
}


@pytest.mark.parametrize("pair", SAME_MEAN.values(), ids=SAME_MEAN)
@pytest.mark.one
def test_estimators_have_the_mean_of_the_plain_gradient_and_less_variance(pair):
    found = [
        np.stack([gradients(model(2, 0.3, objective), 4000) for _ in range(6)])
        for objective in pair
    ]
    plain, other = (each.mean(axis=0) for each in found)
    error = np.sqrt(sum(each.var(axis=0, ddof=1) / len(each) for each in found))
    np.testing.assert_array_less(np.abs(plain - other), 5 * error + 2e-3)


def test_dreg_has_no_noise_at_the_exact_posterior():
    """Each log-weight is log p(x), so that the path to the encoder carries nothing."""
    built = model(2, objective=IWAE(4, estimator="dreg"))
    names = [id(v) for net in built.posteriors.values() for v in net.trainable_variables]
    start, found = 0, []
    each = gradients(built, 10)
    for v in built.trainable_variables:
        size = int(np.prod(v.shape))
        if id(v) in names:
            found.append(each[start : start + size])
        start += size
    assert len(found) == len(names) > 0
    np.testing.assert_allclose(np.concatenate(found), 0.0, atol=1e-5)


@pytest.mark.again
def test_piwae_gives_each_player_its_own_bounds_gradient():
    many, groups, both = (
        np.mean([gradients(model(2, 0.3, o), 4000) for _ in range(5)], axis=0)
        for o in (IWAE(6), MIWAE(2, 3), PIWAE(2, 3))
    )
    built = model(2, 0.3)
    posterior = {id(v) for net in built.posteriors.values() for v in net.trainable_variables}
    is_posterior = np.concatenate([
        np.full(int(np.prod(v.shape)), id(v) in posterior) for v in built.trainable_variables
    ])  # fmt: skip
    np.testing.assert_allclose(both[is_posterior], groups[is_posterior], atol=0.06)
    np.testing.assert_allclose(both[~is_posterior], many[~is_posterior], atol=0.06)


def test_a_known_value_is_not_drawn_and_has_no_kl():
    built = model(2)
    z2 = np.array([[0.5], [np.nan], [-1.0]], "float32")
    forward = built.forward({"x": XS, "z2": z2}, 3)
    np.testing.assert_array_equal(forward["z2"].value[:, 0], np.full([3, 1], 0.5))
    kl = forward.kls["z2"].numpy()
    assert kl[0] == kl[2] == 0 < kl[1]
    joint = tfd.MultivariateNormalFullCovariance(np.zeros(2), covariance(2)[np.ix_([0, 2], [0, 2])])
    known = joint.log_prob(np.concatenate([z2, XS], axis=1)[[0, 2]])
    estimate = built.log_likelihood({"x": XS, "z2": z2}, 4000).numpy()
    np.testing.assert_allclose(estimate[[0, 2]], known, atol=0.02)
    np.testing.assert_allclose(estimate[1], log_p(2)[1], atol=1e-4)


def test_a_prior_of_a_label_against_its_closed_form():
    """z ~ N(m_c, 1), x ~ N(z, S^2): log p(x | c) = N(m_c, 1 + S^2), and its ELBO at a known q."""
    means = np.array([[-1.0], [2.0]], "float32")
    label = keras.Input((), dtype="int32", name="c")
    table = keras.layers.Embedding(2, 1, embeddings_initializer=lambda *_, **__: means)
    make = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 1.0), 1))
    prior = keras.Model(label, make(table(label)))
    built = LatentModel({"z": (linear({"x": 0.5}, 0.8), prior)}, {"x": linear({"z": 1.0}, S)})
    c = np.array([0, 1, 1], "int32")
    exact = tfd.Normal(means[c][:, 0], (1 + S**2) ** 0.5).log_prob(XS[:, 0])
    np.testing.assert_allclose(built.log_likelihood({"x": XS, "c": c}, 50_000), exact, atol=0.1)
    q, p = tfd.Normal(0.5 * XS[:, 0], 0.8), tfd.Normal(means[c][:, 0], 1.0)
    forward = built.forward({"x": XS, "c": c})
    np.testing.assert_allclose(forward.kls["z"], tfd.kl_divergence(q, p), rtol=1e-5)


def test_the_exact_posterior_of_x_and_a_label_has_log_p_in_every_weight():
    """z ~ N(c - 0.5, 1), x ~ N(z, S^2): q(z | x, c) = N((x + S^2 (c - 0.5)) / (1 + S^2), ...)."""
    gain, shrunk = 1 / (1 + S**2), S**2 / (1 + S**2)
    q = linear({"x": gain, "c": shrunk}, np.float32(shrunk**0.5), -0.5 * shrunk)
    built = LatentModel({"z": (q, linear({"c": 1.0}, 1.0, -0.5))}, {"x": linear({"z": 1.0}, S)})
    c = np.array([[0.0], [1.0], [1.0]], "float32")
    exact = tfd.Normal(c[:, 0] - 0.5, (1 + S**2) ** 0.5).log_prob(XS[:, 0])
    forward = built.forward({"x": XS, "c": c}, 5)
    np.testing.assert_allclose(forward.log_weights, np.tile(exact, (5, 1)), atol=2e-5)
    expected = tfd.kl_divergence(
        tfd.Normal(gain * XS[:, 0] + shrunk * (c[:, 0] - 0.5), shrunk**0.5),
        tfd.Normal(c[:, 0] - 0.5, 1.0),
    )
    np.testing.assert_allclose(forward.kl, expected, rtol=1e-4)
    np.testing.assert_allclose(built.log_likelihood({"x": XS, "c": c}, 3), exact, atol=2e-5)


def test_objectives_of_one_variable_say_so():
    for objective in (objectives.MMD(), objectives.DIP(), objectives.BetaTC(10)):
        with pytest.raises(ValueError, match=r"of one latent variable.*Received: z2, z1"):
            model(2, objective=objective)


def test_weights_of_the_kl_are_by_variable():
    loss = {}
    for beta in ({"z2": 1.0, "z1": 0.0}, {"z2": 0.0, "z1": 1.0}, 0.0):
        built = model(2, 0.3, ELBO(beta))
        forward = built.forward(XS, seed=tf.constant([1, 2]))
        loss[str(beta)] = built.objective(forward).loss
        kls = forward.kls
    z2, z1, none = loss.values()
    np.testing.assert_allclose(z2 - none, kls["z2"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(z1 - none, kls["z1"], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="Expected beta for each latent variable: z2, z1"):
        model(2, objective=ELBO({"z1": 1.0}))


def bits(weights, shift=0.3):
    """A network of numbers by name, to one bit."""
    inputs = {name: keras.Input((1,), name=name) for name in weights}
    logit = Linear(list(weights.values()), shift)(list(inputs.values()))
    return keras.Model(inputs, layers.IndependentBernoulli(1)(logit))


def model_of_bits(objective):
    prior = tfd.Independent(tfd.Bernoulli(probs=[0.4], dtype=tf.float32), 1)
    built = LatentModel(
        {
            "z2": (bits({"x": 0.8}), prior),
            "z1": (bits({"x": -0.5, "z2": 1.1}), bits({"z2": -0.7})),
        },
        {"x": bits({"z1": 1.4, "z2": 0.2})},
        objective=objective,
    )
    built.compile("adam", jit_compile=False)
    return built


def exact_bound_gradient(built, xs, k):
    """Of the mean bound of k draws: the sum over all values that k draws of two bits may have."""
    pairs = [(a, b) for a in (0.0, 1.0) for b in (0.0, 1.0)]
    with tf.GradientTape() as tape:
        total = 0.0
        for x in xs:
            x = tf.constant(x[None])
            log_w, log_q = [], []
            for a, b in pairs:
                z2, z1 = tf.constant([[a]]), tf.constant([[b]])
                q = built.posteriors["z2"](x).log_prob(z2)
                q += built.posteriors["z1"]({"x": x, "z2": z2}).log_prob(z1)
                p = built.priors["z2"].distribution().log_prob(z2)
                p += built.priors["z1"](z2).log_prob(z1)
                p += built.likelihoods["x"]({"z1": z1, "z2": z2}).log_prob(x)
                log_w.append((p - q)[0])
                log_q.append(q[0])
            for draws in itertools.product(range(4), repeat=k):
                bound = tf.reduce_logsumexp([log_w[i] for i in draws]) - np.log(k)
                total -= tf.exp(tf.add_n([log_q[i] for i in draws])) * bound
        loss = total / len(xs)
    found = tape.gradient(loss, [v.value for v in built.trainable_variables])
    return np.concatenate([np.ravel(g) for g in found])


def test_vimco_has_the_mean_of_the_exact_gradient():
    xs = np.array([[0.0], [1.0]], "float32")
    built = model_of_bits(IWAE(2, "vimco"))
    exact = exact_bound_gradient(built, xs, 2)
    x = tf.constant(np.repeat(xs, 5000, axis=0))
    found = []
    for _ in range(8):
        with tf.GradientTape() as tape:
            loss = built.compute_loss(x, None, built._forward(x, True, 2))
        slopes = tape.gradient(loss, [v.value for v in built.trainable_variables])
        found.append(np.concatenate([np.ravel(g) for g in slopes]))
    found = np.stack(found)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - exact), 5 * error + 1e-3)
