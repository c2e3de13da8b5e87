"""KL of two Normals in any two of TFP's spellings, against the formula in NumPy, and by draws."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers, priors
from tfp_vae.distributions import fast
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.errors import InputError

tfd = tfp.distributions
RNG = np.random.default_rng(0)
B, D = 4, 3


def real(*shape):
    return RNG.normal(size=shape).astype("float32")


def positive(*shape):
    return RNG.uniform(0.5, 2.0, size=shape).astype("float32")


def triangle(*shape):
    lower = np.tril(RNG.normal(size=[*shape, D, D]).astype("float32"), -1)
    return lower + positive(*shape, D)[..., None] * np.eye(D, dtype="float32")


def operator(loc, scale):
    return tfd.MultivariateNormalLinearOperator(loc, scale)


# name -> (the distribution, its mean, its covariance)
VECTORS = {}


def spelled(name, distribution, mean, scale):
    """`scale`: deviations `[..., D]`, or a matrix S of the covariance S S'."""
    mean = np.broadcast_to(np.asarray(mean, "float64"), (*np.shape(mean)[:-1], D))
    scale = np.asarray(scale, "float64")
    matrix = scale if scale.ndim > 1 and scale.shape[-2:] == (D, D) and name in FULL else (
        np.broadcast_to(scale, (*scale.shape[:-1], D))[..., None] * np.eye(D)
    )  # fmt: skip
    VECTORS[name] = distribution, mean, matrix @ np.swapaxes(matrix, -1, -2)


FULL = ("tril", "tril alone", "full covariance", "low rank", "low-rank covariance", "operator")
m, s, t = real(B, D), positive(B, D), triangle(B)
spelled("independent", tfd.Independent(tfd.Normal(m, s), 1), m, s)
m, s = real(B, D), positive(D)
spelled("ours", tfd.Independent(fast.Normal(m, s), 1), m, s)
m = real(D)
spelled("one scale", tfd.Independent(tfd.Normal(m, 2.0), 1), m, np.full(D, 2.0))
m, s = real(5, 1, D), positive(B, D)
spelled("broadcast", tfd.Independent(tfd.Normal(m, s), 1), m, s)
spelled("nested", tfd.Independent(tfd.Independent(tfd.Normal(m, s), 0), 1), m, s)
m, s = real(B), positive(B)
spelled("sample", tfd.Sample(tfd.Normal(m, s), D), m[:, None], np.tile(s[:, None], D))
spelled("sample alone", tfd.Sample(tfd.Normal(0.3, 2.0), D), np.full(D, 0.3), np.full(D, 2.0))
m, s = real(B, D), positive(B, D)
spelled("diag", tfd.MultivariateNormalDiag(m, s), m, s)
spelled("diag, negative", tfd.MultivariateNormalDiag(m, -s), m, s)
s = positive(B, D)
spelled("no loc", operator(None, tf.linalg.LinearOperatorDiag(s)), np.zeros(D), s)
m = real(D)
identity = tf.linalg.LinearOperatorScaledIdentity(D, 1.5)
spelled("scaled identity", operator(m, identity), m, np.full(D, 1.5))
m = real(B, D)
spelled("tril", tfd.MultivariateNormalTriL(m, t), m, t)
m, t = real(D), triangle()
spelled("tril alone", tfd.MultivariateNormalTriL(m, t), m, t)
spelled("full covariance", tfd.MultivariateNormalFullCovariance(m, t @ t.T), m, t)
m, t = real(B, D), triangle(5, 1) + 0.2
full = tf.linalg.LinearOperatorFullMatrix(t, is_non_singular=True)
spelled("operator", operator(m, full), m, t)
m, s, u = real(D), positive(D), real(D, 2)
low = tfd.MultivariateNormalDiagPlusLowRank(m, s, scale_perturb_factor=u)
spelled("low rank", low, m, np.diag(s) + u @ u.T)
low = tfd.MultivariateNormalDiagPlusLowRankCovariance(m, s, u)
spelled("low-rank covariance", low, m, np.linalg.cholesky(np.diag(s) + u @ u.T))


def formula(q, p):
    """1/2 (tr(P^-1 Q) + d' P^-1 d - k + log |P| / |Q|), in float64."""
    (_, a, cov_q), (_, b, cov_p) = q, p
    inverse, d = np.linalg.inv(cov_p), b - a
    trace = np.einsum("...ij,...ji->...", inverse, cov_q)
    square = np.einsum("...i,...ij,...j->...", d, inverse, d)
    logs = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    return 0.5 * (trace + square - a.shape[-1] + logs)


def never():
    raise AssertionError("a KL that is known is not drawn")


@pytest.mark.parametrize("q", VECTORS)
def test_every_pair_over_vectors_is_the_formula(q):
    for p in VECTORS:
        expected = formula(VECTORS[q], VECTORS[p])
        found = kl_divergence(VECTORS[q][0], VECTORS[p][0], never, exact=True)
        assert found.shape == expected.shape, p
        np.testing.assert_allclose(found, expected, rtol=3e-4, atol=1e-4, err_msg=p)


