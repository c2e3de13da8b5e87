"""Layers with random weights within Keras: training, saving, seeds, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import (
    ALL,
    EVERY,
    ROWS,
    UNDER_XLA,
    WITH_VARIATIONAL,
    built,
    inputs,
    laplace,
    model_of,
    moments,
    normal_kl,
    set_weights,
)
from conftest import python

from tfp_vae import layers

tfd = tfp.distributions


@pytest.mark.one
@ALL
@pytest.mark.parametrize("mode", [{"jit_compile": False}, {"run_eagerly": True}])
def test_fits_with_a_partial_last_batch(row, mode):
    check_fits(row, mode)


@pytest.mark.again
@pytest.mark.parametrize("name", UNDER_XLA)
def test_fits_under_xla(name):
    check_fits(WITH_VARIATIONAL[name], {"jit_compile": True})


def check_fits(row, mode):
    x, model = inputs(row, 20), model_of(row)
    model.compile(keras.optimizers.Adam(0.1), loss="mse", **mode)
    y = np.full((20, *model.output_shape[1:]), 3.0)
    losses = model.fit(x, y, batch_size=8, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@ALL
def test_every_weight_gets_a_finite_gradient(row):
    layer, x = built(row), inputs(row)
    x[1] = 0  # where the variance of a local draw is 0
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(layer(x) - 1)) + 0.1 * sum(layer.losses)
    gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert (gradient.numpy() != 0).any()


@ALL
def test_knows_its_output_shape(row):
    layer, x = row.build(), inputs(row)
    shape = layer.compute_output_shape((None, *row.input_shape))
    assert layer(x).shape == (4, *shape[1:])
    assert shape[0] is None
    assert model_of(row).output_shape == shape


@ALL
def test_the_config_gives_the_layer_again(row):
    layer = row.build(activation="relu", seed=4, name="named", activity_regularizer="l2")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    x = inputs(row)
    for each in (layer, again):
        each.build(x.shape)
    set_weights(layer)
    again.set_weights(layer.get_weights())
    if "variational" not in type(layer).__name__.lower():
        np.testing.assert_array_equal(again(x), layer(x))


@ALL
def test_a_cloned_model_computes_the_same(row):
    model = model_of(row)
    clone = keras.models.clone_model(model)
    clone.set_weights(set_weights(model).get_weights())
    x = inputs(row)
    outputs = []
    for each in (model, clone):
        for variable in each.variables:
            if "seed" in variable.path:
                variable.assign([0, 1])
        outputs.append(each(x))
    np.testing.assert_array_equal(*outputs)


@EVERY
def test_the_seed_decides_the_draws(row):
    check_draws_follow_the_seed(row, jit_compile=False)


@pytest.mark.again
@pytest.mark.parametrize("name", UNDER_XLA[:3])
def test_the_seed_decides_the_draws_under_xla(name):
    check_draws_follow_the_seed(ROWS[name], jit_compile=True)


def check_draws_follow_the_seed(row, jit_compile):
    x = inputs(row)

    def draws(seed):
        layer = built(row, seed=seed, kernel_posterior_tensor_fn=lambda d: d.sample())
        call = tf.function(lambda x: (layer(x), layer(x)), jit_compile=jit_compile)
        return [part.numpy() for part in call(x)]

    first, again, other = draws(1), draws(1), draws(2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


@ALL
def test_the_global_seed_makes_weights_and_draws_repeatable(row):
    def run():
        keras.utils.set_random_seed(7)
        layer = row.build()
        return [layer(inputs(row)).numpy(), *layer.get_weights()]

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_two_layers_start_equal():
    shared = layers.default_mean_field_normal_fn(loc_initializer=keras.initializers.RandomNormal())
    for kwargs in ({}, {"kernel_posterior_fn": shared, "bias_posterior_fn": shared}):
        a, b = (built_plain(units=4, **kwargs) for _ in range(2))
        for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
            assert (one != other).all()
        loc, scale = a.get_weights()[:2]
        assert abs(np.corrcoef(loc.ravel(), scale.ravel())[0, 1]) < 0.9


def built_plain(units=3, size=4, **kwargs):
    layer = layers.DenseReparameterization(units, **kwargs)
    layer.build((None, size))
    return layer


def test_starts_as_tfp_layers_does():
    layer = built_plain(100, 200)
    loc, untransformed, bias = layer.get_weights()
    for values, mean, n in ((loc, 0, 20_000), (untransformed, -3, 20_000), (bias, 0, 100)):
        assert abs(values.mean() - mean) < 5 * 0.1 / np.sqrt(n)
        np.testing.assert_allclose(values.std(), 0.1, rtol=5 / np.sqrt(2 * n))
    scale = np.logaddexp(0, untransformed.astype("float64")) + np.finfo("float32").eps
    np.testing.assert_allclose(layer.kernel_posterior.stddev(), scale, rtol=1e-6)
    np.testing.assert_array_equal(layer.kernel_prior.mean(), np.zeros((200, 100)))
    np.testing.assert_array_equal(layer.kernel_prior.stddev(), np.ones((200, 100)))


@EVERY
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_weights_and_kl_stay_in_float32_under_mixed_precision(row, policy):
    x = inputs(row)
    expected, _ = moments(row, built(row), x)
    keras.config.set_dtype_policy(policy)
    layer = built(row, kernel_posterior_tensor_fn="mean")
    y = layer(x)
    assert y.dtype == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert layer.losses[0].dtype == tf.float32
    np.testing.assert_allclose(layer.losses[0], normal_kl(layer.kernel_posterior), rtol=1e-5)
    np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=0.05, atol=0.1)


@pytest.mark.again
@pytest.mark.parametrize("name", ["dense-local", "conv2d-flipout", "dense-variational"])
def test_fits_under_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_float16")
    check_fits(WITH_VARIATIONAL[name], {"jit_compile": False})


@EVERY
def test_computes_in_float64(row):
    layer = built(row, dtype="float64", kernel_posterior_tensor_fn="mean")
    x = inputs(row, dtype="float64")
    mean, _ = moments(row, layer, x)
    assert layer(x).dtype == tf.float64
    np.testing.assert_allclose(layer(x), mean, rtol=1e-12, atol=1e-12)
    assert layer.losses[0].dtype == tf.float32


def test_local_squares_of_large_inputs_do_not_overflow_in_half_precision():
    layer = built(ROWS["dense-local"], dtype="mixed_float16")
    assert np.isfinite(layer(np.full([2, 4], 500.0))).all()


def test_freezes_and_thaws():
    layer = layers.DenseFlipout(2, trainable=False)
    layer.build((None, 3))
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 3
    layer.trainable = True
    assert len(layer.trainable_weights) == 3


def test_a_function_of_ones_own_makes_live_weights():
    layer = built_plain(kernel_posterior_fn=laplace, kernel_divergence_fn=lambda q, p, w: (
        q.log_prob(w) - p.log_prob(w)
    ))  # fmt: skip
    assert [weight.name for weight in layer.trainable_weights] == [
        "kernel_posterior_loc",
        "bias_posterior_loc",
    ]
    posterior = layer.kernel_posterior
    layer.weights[0].assign(np.full((4, 3), 2.0))
    np.testing.assert_array_equal(posterior.mean(), np.full((4, 3), 2.0))
    assert layer.kernel_posterior is posterior
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(np.ones([2, 4], "float32")))
    assert (tape.gradient(y, layer.weights[0].value).numpy() == 2).all()
    assert len(layer.losses) == 2
    assert any(np.isclose(loss, 0.5 * 12 * 4) for loss in layer.losses)


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


@ALL
def test_is_built_within_a_subclassed_model(row):
    model = Subclassed(row.build())
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=False)
    shape = model.layer.compute_output_shape((20, *row.input_shape))
    x, y = inputs(row, 20), np.full(shape, 3.0)
    losses = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    if row is not WITH_VARIATIONAL["dense-variational"]:
        loc = model.layer.trainable_weights[0]
        loc.assign(loc + 1.0)
        np.testing.assert_array_equal(model.layer.kernel_posterior.mean(), loc.numpy())


def test_is_built_within_a_subclassed_model_of_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = Subclassed(layers.DenseFlipout(3))
    assert model(inputs(ROWS["dense"])).dtype == tf.float16
    layer = model.layer
    assert layer.kernel_posterior.dtype == tf.float32
    layer.weights[0].assign(np.full((4, 3), 2.0))
    np.testing.assert_array_equal(layer.kernel_posterior.mean(), np.full((4, 3), 2.0))


def test_a_stateless_call_computes_with_the_weights_that_it_is_given():
    row = ROWS["dense"]
    layer, other = (built(row, kernel_posterior_tensor_fn="mean") for _ in range(2))
    set_weights(other, seed=5)
    x = inputs(row)
    own = layer(x)
    given = [weight.numpy() for weight in other.trainable_weights]
    y, _ = layer.stateless_call(given, [v.value for v in layer.non_trainable_variables], x)
    np.testing.assert_array_equal(y, other(x))
    np.testing.assert_array_equal(layer(x), own)


def test_takes_distributions_and_integers():
    q = layers.IndependentNormal(4, "mean")(tf.ones([2, 8]))
    layer = built(ROWS["dense"], kernel_posterior_tensor_fn="mean")
    np.testing.assert_array_equal(layer(q), layer(tf.ones([2, 4])))
    np.testing.assert_array_equal(layer(np.ones([2, 4], "int32")), layer(tf.ones([2, 4])))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bayesian")
    for name, row in WITH_VARIATIONAL.items():
        keras.utils.set_random_seed(0)
        model = set_weights(model_of(row))
        model.save(folder / f"{name}.keras")
        model.export(folder / name, verbose=False)
        x = inputs(row)
        np.savez(folder / f"{name}.npz", x=x, y=model.predict(x, verbose=0))
    return folder


@pytest.mark.again
def test_every_layer_reloads_and_serves_the_same_draws_in_a_fresh_process(saved):
    code = f"""
