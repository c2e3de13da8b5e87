"""Generic checks over the whole table of distribution layers."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from layer_checks import EVERY, model_of, parameters, rows, values_of
from layer_table import COMPILED, ROWS

from tfp_vae import layers
from tfp_vae.errors import InputError

tfd = tfp.distributions


@EVERY
def test_is_a_distribution_of_the_right_shape(row):
    d = row.build()(parameters(row))
    assert isinstance(d, tfd.Distribution)
    assert d.batch_shape == [5]
    assert d.event_shape == row.event_shape
    assert d.shape == (5, *row.event_shape)


@EVERY
def test_params_size_is_an_int(row):
    layer = row.build()
    assert layer.num_parameters == row.params_size
    assert type(layer.num_parameters) is int


@EVERY
@pytest.mark.parametrize("seed", [1, 2], ids=["own", "other"])
def test_log_prob_against_scipy(row, seed):
    """Of its own draws, and of those at other parameters, which are further out."""
    t, x = parameters(row), values_of(row, seed=seed)
    np.testing.assert_allclose(row.build()(t).log_prob(x), row.log_prob(t, x), rtol=2e-5)


@EVERY
def test_checked_values_and_a_part_of_the_batch_have_the_same_log_prob(row):
    t, x = parameters(row), values_of(row)
    expected = row.build()(t).log_prob(x)
    np.testing.assert_array_equal(row.build(validate_args=True)(t).log_prob(x), expected)
    np.testing.assert_allclose(row.build()(t).at[1:3].log_prob(x[1:3]), expected[1:3], rtol=1e-5)


@EVERY
@pytest.mark.parametrize("what", ["mean", "stddev"])
def test_moments_in_closed_form_and_of_samples(row, what):
    t = parameters(row)
    d = row.build(seed=5)(t)
    if what in row.gives:
        np.testing.assert_allclose(getattr(d, what)(), getattr(row, what)(t), rtol=1e-5)
    else:
        with pytest.raises(NotImplementedError):
            getattr(d, what)()
    t = row.calm(t)
    draws = row.build(seed=5)(t).sample(50_000).numpy().astype("float64")
    mean, stddev = draws.mean(axis=0), draws.std(axis=0)
    expected, of_draws = getattr(row, what)(t), mean if what == "mean" else stddev
    # 4.5 standard errors of either: 0.06 where the standard deviation is 3.
    variance, bias = stddev**2, 0.0
    if what == "stddev":
        fourth = ((draws - mean) ** 4).mean(axis=0)
        variance = np.maximum(fourth - stddev**4, 0) / np.maximum(4 * stddev**2, 1e-12)
        bias = 4.5**2 * stddev / (2 * len(draws))  # from the error of the mean
    allowed = 4.5 * np.sqrt(variance / len(draws)) + bias + 1e-6
    np.testing.assert_array_less(np.abs(of_draws - expected), allowed)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_computes_in_its_own_dtype(row, dtype):
    d = row.build(dtype=dtype)(parameters(row, dtype=dtype))
    assert d.dtype == dtype
    assert d.log_prob(tf.cast(values_of(row), dtype)).dtype == dtype


@EVERY
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_stays_in_float32_under_mixed_precision(row, policy):
    keras.config.set_dtype_policy(policy)
    model = model_of(row)
    d = model(np.ones([5, 4], "float32"))
    assert d.dtype == tf.float32
    model.compile("adam", loss=row.loss(), run_eagerly=True)
    history = model.fit(np.ones([8, 4]), values_of(row, 8), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@EVERY
def test_leading_axes_of_any_number(row):
    t = parameters(row, 12)
    d = row.build()(t.reshape(2, 3, 2, row.params_size))
    assert d.batch_shape == [2, 3, 2]
    x = values_of(row, 12)
    log_prob = d.log_prob(x.reshape(2, 3, 2, *row.event_shape))
    np.testing.assert_allclose(tf.reshape(log_prob, [12]), row.log_prob(t, x), rtol=2e-5)
    if "mean" in row.gives:
        mean = tf.reshape(d.mean(), [12, *row.event_shape])
        np.testing.assert_allclose(mean, row.mean(t), rtol=1e-5)


@rows(*ROWS.keys() - COMPILED)
def test_graph_and_xla_and_a_free_batch_give_the_eager_log_prob(row):
    layer, t, x = row.build(), parameters(row), values_of(row)
    spec = [tf.TensorSpec([None, row.params_size]), tf.TensorSpec([None, *row.event_shape])]
    log_prob = lambda t, x: layer(t).log_prob(x)  # noqa: E731
    eager = log_prob(t, x)
    for compiled in (False, True):
        graph = tf.function(log_prob, input_signature=spec, jit_compile=compiled)
        np.testing.assert_allclose(graph(t, x), eager, rtol=1e-5, atol=1e-6)


@EVERY
def test_every_parameter_gets_a_finite_gradient(row):
    t, x = tf.constant(parameters(row)), values_of(row, seed=2)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = row.loss()(x, row.build()(t))
    gradient = tape.gradient(loss, t).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient != 0).any(axis=0).all()


@EVERY
def test_gradients_go_through_a_draw_where_it_is_reparameterized(row):
    t = tf.constant(parameters(row))
    with tf.GradientTape() as tape:
        tape.watch(t)
        d = row.build(seed=1)(t)
        z = tf.convert_to_tensor(d)
        z = tf.reduce_sum(z * np.random.default_rng(0).normal(size=z.shape).astype("float32"))
    reparameterized = d.reparameterization_type == tfd.FULLY_REPARAMETERIZED
    assert reparameterized == row.reparameterized
    if row.reparameterized:
        gradient = tape.gradient(z, t).numpy()
        assert np.isfinite(gradient).all()
        assert (gradient != 0).any(axis=0).all()
        assert row.saturates or (gradient != 0).all()


@pytest.mark.one
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.reparameterized])
def test_the_mean_gradient_of_draws_is_that_of_the_moments(name):
    """Of E sum w (z + z^2), w fixed: by draws, and by differences of the closed forms."""
    row, n, step = ROWS[name], 20_000, 1e-4
    t = row.calm(parameters(row, 1))
    w = np.random.default_rng(0).normal(size=row.event_shape)
    repeated = tf.constant(np.repeat(t, n, axis=0))
    with tf.GradientTape() as tape:
        tape.watch(repeated)
        z = tf.convert_to_tensor(row.build(seed=1)(repeated))
        value = tf.reduce_sum((z + z**2) * w.astype("float32"))
    gradients = tape.gradient(value, repeated).numpy().astype("float64")

    def moment(t):
        mean = row.mean(t)[0]
        return np.sum(w * (mean + row.stddev(t)[0] ** 2 + mean**2))

    steps = step * np.eye(row.params_size)
    expected = [(moment(t + s) - moment(t - s)) / (2 * step) for s in steps]
    allowed = 4.5 * gradients.std(axis=0) / np.sqrt(n) + 1e-3
    np.testing.assert_array_less(np.abs(gradients.mean(axis=0) - expected), allowed)


@EVERY
def test_the_config_gives_the_layer_again(row):
    layer = row.build(convert_to_tensor_fn="sample", seed=4, name="named")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    taken = inspect.signature(type(layer)).parameters.values()
    named = {p.name for p in taken if p.kind == p.POSITIONAL_OR_KEYWORD}
    assert named <= set(layer.get_config())
    t = parameters(row)
    np.testing.assert_array_equal(np.asarray(again(t)), np.asarray(layer(t)))


@EVERY
def test_a_cloned_model_computes_the_same(row):
    model = model_of(row, seed=4)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    inputs = np.ones([3, 4], "float32")
    np.testing.assert_array_equal(np.asarray(clone(inputs)), np.asarray(model(inputs)))


@EVERY
def test_a_wrong_number_of_parameters_is_refused_in_words(row):
    with pytest.raises(InputError, match=rf"expected {row.params_size} .*params_size.*Received"):
        row.build()(np.ones([2, row.params_size + 1], "float32"))


@EVERY
def test_the_seed_decides_the_draws(row):
    t = parameters(row, 50)
    draws = [np.asarray(row.build(seed=seed)(t)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any() == row.random
    layer = row.build(seed=1)
    assert (np.asarray(layer(t)) != np.asarray(layer(t))).any() == row.random


@EVERY
def test_the_global_seed_makes_the_draws_of_a_function_repeatable(row):
    """Under XLA where a sampler has a loop; test_layer_fits draws from each row there."""
    compiled = row.build in [ROWS[name].build for name in ("gamma", "joint", "normal-vector")]
    twice = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        twice.append(row.build(convert_to_tensor_fn=lambda d: d.sample(3)))
    t = parameters(row)
    draw = tf.function(lambda t: [tf.convert_to_tensor(layer(t)) for layer in twice],
                       jit_compile=compiled)  # fmt: skip
    np.testing.assert_array_equal(*draw(t))


@pytest.mark.parametrize(
    ("convert", "expected"),
    [
        ("mean", lambda d: d.mean()),
        ("mode", lambda d: d.mode()),
        ("logits", lambda d: d.distribution.logits),
        (tfd.Distribution.mean, lambda d: d.mean()),
        (tfd.Distribution.stddev, lambda d: d.stddev()),
        (tfd.Bernoulli.logits, lambda d: d.distribution.logits),
        (lambda d: d.mean() + d.stddev(), lambda d: d.mean() + d.stddev()),
    ],
)
def test_stands_for_the_tensor_that_was_asked_for(convert, expected):
    d = layers.IndependentBernoulli(4, convert)(np.ones([2, 4], "float32"))
    np.testing.assert_array_equal(np.asarray(d), expected(d))


@pytest.mark.parametrize(("convert", "error"), [(3, TypeError), ("nonsense", ValueError)])
def test_an_impossible_conversion_is_refused_in_words(convert, error):
    with pytest.raises(error, match="method or property"):
        layers.IndependentNormal(2, convert)(np.ones([1, 4], "float32"))


def test_several_draws_at_once():
    layer = layers.IndependentNormal(3, lambda d: d.sample(5))
    assert layer(np.ones([2, 6], "float32")).shape == [5, 2, 3]


def test_a_scale_that_underflows_is_raised():
    t = np.array([[0.0, -90.0]], "float32")
    d = layers.IndependentNormal(1)(t)
    assert np.isfinite(d.log_prob([[0.0]])).all()
    np.testing.assert_allclose(d.stddev(), 1e-6)
    np.testing.assert_allclose(layers.IndependentNormal(1, min_scale=0.1)(t).stddev(), 0.1)


def test_integer_samples():
    layer = layers.IndependentBernoulli(2, sample_dtype="int32")
    d = layer(np.ones([2, 2], "float32"))
    assert tf.convert_to_tensor(d).dtype == tf.int32
    assert type(layer).from_config(layer.get_config()).sample_dtype == "int32"


@pytest.mark.parametrize("event_shape", [2, (2,), [2], np.array([2]), tf.TensorShape([2])])
def test_event_shapes_in_every_form(event_shape):
    assert layers.IndependentNormal(event_shape).event_shape == (2,)


@pytest.mark.parametrize("kind", [layers.IndependentNormal, layers.IndependentBernoulli])
def test_new_takes_an_event_shape_known_only_when_it_runs(kind):
    n = kind.params_size((2, 3))

    @tf.function(input_signature=[tf.TensorSpec([None, n]), tf.TensorSpec([2], tf.int32)])
    def mean(t, event_shape):
        return kind.new(t, event_shape).mean()

    assert mean(np.ones([4, n], "float32"), [2, 3]).shape == [4, 2, 3]


def test_lambda_with_several_inputs_and_keyword_arguments():
    layer = layers.DistributionLambda(lambda t, scale: tfd.Normal(t[0], t[1] * scale), "stddev")
    d = layer([tf.zeros([3]), tf.ones([3])], scale=2.0)
    np.testing.assert_array_equal(np.asarray(d), [2.0, 2.0, 2.0])


def test_lambda_that_returns_no_distribution_is_refused_in_words():
    with pytest.raises(TypeError, match=r"expected .*Distribution.*Received"):
        layers.DistributionLambda(lambda t: t)(tf.zeros([3]))


def test_layers_take_distributions_and_tensors_mixed():
    inputs = keras.Input((4,))
    q = layers.IndependentNormal(2)(keras.layers.Dense(4)(inputs))
    joined = keras.layers.Concatenate()([q, keras.layers.Dense(3)(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    assert model(np.ones([6, 4])).shape == (6, 1)
