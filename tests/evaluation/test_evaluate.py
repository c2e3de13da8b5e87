"""The numbers of a report: of the same rows, with their errors, called what they are."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from conftest import small_networks
from tensorflow_probability import distributions as tfd

from tfp_vae import VAE, InputError, data, layers, networks, objectives
from tfp_vae.evaluation import estimates, measures, summary

RNG = np.random.default_rng(0)
MEANS = ("negative_elbo", "nll", "kl", "log_likelihood")


def small(likelihood, shape, posterior=None):
    return VAE(
        networks.encoder(shape, posterior or layers.IndependentNormal(2), widths=(8,)),
        networks.decoder(2, likelihood, widths=(8,)),
    )


# -- the same rows -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_class():
    """A model of bits that are sorted: the last rows are noise, the first ones all the same."""
    keras.utils.set_random_seed(0)
    x = np.zeros([1200, 20], "float32")
    x[300:] = RNG.integers(0, 2, [900, 20])
    vae = small(layers.IndependentBernoulli(20), (20,))
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(x, epochs=8, batch_size=64, verbose=0)
    return vae, x


@pytest.mark.one
@pytest.mark.parametrize("examples", [100, 300, None])
def test_the_bound_holds_where_the_rows_are_sorted_by_class(by_class, examples):
    vae, x = by_class
    found = estimates.evaluate(vae, x, num_samples=50, examples=examples)
    assert found["rows"] == (examples or 1200)
    error = found["negative_elbo_error"]
    assert found["negative_elbo"] > -found["log_likelihood"] - 0.2 * error
    # Of a sorted file, the first 300 rows alone are far from the mean of all.
    everything = estimates.evaluate(vae, x, num_samples=5, examples=None)
    for key in ("negative_elbo", "nll", "log_likelihood"):
        assert abs(found[key] - everything[key]) < 4 * found[f"{key}_error"] + 0.1
    first = estimates.evaluate(vae, x[:300], num_samples=5)
    assert abs(first["nll"] - everything["nll"]) > 3


def test_every_number_is_of_the_same_rows(by_class):
    """Rows that tell which they are, by a likelihood that is a function of x alone."""
    _, x = by_class
    constant = layers.DistributionLambda(
        lambda t: tfd.Independent(tfd.Normal(0.0 * t[:, :20], 1.0), 1)
    )
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(20), constant])
    encoder = networks.encoder((20,), layers.IndependentNormal(2), widths=(8,))
    vae = VAE(encoder, decoder)
    unlike = (x + np.arange(1200)[:, np.newaxis] / 100).astype("float32")
    text, found = summary.report(vae, unlike, unlike[:2] * 0, num_samples=400, examples=50)
    index = estimates.chosen(1200, 50)
    nll = -scipy.stats.norm(0, 1).logpdf(unlike[index]).sum(1)
    error = nll.std(ddof=1) / 50**0.5
    for key in ("nll", "baseline"):  # whose mean of the two given rows is 0
        assert found[key] == pytest.approx(nll.mean(), rel=1e-5)
        assert found[f"{key}_error"] == pytest.approx(error, rel=1e-5)
    assert -found["log_likelihood"] == pytest.approx(nll.mean(), rel=2e-2)
    assert text.startswith("on 50 of 1,200 test rows, drawn at random, in nats")
    assert f"{found['baseline']:.2f} +- {error:.2f}" in text


def test_rows_are_the_same_each_time_and_others_for_another_seed():
    index = estimates.chosen(1000, 30)
    np.testing.assert_array_equal(index, estimates.chosen(1000, 30))
    assert (index != estimates.chosen(1000, 30, seed=1)).any()
    assert len(np.unique(index)) == 30
    assert (np.diff(index) > 0).all()
    shares = [np.isin(np.arange(10), estimates.chosen(10, 5, seed)) for seed in range(2000)]
    np.testing.assert_allclose(np.mean(shares, axis=0), 0.5, atol=5 * 0.5 / 2000**0.5)


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_conditions_go_with_their_rows(structure):
    """The likelihood of x is high at its own label alone."""
    x = np.repeat(np.arange(5), 40)[:, np.newaxis].astype("float32") * 10
    label = np.repeat(np.arange(5), 40)
    z, number = keras.Input((2,), name="z"), keras.Input((), dtype="int32", name="label")
    embed = keras.layers.Embedding(5, 1, name="embed")
    at = layers.SharedScale(1, scale=0.1)(keras.layers.Flatten()(embed(number)))
    decoder = keras.Model([z, number], at)
    decoder.get_layer("embed").set_weights([np.arange(5.0)[:, np.newaxis] * 10])
    vae = VAE(networks.encoder((1,), layers.IndependentNormal(2), widths=(4,)), decoder)
    given = [x, label] if structure == "list" else {"label": label, "x": x}
    text, found = summary.report(vae, given, x, num_samples=3, examples=20)
    assert found["nll"] == pytest.approx(-scipy.stats.norm(0, 0.1).logpdf(0), rel=1e-5)
    assert "log density given label" in text


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.again
def test_the_errors_are_the_spread_of_evaluations_of_other_rows(by_class):
    vae, x = by_class
    runs = [estimates.evaluate(vae, x, 1, examples=60, seed=seed) for seed in range(15)]
    for key in MEANS:
        spread = np.std([run[key] for run in runs], ddof=1)
        claimed = np.mean([run[f"{key}_error"] for run in runs])
        assert 0.5 < spread / claimed < 1.6, key


def test_one_row_has_no_error(by_class):
    vae, x = by_class
    text, found = summary.report(vae, x, x, num_samples=2, examples=1)
    assert not [key for key in found if key.endswith("_error")]
    assert "+-" not in text
    assert text.startswith("on 1 of 1,200 test rows")


@pytest.mark.parametrize(
    "kwargs", [{"examples": 0}, {"num_samples": 0}, {"batch_size": 0}, {"seed": -1}]
)
def test_numbers_that_are_too_low_are_refused(by_class, kwargs):
    vae, x = by_class
    with pytest.raises(InputError, match=next(iter(kwargs))):
        estimates.evaluate(vae, x, **kwargs)


def test_an_evaluation_draws_nothing_more_for_its_report(by_class):
    vae, x = by_class
    states = [g.seed_generator.state for g in (vae, vae.posterior_layer)]
    starts = [state.numpy() for state in states]
    alone = estimates.evaluate(vae, x, 3, 50)
    for state, start in zip(states, starts, strict=True):
        state.assign(start)
    reported = summary.report(vae, x, x, num_samples=3, examples=50)[1]
    assert {key: reported[key] for key in alone} == alone


# -- what the numbers are ----------------------------------------------------------------------

BITS = RNG.integers(0, 2, [40, 4]).astype("float32")
GREY = RNG.uniform(size=[40, 4]).astype("float32")
COUNTS = RNG.poisson(3.0, [40, 4]).astype("float32")
ONE_HOT = np.eye(4, dtype="float32")[RNG.integers(0, 4, 40)]

KINDS = {
    "bits": (layers.IndependentBernoulli, BITS, measures.PROBABILITY),
    "grey": (layers.IndependentBernoulli, GREY, measures.CROSS_ENTROPY),
    "one grey": (
        layers.IndependentBernoulli,
        np.where(np.arange(160).reshape(40, 4) == 77, 0.5, BITS),
        measures.CROSS_ENTROPY,
    ),
    "grey, continuous": (layers.ContinuousBernoulli, GREY, measures.DENSITY),
    "bits, continuous": (layers.ContinuousBernoulli, BITS, measures.DENSITY),
    "bits, Normal": (layers.IndependentNormal, BITS, measures.DENSITY),
    "Logistic": (layers.IndependentLogistic, GREY, measures.DENSITY),
    "Laplace": (layers.Laplace, GREY, measures.DENSITY),
    "Student": (layers.StudentT, GREY, measures.DENSITY),
    "shared": (layers.SharedScale, GREY, measures.DENSITY),
    "diagonal": (layers.MultivariateNormalDiag, GREY, measures.DENSITY),
    "Gamma": (layers.Gamma, GREY, measures.DENSITY),
    "mixture": (lambda n: layers.MixtureNormal(2, n), GREY, measures.DENSITY),
    "counts": (layers.IndependentPoisson, COUNTS, measures.PROBABILITY),
    "fractions": (layers.IndependentPoisson, COUNTS / 2, measures.SCORE),
    "negative binomial": (layers.NegativeBinomial, COUNTS, measures.PROBABILITY),
    "zeros": (layers.ZeroInflatedNegativeBinomial, COUNTS, measures.PROBABILITY),
    "fractions, zeros": (layers.ZeroInflatedNegativeBinomial, COUNTS / 2, measures.SCORE),
    "levels": (lambda n: layers.Categorical(n, 40), COUNTS, measures.PROBABILITY),
    "quantized": (lambda n: layers.QuantizedLogisticMixture(n, 2), COUNTS, measures.PROBABILITY),
    "quantized, fractions": (
        lambda n: layers.QuantizedLogisticMixture(n, 2),
        COUNTS + 0.25,
        measures.SCORE,
    ),
    "one-hot": (layers.OneHotCategorical, ONE_HOT, measures.PROBABILITY),
    "soft one-hot": (layers.OneHotCategorical, ONE_HOT * 0.7 + 0.075, measures.CROSS_ENTROPY),
    "mixture of one-hot": (
        lambda n: layers.CategoricalMixtureOfOneHotCategorical(n, 2),
        ONE_HOT,
        measures.PROBABILITY,
    ),
}


def likelihood_of(make, size=4):
    layer = make(size)
    return layer(tf.constant(RNG.normal(size=[3, layer.num_parameters]), tf.float32))


@pytest.mark.parametrize("case", KINDS)
def test_a_likelihood_is_called_what_it_is(case):
    make, x, kind = KINDS[case]
    assert measures.measure(likelihood_of(make), x) is kind


@pytest.mark.parametrize(
    ("distribution", "discrete"),
    [
        (
            lambda: tfd.Mixture(tfd.Categorical([0.0]), [tfd.Poisson(1.0)]),
            True,
        ),
        (lambda: tfd.Mixture(tfd.Categorical([0.0]), [tfd.Normal(0.0, 1.0)]), False),
        (lambda: tfd.Blockwise([tfd.Poisson(1.0), tfd.Geometric(0.0)]), True),
        (lambda: tfd.Blockwise([tfd.Poisson(1.0), tfd.Normal(0.0, 1.0)]), False),
        (lambda: tfd.Sample(tfd.Poisson(1.0), 3), True),
        (lambda: tfd.Sample(tfd.Normal(0.0, 1.0), 3), False),
        (lambda: tfd.QuantizedDistribution(tfd.Normal(0.0, 1.0)), True),
        (lambda: tfd.Binomial(3.0, 0.0), True),
        (lambda: tfd.Multinomial(3.0, [0.0, 0.0]), True),
        (lambda: tfd.LogNormal(0.0, 1.0), False),
        (lambda: tfd.Beta(1.0, 1.0), False),
        (lambda: tfd.Dirichlet([1.0, 1.0]), False),
        (lambda: tfd.VonMisesFisher([0.0, 1.0], 1.0), False),
        (lambda: tfd.RelaxedOneHotCategorical(1.0, [0.0, 0.0]), False),
    ],
)
def test_other_distributions_are_known_for_what_they_are(distribution, discrete):
    assert measures.is_discrete(measures.scalar(distribution())) is discrete


@pytest.mark.parametrize("case", ["fractions", "fractions, zeros"])
def test_fractions_of_counts_are_refused(case):
    make, x, _ = KINDS[case]
    with pytest.raises(InputError, match="Expected whole numbers in x"):
        summary.report(small(make(4), (4,)), x, x, num_samples=3)


@pytest.mark.parametrize("case", ["grey"])
def test_what_is_no_likelihood_is_not_called_one(case):
    make, x, kind = KINDS[case]
    vae = small(make(4), (4,))
    text, found = summary.report(vae, x, x, num_samples=3)
    assert not {"negative_elbo", "nll", "log_likelihood"} & set(found)
    assert found[f"{kind.key}_plus_kl"] == pytest.approx(found[kind.key] + found["kl"])
    for word in ("ELBO", "log p(x)", "nll", "density"):
        assert word not in text
    assert f"{kind.name}, not a log-likelihood" in text
    by_hand = estimates.evaluate(small(make(4), (4,)), np.round(x), num_samples=3)
    assert "log_likelihood" in by_hand


def test_a_cross_entropy_is_the_mean_over_binarizations():
    """Of a Bernoulli at grey x, and of its baseline."""
    vae = small(layers.IndependentBernoulli(4), (4,))
    found = summary.report(vae, GREY, GREY, num_samples=1)[1]
    p = (GREY.sum(0) + 1) / 42
    by_hand = -(GREY * np.log(p) + (1 - GREY) * np.log(1 - p)).sum(1)
    assert found["baseline"] == pytest.approx(by_hand.mean(), rel=1e-6)
    draws = RNG.uniform(size=[4000, 40, 4]) < GREY
    nll = -scipy.stats.bernoulli(p).logpmf(draws).sum(-1)
    assert nll.mean() == pytest.approx(found["baseline"], abs=0.02)


def test_densities_are_called_so():
    text, found = summary.report(
        small(layers.IndependentNormal(4), (4,)), GREY, GREY, num_samples=3
    )
    assert found["measure"] == "log density"
    assert "importance-weighted -log density" in text
    assert "-log p(x) " not in text
    assert "baseline: independent Normals " in text
    assert "is a density" in text


@pytest.mark.parametrize(
    ("make", "bits"),
    [
        (lambda n: layers.Categorical(n, 256), True),
        (lambda n: layers.QuantizedLogisticMixture(n, 2), True),
        (lambda n: layers.QuantizedLogisticMixture(n, 2, low=-128, high=127), True),
        (lambda n: layers.MixtureSameFamily(2, layers.Categorical(n, 256)), True),
        (lambda n: layers.Categorical(n, 255), False),
        (lambda n: layers.QuantizedLogisticMixture(n, 2, high=16), False),
        (layers.IndependentNormal, False),
        (layers.ContinuousBernoulli, False),
        (layers.IndependentBernoulli, False),
        (layers.IndependentPoisson, False),
        (lambda n: layers.DistributionLambda(lambda t: tfd.Uniform(t, t + 255)), False),
    ],
)
def test_bits_are_of_256_levels_alone(make, bits):
    layer = make(4)
    size = getattr(layer, "num_parameters", 4)
    assert measures.is_of_bytes(layer(tf.zeros([2, size]))) is bits


def test_uniform_bytes_take_eight_bits_a_dimension():
    x = RNG.integers(0, 256, [30, 6]).astype("float32")
    vae = small(layers.Categorical(6, 256), (6,))
    for network in (vae.encoder, vae.decoder):  # all levels alike, whatever z
        dense = network.layers[-2]
        dense.set_weights([0 * w for w in dense.get_weights()])
    text, found = summary.report(vae, x, num_samples=20)
    gap = -found["log_likelihood"] / (6 * np.log(2))
    assert found["bits_per_dim"] == pytest.approx(gap, rel=1e-9)
    assert found["bits_per_dim"] == pytest.approx(8, abs=0.2)
    assert "in bits per dimension" in text
    error = found["log_likelihood_error"] / (6 * np.log(2))
    assert found["bits_per_dim_error"] == pytest.approx(error, rel=1e-9)


def test_a_model_without_a_density_has_no_bound():
    vae = VAE(
        networks.encoder((4,), layers.Deterministic(2), widths=(8,)),
        networks.decoder(2, layers.SharedScale(4, scale=0.5**0.5), widths=(8,)),
        objective=_without_density(),
    )
    text, found = summary.report(vae, GREY, GREY)
    assert set(found) == {
        *("nll", "nll_error", "rows", "of_rows", "measure"),
        *("baseline", "baseline_error", "baseline_name"),
    }
    error = ((GREY - vae.reconstruct(GREY).numpy()) ** 2).sum(1)
    assert found["nll"] == pytest.approx(error.mean() + 2 * np.log(np.pi), rel=1e-5)
    around = ((GREY - GREY.mean(0)) ** 2).sum(1).mean() + 2 * np.log(np.pi)
    assert found["baseline"] == pytest.approx(around, rel=1e-5)
    assert "baseline: independent Normals of scale 0.707" in text
    assert "ELBO" not in text
    assert "no bound on log p(x)" in text


def _without_density():
    from tfp_vae.objectives import RegularizedAE

    return RegularizedAE(z_weight=0.0)


@pytest.mark.parametrize(
    ("train", "fragment"),
    [
        ((GREY * 255).astype("uint8"), "uint8 up to 25"),
        ((GREY * 255).astype("int64"), "int64 up to 25"),
        (GREY[:, :3], "train of shape"),
    ],
)
@pytest.mark.again
def test_training_data_that_are_not_as_x_are_refused(train, fragment):
    with pytest.raises(InputError, match=fragment):
        summary.report(small(layers.ContinuousBernoulli(4), (4,)), GREY, train, num_samples=1)


def test_bits_and_pixels_as_bytes_are_told_apart():
    vae = small(layers.IndependentBernoulli(4), (4,))
    given = (BITS, BITS.astype("uint8"), BITS.astype("uint8") * 255, BITS.astype("int32"))
    found = [summary.report(vae, BITS, train, num_samples=1)[1]["baseline"] for train in given]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_a_baseline_that_is_infinite_is_left_out():
    vae = small(layers.IndependentPoisson(4), (4,))
    text, found = summary.report(vae, COUNTS, COUNTS * np.nan, num_samples=1)
    assert "baseline" not in found
    assert "baseline" not in text


def test_digits_have_the_numbers_that_they_had(digits):
    """A model that is not trained is near 64 log 2 nats; independent pixels reach 27."""
    vae = VAE(*small_networks())
    x = data.binarized(digits.test)
    found = summary.report(vae, x, digits.train, num_samples=20)[1]
    assert found["negative_elbo"] == pytest.approx(64 * np.log(2), abs=3)
    assert found["baseline"] == pytest.approx(27.15, abs=4 * 0.19)


@pytest.mark.parametrize(("objective", "name"), [(objectives.ELBO(), None),
    (objectives.ELBO(free_bits=0.1), "ELBO"), (objectives.DIP(), "DIP")])  # fmt: skip
def test_a_report_says_whose_loss_depends_on_the_batch(objective, name):
    vae = VAE(*small_networks(), objective=objective)
    text, found = summary.report(vae, data.binarized(data.load("digits").test[:8]), num_samples=2)
    assert found.get("loss_of_batches") == name
    assert (f"the loss of {name}, which is none" in text) == (name is not None)
    assert "the loss of" in summary.table(found) or name is None
