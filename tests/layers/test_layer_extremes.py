"""Layers at the ends of their parameters and of their support."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.errors import InputError

tfd = tfp.distributions

# A layer, the parameters of each kind (each of their combinations is tried), and values.
EXTREMES = {
    "negative-binomial": (
        layers.NegativeBinomial(1),
        [(-30.0, 15.0), (-90.0, 90.0)],
        [0.0, 1.0, 1e4],
    ),
    "zero-inflated": (
        layers.ZeroInflatedNegativeBinomial(1),
        [(-90.0, 90.0), (-30.0, 15.0), (-90.0, 90.0)],
        [0.0, 1.0, 1e4],
    ),
    "student-t": (layers.StudentT(1), [(-9.0, 9.0), (-90.0, 90.0), (-90.0, 90.0)], [0.0, 1e6]),
    "categorical": (layers.Categorical(1, 2), [(-200.0, 200.0)] * 2, [0.0, 1.0]),
    "quantized": (
        layers.QuantizedLogisticMixture(1, 1),
        [(-90.0, 90.0), (-50.0, 0.0, 50.0), (-90.0, 90.0)],
        [0.0, 1.0, 128.0, 254.0, 255.0],
    ),
}


def combinations(kinds):
    grid = np.meshgrid(*kinds, indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, len(kinds)).astype("float32")


@pytest.mark.one
@pytest.mark.parametrize("compiled", [pytest.param(False, marks=pytest.mark.again), True])
@pytest.mark.parametrize(("layer", "kinds", "values"), EXTREMES.values(), ids=EXTREMES.keys())
def test_log_prob_moments_and_gradients_are_finite(layer, kinds, values, compiled):
    t = tf.constant(combinations(kinds))

    @tf.function(jit_compile=compiled)
    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            d = layer(t)
            log_prob = tf.stack([d.log_prob(tf.fill([len(t), 1], value)) for value in values])
            loss = tf.reduce_sum(log_prob)
        return log_prob, tape.gradient(loss, t), d.mean(), d.stddev()

    for name, tensor in zip(("log_prob", "gradient", "mean", "stddev"), run(t), strict=True):
        assert np.isfinite(tensor).all(), name


@pytest.mark.one
@pytest.mark.parametrize("kind", [layers.VonMisesFisher, layers.PowerSpherical])
@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("concentration", [-90.0, 1.0, 100.0, 10_000.0])
def test_draws_on_the_sphere_have_norm_1_and_a_finite_gradient(kind, d, concentration):
    t = tf.constant([[*np.eye(d)[d - 1], concentration]] * 20_000, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(t)
        z = tf.convert_to_tensor(kind(d, seed=1)(t))
        loss = tf.reduce_sum(z[:, 0])
    np.testing.assert_allclose(tf.norm(z, axis=-1), 1, rtol=1e-6)
    assert np.isfinite(tape.gradient(loss, t)).all()
    assert np.isfinite(kind(d)(t[:1]).stddev()).all()


@pytest.mark.parametrize("kind", [layers.VonMisesFisher, layers.PowerSpherical])
def test_a_direction_of_zero_is_the_first_axis(kind):
    t = tf.zeros([1, 4])
    with tf.GradientTape() as tape:
        tape.watch(t)
        d = kind(3)(t)
        loss = d.log_prob([[0.6, 0.8, 0.0]]) + tf.reduce_sum(d)
    np.testing.assert_array_equal(d.tensor_distribution.mean_direction, [[1, 0, 0]])
    assert np.isfinite(tape.gradient(loss, t)).all()


COSINES = {
    "von-mises-fisher": lambda d, k: lambda w: np.exp(k * w) * (1 - w**2) ** ((d - 3) / 2),
    "power-spherical": lambda d, k: lambda w: (1 + w) ** k * (1 - w**2) ** ((d - 3) / 2),
}


@pytest.mark.one
@pytest.mark.parametrize("name", COSINES)
@pytest.mark.parametrize("d", [3, 4, 8])
@pytest.mark.parametrize("concentration", [1.5, 40.0])
def test_the_whole_distribution_of_the_angle_to_the_mean_direction(name, d, concentration):
    kind = {"von-mises-fisher": layers.VonMisesFisher, "power-spherical": layers.PowerSpherical}
    direction = np.ones(d) / np.sqrt(d)
    t = np.append(direction, np.log(np.expm1(concentration - 1)))[None].astype("float32")
    draws = kind[name](d, seed=1)(t).sample(20_000)[:, 0].numpy() @ direction
    nodes = np.linspace(-1, 1, 200_001)
    cdf = np.cumsum(COSINES[name](d, concentration)(nodes))
    result = scipy.stats.kstest(draws, lambda w: np.interp(w, nodes, cdf / cdf[-1]))
    assert result.pvalue > 1e-3


@pytest.mark.parametrize("kind", [layers.VonMisesFisher, layers.PowerSpherical])
def test_the_kl_against_the_uniform_sphere_is_in_closed_form(kind):
    q = kind(3, seed=1)(np.array([[0.2, -1.0, 0.5, 3.0]], "float32"))
    p = tfd.SphericalUniform(3)
    exact = kl_divergence(q, p, points=None, exact=True)
    z = q.sample(50_000)
    by_draws = tf.reduce_mean(q.log_prob(z) - p.log_prob(z), axis=0)
    np.testing.assert_allclose(exact, by_draws, atol=0.02)


def test_a_sphere_of_one_dimension_is_refused_in_words():
    with pytest.raises(InputError, match=r"at least 2.*Received: 1"):
        layers.PowerSpherical(1)


@pytest.mark.parametrize("compiled", [False, True])
def test_cold_relaxed_draws_have_a_finite_log_prob_wherever_it_is_asked(compiled):
    """Most entries underflow; as data, exact zeros are taken as the smallest number."""
    t = tf.constant(np.random.default_rng(0).normal(size=(2000, 5)) * 10, tf.float32)
    layer = layers.RelaxedOneHotCategorical(5, temperature=0.1, seed=1)

    @tf.function(jit_compile=compiled)
    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = layer(t)
            z = tf.convert_to_tensor(q)
            log_prob = q.log_prob(z)
            loss = tf.reduce_sum(log_prob)
        return z, log_prob, tape.gradient(loss, t)

    z, log_prob, gradient = (tensor.numpy() for tensor in run(t))
    assert np.isfinite(log_prob).all()
    assert np.isfinite(gradient).all()
    assert (z > 0).all()
    assert (z.min(axis=-1) < 1e-30).mean() > 0.5
    np.testing.assert_allclose(z.sum(axis=-1), 1, rtol=1e-5)
    # A copy without the logarithms that the draw carries is taken as the number that it is.
    assert np.isfinite(layer(t).log_prob(z)).all()
    hard = tf.one_hot(np.argmax(z, axis=-1), 5)
    assert np.isfinite(layer(t).log_prob(hard)).all()


def test_the_temperature_is_a_variable_that_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((3,)), layers.RelaxedOneHotCategorical(3, 0.5, seed=1)])
    own = model.layers[-1]
    t = np.zeros([4, 3], "float32")

    @tf.function
    def log_prob():
        return own(t).log_prob(np.full([4, 3], 1 / 3, "float32"))

    before = log_prob()
    own.temperature.assign(0.2)
    assert (log_prob().numpy() < before.numpy()).all()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert float(again.layers[-1].temperature) == pytest.approx(0.2)
    np.testing.assert_array_equal(again.predict(t, verbose=0), model.predict(t, verbose=0))


def test_a_temperature_may_be_shared():
    temperature = keras.Variable(0.5, trainable=False)
    pair = [layers.RelaxedOneHotCategorical(3, temperature) for _ in range(2)]
    temperature.assign(0.25)
    assert [layer.get_config()["temperature"] for layer in pair] == [0.25, 0.25]


@pytest.mark.parametrize(
    "temperature", [0, -1.0, float("nan"), keras.Variable(1.0), tf.Variable(1.0)]
)
def test_an_impossible_temperature_is_refused_in_words(temperature):
    with pytest.raises(
        InputError, match=r"(temperature to be a number > 0|positive temperature).*Received"
    ):
        layers.RelaxedOneHotCategorical(3, temperature)


@pytest.mark.parametrize(
    ("layer", "outside"),
    [
        (layers.Categorical(1, 4), [-1.0, 4.0, 300.0, 0.5]),
        (layers.QuantizedLogisticMixture(1, 2, high=3), [-1.0, 4.0, 300.0]),
        (layers.Deterministic(1), [-1.0, 0.5]),
    ],
    ids=["categorical", "quantized", "deterministic"],
)
def test_values_outside_the_support_have_no_probability(layer, outside):
    d = layer(tf.zeros([1, layer.num_parameters]))
    for value in outside:
        assert d.log_prob([[value]]) == -np.inf, value


@pytest.mark.parametrize("name", ["Categorical", "QuantizedLogisticMixture"])
def test_a_value_between_the_integers_is_refused_where_values_are_checked(name):
    layer = getattr(layers, name)(1, 4, validate_args=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"representable|Expected integers"):
        layer(tf.zeros([1, layer.num_parameters])).log_prob([[0.5]])


@pytest.mark.parametrize("t", [-3.0, 0.0, 2.5])
def test_the_levels_of_a_quantized_mixture_sum_to_1(t):
    d = layers.QuantizedLogisticMixture((), 2)(tf.fill([1, 6], t))
    np.testing.assert_allclose(tf.reduce_sum(d.prob(tf.range(256.0)[:, None])), 1, rtol=1e-5)


def test_a_quantized_mixture_is_centred_on_the_integer():
    """At the least scale nearly all of it is one level, also where that is an end."""
    layer = layers.QuantizedLogisticMixture((), 1, 0, 2, min_scale=0.05)
    for level in (0.0, 1.0, 2.0):
        d = layer(np.array([[0.0, level - 1, -90.0]], "float32"))
        assert float(d.prob(level)[0]) > 0.999
        np.testing.assert_allclose(d.mean(), level, atol=1e-3)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 1), (0, 1.5)])
def test_impossible_levels_are_refused_in_words(low, high):
    with pytest.raises(InputError, match=r"integers with low < high.*Received"):
        layers.QuantizedLogisticMixture(1, 2, low, high)


def test_the_logit_of_extra_zeros_is_their_logit():
    """Where counts are large, a zero is an extra one."""
    d = layers.ZeroInflatedNegativeBinomial(())(np.array([[1.5, 10.0, 5.0]], "float32"))
    np.testing.assert_allclose(d.prob(0.0), scipy.special.expit(1.5), rtol=1e-5)
    np.testing.assert_allclose(
        tf.reduce_mean(tf.cast(d.sample(20_000) == 0, "float32")), d.prob(0.0), atol=0.015
    )


@pytest.mark.parametrize("total_count", [0.05, 1.0, 30.0])
def test_draws_of_a_negative_binomial_have_its_probabilities(total_count):
    t = np.array([[np.log(2.0), np.log(np.expm1(total_count))]], "float32")
    draws = layers.NegativeBinomial((), seed=1)(t).sample(40_000).numpy()[:, 0]
    p = scipy.stats.nbinom(total_count, total_count / (total_count + 2)).pmf(np.arange(6))
    counts = np.array([(draws == k).sum() for k in range(6)])
    observed = np.append(counts, len(draws) - counts.sum())
    result = scipy.stats.chisquare(observed, len(draws) * np.append(p, 1 - p.sum()))
    assert result.pvalue > 1e-3


def test_one_hot_mixtures_say_the_log_of_their_mean():
    t = np.random.default_rng(0).normal(size=(5, 15)).astype("float32")
    mixture = layers.CategoricalMixtureOfOneHotCategorical
    d = mixture(4, 3)(t)
    each = [d.log_prob(tf.one_hot([j] * 5, 4)) for j in range(4)]
    np.testing.assert_allclose(d.log_mean(), np.stack(each, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(tf.exp(d.log_mean()), d.mean(), rtol=1e-5)
    for convert in ("log_mean", lambda d: d.log_mean()):
        np.testing.assert_array_equal(mixture(4, 3, convert)(t).numpy(), d.log_mean())


@pytest.mark.parametrize(
    "layer",
    [
        layers.NegativeBinomial(2, min_total_count=3.0),
        layers.ZeroInflatedNegativeBinomial(2, min_total_count=3.0),
        layers.StudentT(2, min_scale=2.0),
        layers.QuantizedLogisticMixture(2, 3, -4, 9, min_scale=1.5),
        layers.RelaxedOneHotCategorical(3, temperature=0.3),
        layers.Categorical(2, 7),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_config_has_what_is_not_the_default(layer):
    again = type(layer).from_config(layer.get_config())
    t = np.random.default_rng(0).normal(size=(3, layer.num_parameters)).astype("float32")
    x = layer(t).sample(seed=1)
    np.testing.assert_array_equal(again(t).log_prob(x), layer(t).log_prob(x))
    assert again.support == layer.support


@pytest.mark.parametrize(
    "build",
    [
        lambda **kw: layers.Categorical(2, 5, **kw),
        lambda **kw: layers.CategoricalMixtureOfOneHotCategorical(4, 3, **kw),
    ],
    ids=["categorical", "one-hot-mixture"],
)
def test_integer_draws(build):
    layer = build(sample_dtype="int32")
    d = layer(tf.zeros([2, layer.num_parameters]))
    assert tf.convert_to_tensor(d).dtype == tf.int32
    assert np.isfinite(d.log_prob(tf.convert_to_tensor(d))).all()
    assert type(layer).from_config(layer.get_config()).sample_dtype == "int32"


def test_the_kl_between_categoricals_is_in_closed_form():
    pair = [layers.Categorical(2, 3)(np.array([t], "float32")) for t in (range(6), [0.5] * 6)]
    p = scipy.special.softmax(np.arange(6.0).reshape(2, 3), axis=-1)
    exact = kl_divergence(*pair, points=None, exact=True)
    np.testing.assert_allclose(exact, [(p * np.log(3 * p)).sum()], rtol=1e-5)