import sys
sys.path.insert(0, "tests")
import keras, numpy as np, tensorflow as tf, bayesian_table
for name in {list(WITH_VARIATIONAL)}:
    known = np.load(f"{saved}/{{name}}.npz")
    model = keras.models.load_model(f"{saved}/{{name}}.keras", safe_mode=True)
    np.testing.assert_array_equal(model.predict(known["x"], verbose=0), known["y"], name)
    served = tf.saved_model.load(f"{saved}/{{name}}")
    y = served.serve(tf.constant(known["x"]))
    np.testing.assert_allclose(y, known["y"], rtol=1e-4, atol=1e-5, err_msg=name)
    print(name)
"""
    assert python(code).split() == list(WITH_VARIATIONAL)


def test_arguments_of_every_kind_are_saved(tmp_path):
    fn = layers.default_mean_field_normal_fn(
        loc_initializer=keras.initializers.Constant(0.5),
        untransformed_scale_initializer="zeros",
        loc_regularizer="l2",
        untransformed_scale_constraint=keras.constraints.MaxNorm(3.0),
    )
    layer = layers.DenseFlipout(
        2, kernel_posterior_fn=fn, kernel_prior_fn=None, bias_posterior_fn=None, trainable=False
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True).layers[0]
    assert again.get_config() == layer.get_config()
    assert again.bias_posterior is None
    assert again.kernel_posterior_fn.loc_initializer.value == 0.5
    assert not again.trainable