def matrices():
    """Over `[2, D]`, batch `[B]` or none."""
    m, s = real(B, 2, D), positive(2, D)
    rows = tfd.MultivariateNormalTriL(real(B, 2, D), triangle(2))
    whole = tfd.Independent(tfd.Normal(m, s), 2)
    return {
        "independent": whole,
        "unit": priors.unit_normal((2, D)),
        "nested": tfd.Independent(tfd.Independent(tfd.Normal(real(2, D), s), 1), 1),
        "vectors": tfd.Independent(tfd.MultivariateNormalDiag(real(2, D), positive(D)), 1),
        "full vectors": tfd.Independent(rows, 1),
        "sample of vectors": tfd.Sample(tfd.MultivariateNormalDiag(real(B, D), positive(D)), 2),
        "sample of full": tfd.Sample(tfd.MultivariateNormalTriL(real(D), triangle()), 2),
        "sample": tfd.Sample(tfd.Normal(real(B), 0.7), [2, D]),
        "independent sample": tfd.Independent(tfd.Sample(tfd.Normal(real(B, 2), 1.0), D), 1),
    }


MATRICES = matrices()


@pytest.mark.parametrize("q", MATRICES)
def test_every_pair_over_matrices_is_the_mean_of_draws(q):
    given = MATRICES[q]
    z = given.sample(20_000, seed=(1, 2))
    for name, p in MATRICES.items():
        found = kl_divergence(given, p, never, exact=True)
        assert found.shape == tf.broadcast_static_shape(given.batch_shape, p.batch_shape), name
        points = z if given.batch_shape.rank else z[:, tf.newaxis]
        each = given.log_prob(points) - p.log_prob(points)
        mean, error = each.numpy().mean(axis=0), each.numpy().std(axis=0) / len(z) ** 0.5
        assert (np.abs(mean - found) < 4.5 * error + 1e-4).all(), name


@pytest.mark.parametrize("pair", [("tril", "independent"), ("ours", "diag"), ("sample", "tril")])
def test_tfp_knows_the_rule(pair):
    q, p = (VECTORS[name] for name in pair)
    np.testing.assert_allclose(tfd.kl_divergence(q[0], p[0]), formula(q, p), rtol=3e-4)


@pytest.mark.one
@pytest.mark.parametrize("layer", ["IndependentNormal", "MultivariateNormalTriL"])
def test_gradients_compile_with_a_dynamic_batch(layer):
    layer = getattr(layers, layer)(D)
    priors_ = [VECTORS[name][0] for name in ("tril alone", "diag", "one scale")]

    def run(params):
        with tf.GradientTape() as tape:
            tape.watch(params)
            q = layer(params)
            value = sum(tfd.kl_divergence(q, p) + tfd.kl_divergence(p, q) for p in priors_)
        return value, tape.gradient(value, params)

    params = tf.constant(real(B, layer.num_parameters))
    signature = [tf.TensorSpec([None, params.shape[-1]])]
    compiled = tf.function(run, jit_compile=True, input_signature=signature)
    for mine, known in zip(compiled(params), run(params), strict=True):
        np.testing.assert_allclose(mine, known, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("prior", ["unit", "diag", "tril"])
@pytest.mark.parametrize("layer", ["IndependentNormal", "MultivariateNormalDiag",
                                   "MultivariateNormalTriL"])  # fmt: skip
def test_the_layers_have_exact_kls(layer, prior):
    prior = {
        "unit": priors.unit_normal(D),
        "diag": tfd.MultivariateNormalDiag(real(D), positive(D)),
        "tril": tfd.MultivariateNormalTriL(real(D), triangle()),
    }[prior]
    made = getattr(layers, layer)
    regularizer = layers.KLDivergenceRegularizer(prior, use_exact_kl=True)
    one = made(D, activity_regularizer=regularizer, seed=0)
    q = one(real(2, made.params_size(D)))
    z = q.sample(40_000)
    each = (q.log_prob(z) - prior.log_prob(z)).numpy().mean(axis=1)
    error = each.std() / np.sqrt(len(each))
    assert float(one.losses[0]) == pytest.approx(each.mean(), abs=4.5 * error)


def test_what_is_no_normal_has_no_rule():
    laplace = tfd.Independent(tfd.Laplace(real(D), 1.0), 1)
    for q, p in itertools.permutations([laplace, VECTORS["diag"][0]]):
        with pytest.raises(NotImplementedError):
            tfd.kl_divergence(q, p)
        with pytest.raises(ValueError, match="no closed form"):
            kl_divergence(q, p, never, exact=True)


@pytest.mark.parametrize("exact", [True, False, None])
@pytest.mark.parametrize("p", [
    tfd.Normal(0.0, 1.0), tfd.Normal(tf.zeros(D), 1.0), priors.unit_normal(1),
    tfd.MultivariateNormalDiag(tf.zeros(D + 1)), tfd.Independent(tfd.Laplace([0.0], 1.0), 1),
])  # fmt: skip
def test_other_events_are_refused_in_words(p, exact):
    q = VECTORS["independent"][0]
    with pytest.raises(InputError, match=r"same events.*one event shape.*Received"):
        kl_divergence(q, p, q.sample, exact=exact)
