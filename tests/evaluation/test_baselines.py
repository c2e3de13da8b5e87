"""Baselines: each family fitted by column, against the entropy of what the data were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import layers
from tfp_vae.distributions.counts import ZeroInflated
from tfp_vae.evaluation.baselines import FAMILIES, baseline
from tfp_vae.evaluation.columns import Columns, minimum
from tfp_vae.recipes.base import LIKELIHOODS

N, D = 3000, 5
RNG = np.random.default_rng(0)
LOC = np.array([-3.0, 0.0, 0.5, 100.0, 1e4])
SCALE = np.array([1e-3, 0.1, 1.0, 30.0, 1e3])  # columns of units of their own
MEAN = np.array([0.05, 0.5, 3.0, 20.0, 300.0])
R = np.array([0.3, 1.0, 2.0, 5.0, 20.0])
P = np.array([0.02, 0.2, 0.5, 0.7, 0.99])


def counts():
    return tfd.NegativeBinomial(R, logits=np.log(MEAN / R))


# The layer that ends the decoder, what the data are drawn from, the name of the baseline.
CASES = {
    "IndependentNormal": (lambda: layers.IndependentNormal(D), tfd.Normal(LOC, SCALE), "Normals"),
    "MultivariateNormalDiag": (
        lambda: layers.MultivariateNormalDiag(D),
        tfd.Normal(LOC, SCALE),
        "Normals",
    ),
    "MultivariateNormalTriL": (
        lambda: layers.MultivariateNormalTriL(D),
        tfd.Normal(LOC, SCALE),
        "Normals",
    ),
    "MixtureNormal": (lambda: layers.MixtureNormal(2, D), tfd.Normal(LOC, SCALE), "Normals"),
    "MixtureLogistic": (
        lambda: layers.MixtureLogistic(2, D),
        tfd.Logistic(LOC, SCALE),
        "logistics",
    ),
    "MixtureSameFamily": (
        lambda: layers.MixtureSameFamily(2, layers.Laplace(D)),
        tfd.Laplace(LOC, SCALE),
        "Laplaces",
    ),
    "IndependentLogistic": (
        lambda: layers.IndependentLogistic(D),
        tfd.Logistic(LOC, SCALE),
        "logistics",
    ),
    "Laplace": (lambda: layers.Laplace(D), tfd.Laplace(LOC, SCALE), "Laplaces"),
    "StudentT": (
        lambda: layers.StudentT(D),
        tfd.StudentT(np.array([2.5, 3.0, 4.0, 8.0, 50.0]), LOC, SCALE),
        "Student's t",
    ),
    "Gamma": (
        lambda: layers.Gamma(D),
        tfd.Gamma(R, np.array([1e-3, 0.1, 1.0, 10.0, 1e3])),
        "Gammas",
    ),
    "IndependentBernoulli": (
        lambda: layers.IndependentBernoulli(D),
        tfd.Bernoulli(probs=P, dtype=tf.float64),
        "Bernoullis",
    ),
    "ContinuousBernoulli": (
        lambda: layers.ContinuousBernoulli(D),
        tfd.ContinuousBernoulli(probs=P),
        "continuous Bernoullis",
    ),
    "IndependentPoisson": (lambda: layers.IndependentPoisson(D), tfd.Poisson(MEAN), "Poissons"),
    "NegativeBinomial": (lambda: layers.NegativeBinomial(D), counts(), "negative binomials"),
    "ZeroInflatedNegativeBinomial": (
        lambda: layers.ZeroInflatedNegativeBinomial(D),
        ZeroInflated(np.array([-3.0, -1.0, 0.0, 1.0, 2.0]), counts()),
        "zero-inflated counts",
    ),
    "Categorical": (
        lambda: layers.Categorical(D, 4),
        tfd.Categorical(RNG.normal(size=[D, 4]), dtype=tf.float64),
        "categoricals",
    ),
    "QuantizedLogisticMixture": (
        lambda: layers.QuantizedLogisticMixture(D, 2, low=0, high=15),
        tfd.QuantizedDistribution(tfd.Logistic(np.linspace(0, 15, D), 1.5), 0.0, 15.0),
        "histograms",
    ),
    "SharedScale, fixed": (
        lambda: layers.SharedScale(D, scale=2.0),
        tfd.Normal(LOC, np.float64(2.0)),
        "Normals of scale 2",
    ),
    "SharedScale, trained": (
        lambda: layers.SharedScale(D, trainable_scale=True),
        tfd.Normal(LOC, np.float64(0.3)),
        "Normals of one scale",
    ),
    "SharedScale, Laplace": (
        lambda: layers.SharedScale(D, family="laplace", trainable_scale=True),
        tfd.Laplace(LOC, np.float64(0.3)),
        "Laplaces of one scale",
    ),
    "SharedScale, fixed logistic": (
        lambda: layers.SharedScale(D, family="logistic", scale=0.05),
        tfd.Logistic(LOC, np.float64(0.05)),
        "logistics of scale 0.05",
    ),
    "SharedScale, trained logistic": (
        lambda: layers.SharedScale(D, family="logistic", trainable_scale=True),
        tfd.Logistic(LOC, np.float64(0.05)),
        "logistics of one scale",
    ),
    "DistributionLambda, fixed": (
        lambda: layers.DistributionLambda(
            lambda t: tfd.Independent(tfd.Normal(t, 3 * tf.ones_like(t)), 1)
        ),
        tfd.Normal(LOC, np.float64(3.0)),
        "Normals of scale 3",
    ),
    "DistributionLambda, fixed by column": (
        lambda: layers.DistributionLambda(
            lambda t: tfd.Independent(tfd.Normal(t, tf.constant(SCALE, tf.float32)), 1)
        ),
        tfd.Normal(LOC, SCALE),
        "Normals of fixed scales",
    ),
}


def likelihood_of(layer, rows=3):
    size = getattr(layer, "num_parameters", D)
    return layer(tf.constant(np.random.default_rng(1).normal(size=[rows, size]), tf.float32))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.one
def test_a_baseline_comes_to_the_entropy_of_data_of_its_family(case):
    make, truth, name = CASES[case]
    layer = make()
    tf.random.set_seed(0)
    train, x = truth.sample(N, seed=1).numpy(), truth.sample(4 * N, seed=2).numpy()
    found = baseline(likelihood_of(layer), train, layer)
    assert found.name == f"independent {name}"
    excess = found.nll(x) + truth.log_prob(x).numpy().sum(axis=-1)
    assert excess.shape == (len(x),)
    # Each fitted parameter costs 1 / (2 N) nats; 16 levels have 15, and Student's tails cost more.
    many = {"QuantizedLogisticMixture": 15, "Categorical": 3, "StudentT": 6}.get(case, 3)
    error = 4 * excess.std() / np.sqrt(len(x))
    assert -error < excess.mean() < 2 * D * many / (2 * N) + error


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_of_the_command_has_a_baseline(name):
    layer = LIKELIHOODS[name]((2, 2, 1))
    x = np.random.default_rng(0).integers(0, 2, [40, 2, 2, 1]).astype("float32")
    found = baseline(likelihood_of(layer), x, layer)
    assert np.isfinite(found.nll(x)).all()


def by_scipy(x, new, name):
    """-log p of each row of new, by scipy's own maximum likelihood."""
    if name == "normal":
        return -scipy.stats.norm(x.mean(0), x.std(0)).logpdf(new).sum(1)
    if name == "laplace":
        fits = [scipy.stats.laplace.fit(column) for column in x.T]
        family = scipy.stats.laplace
    elif name == "logistic":
        fits = [scipy.stats.logistic.fit(column) for column in x.T]
        family = scipy.stats.logistic
    else:
        fits = [scipy.stats.gamma.fit(column, floc=0) for column in x.T]
        family = scipy.stats.gamma
    columns = zip(new.T, fits, strict=True)
    return -sum(family(*parameters).logpdf(column) for column, parameters in columns)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.IndependentNormal, "normal"),
        (layers.Laplace, "laplace"),
        (layers.IndependentLogistic, "logistic"),
        (layers.Gamma, "gamma"),
    ],
)
def test_a_fit_by_column_is_scipys(layer, name):
    rng = np.random.default_rng(3)
    draw = rng.gamma(2.0, 3.0, [301, 3]) if name == "gamma" else rng.normal(1, 2, [301, 3])
    layer = layer(3)
    found = baseline(likelihood_of(layer), draw[:201], layer).nll(draw[201:])
    np.testing.assert_allclose(found, by_scipy(draw[:201], draw[201:], name), rtol=2e-4, atol=2e-4)


def test_a_poisson_and_a_fixed_scale_are_closed_forms():
    x = np.array([[0, 4], [3, 0], [0, 0]], "float32")
    layer = layers.IndependentPoisson(2)
    rate = (x.sum(0) + 1) / 4  # with a row of ones
    expected = -scipy.stats.poisson(rate).logpmf(x).sum(1)
    np.testing.assert_allclose(baseline(likelihood_of(layer), x, layer).nll(x), expected, rtol=1e-9)
    layer = layers.SharedScale(2, scale=0.5**0.5)
    expected = ((x - x.mean(0)) ** 2 + np.log(np.pi) / 2).sum(1)
    found = baseline(likelihood_of(layer), x, layer)  # whose scale is a float32's
    np.testing.assert_allclose(found.nll(x), expected, rtol=1e-6)


@pytest.mark.parametrize("family", ["normal", "laplace", "logistic"])
def test_one_trained_scale_is_one_for_columns_that_are_unlike(family):
    x = np.random.default_rng(5).normal(size=[201, 3]) * [1.0, 2.0, 5.0]
    layer = layers.SharedScale(3, family=family, trainable_scale=True)
    found = baseline(likelihood_of(layer), x, layer).nll(x)
    kind = {"normal": "norm"}.get(family, family)
    start = np.append(np.median(x, axis=0), 0.0)

    def nll(p):
        return -getattr(scipy.stats, kind)(p[:3], np.exp(p[3])).logpdf(x).sum()

    options = {"maxfev": 9000, "maxiter": 9000, "xatol": 1e-6, "fatol": 1e-6}
    best = scipy.optimize.minimize(nll, start, method="Nelder-Mead", options=options)
    assert found.sum() == pytest.approx(best.fun, abs=0.05)


def test_a_bernoulli_has_a_white_and_a_black_image_more():
    train = np.array([[0, 255], [255, 255]], "uint8")
    layer = layers.IndependentBernoulli(2)
    x = np.array([[1, 0], [0, 0], [1, 1]], "float32")
    expected = -scipy.stats.bernoulli([2 / 4, 3 / 4]).logpmf(x).sum(1)
    for given in (train, train / 255):
        found = baseline(likelihood_of(layer), given, layer)
        np.testing.assert_allclose(found.nll(x), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["OneHotCategorical", "CategoricalMixtureOfOneHotCategorical"])
def test_one_hot_vectors_have_the_frequencies_of_their_categories(kind):
    layer = getattr(layers, kind)(3, *([2] if "Mixture" in kind else []))
    x = np.eye(3)[[0, 0, 1]]
    found = baseline(likelihood_of(layer), x, layer)
    p = (np.array([2, 1, 0]) + 1 / 3) / 4
    np.testing.assert_allclose(found.nll(np.eye(3)), -np.log(p), rtol=1e-9)
    assert found.name == "one categorical"


@pytest.mark.parametrize(
    ("layer", "family"),
    [
        (layers.VonMisesFisher, tfd.VonMisesFisher),
        (layers.PowerSpherical, tfd.PowerSpherical),
    ],
)
def test_directions_have_a_mean_and_a_concentration(layer, family):
    truth = family(np.array([0.6, 0.0, 0.8]), np.float64(4.0))
    x = truth.sample(2000, seed=1).numpy()
    layer = layer(3)
    found = baseline(likelihood_of(layer), x, layer).nll(x)
    assert found.mean() == pytest.approx(-truth.log_prob(x).numpy().mean(), abs=2e-3)


def test_what_never_came_in_training_costs_something_finite():
    """Pixels that are constant, counts and levels that were not there, in each family."""
    shape = (2, 2, 1)
    train = np.zeros([50, *shape], "float32")
    train[:, 0] = RNG.integers(0, 2, [50, 2, 1])
    x = np.ones([3, *shape], "float32")
    for make in (*LIKELIHOODS.values(), lambda shape: layers.Categorical(shape, 2)):
        layer = make(shape)
        found = baseline(likelihood_of(layer), train, layer)
        assert np.isfinite(found.nll(x)).all(), found.name
        assert found.nll(x)[0] < 2e4, found.name


@pytest.mark.parametrize(
    "make",
    [
        lambda t: tfd.Independent(tfd.Cauchy(t, 1.0), 1),
        lambda t: tfd.Dirichlet(tf.exp(t)),
        lambda t: tfd.Independent(tfd.Deterministic(t), 1),
        lambda t: tfd.RelaxedOneHotCategorical(0.5, t),
    ],
)
def test_a_family_that_is_not_known_has_none(make):
    layer = layers.DistributionLambda(make)
    assert baseline(likelihood_of(layer), RNG.normal(size=[10, D]), layer) is None


def test_data_that_the_family_has_not_give_none():
    layer = layers.Categorical(2, 3)
    assert baseline(likelihood_of(layer), np.array([[0.0, -1.0], [0.0, 1.0]]), layer) is None


def test_every_row_of_the_table_is_tried_here():
    tried = {type(truth).__mro__ for _, truth, _ in CASES.values()}
    tried = {kind for order in tried for kind in order}
    others = {tfd.OneHotCategorical, tfd.VonMisesFisher, tfd.PowerSpherical}
    names = {"QuantizedLogistic"}  # by a histogram of draws of TFP's own
    rows = [family.kind for family in FAMILIES]
    assert [k for k in rows if k not in tried | others and k.__name__ not in names] == []


@pytest.mark.parametrize("levels", [False, True])
def test_columns_are_weighed(levels):
    x = RNG.integers(0, 5, [400, 3]) + (0 if levels else RNG.uniform(size=[400, 3]))
    columns = Columns(x, [(9.0, 2.0)])
    assert (columns.values.shape[1] == 1) == levels
    full = np.concatenate([x, np.full([2, 3], 9.0)])
    np.testing.assert_allclose(columns.mean(), full.mean(0))
    np.testing.assert_allclose(columns.variance(), full.var(0))
    low, high = (np.quantile(full, 0.5, axis=0, method=m) for m in ("lower", "higher"))
    assert ((columns.median() >= low) & (columns.median() <= high)).all()


def test_minimum_goes_down_from_afar_in_each_row():
    target = np.array([[1.0, -2.0], [30.0, 0.0]])

    def loss(p):
        x, y = tf.unstack(p - target, axis=1)
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2  # Rosenbrock's, each about its own target

    np.testing.assert_allclose(minimum(loss, target + 0.5), target + 1, atol=1e-2)
    flat = scipy.optimize.minimize(lambda p: (p[0] - 3) ** 2, [0.0]).x
    np.testing.assert_allclose(minimum(lambda p: (p[:, 0] - 3) ** 2, np.zeros([1, 1]))[0], flat)
