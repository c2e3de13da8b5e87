"""DenseVariational: one distribution over kernel and bias together."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import (
    DRAWS,
    ROWS,
    draws_of,
    inputs,
    normal_kl,
    posterior_mean_field,
    prior_trainable,
    set_weights,
)

from tfp_vae import layers
from tfp_vae.errors import InputError

tfd = tfp.distributions


def variational(**kwargs):
    layer = layers.DenseVariational(3, posterior_mean_field, prior_trainable, **kwargs)
    layer.build((None, 4))
    return set_weights(layer)


@pytest.mark.parametrize("use_bias", [True, False])
def test_outputs_have_the_exact_moments(use_bias):
    layer, x = variational(use_bias=use_bias), inputs(ROWS["dense"], 2)
    loc, raw = np.split(layer.trainable_weights[0].numpy().astype("float64"), 2)
    scale = 1e-5 + np.logaddexp(0, np.log(np.expm1(1.0)) + raw)
    bias, noise = (loc[12:], scale[12:] ** 2) if use_bias else (0, 0)
    mean = x @ loc[:12].reshape(4, 3) + bias
    variance = x.astype("float64") ** 2 @ scale[:12].reshape(4, 3) ** 2 + noise
    y = draws_of(layer, x)
    assert np.abs((y.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)).max() < 5
    np.testing.assert_allclose(y.var(axis=0), variance, rtol=6 * np.sqrt(2 / DRAWS))


@pytest.mark.parametrize("exact", [None, True])
def test_kl_in_closed_form(exact):
    layer = variational(kl_weight=0.1, kl_use_exact=exact)
    layer(inputs(ROWS["dense"]))
    own, prior = (weight.numpy().astype("float64") for weight in layer.trainable_weights)
    loc, raw = np.split(own, 2)
    q = tfd.Normal(loc - prior, 1e-5 + np.logaddexp(0, np.log(np.expm1(1.0)) + raw))
    np.testing.assert_allclose(layer.losses, [0.1 * normal_kl(q)], rtol=1e-5)


def test_kl_by_monte_carlo_is_at_the_weights_that_were_drawn():
    layer = variational(kl_use_exact=False, use_bias=False)
    x = np.eye(4, dtype="float32")
    for _ in range(2):
        w = np.ravel(layer(x))
        expected = layer.posterior(x).log_prob(w) - layer.prior(x).log_prob(w)
        np.testing.assert_allclose(layer.losses, [expected], rtol=1e-4)


def plain_posterior(kernel_size, bias_size, dtype):
    n = kernel_size + bias_size
    return lambda x: tfd.Independent(tfd.Laplace(tf.ones(n, dtype), 0.5), 1)


def plain_prior(kernel_size, bias_size, dtype):
    n = kernel_size + bias_size
    return tfd.MultivariateNormalDiag(tf.zeros(n, dtype), tf.ones(n, dtype))


def test_takes_plain_distributions_with_its_own_seed():
    def run(seed):
        layer = layers.DenseVariational(3, plain_posterior, plain_prior, seed=seed, use_bias=False)
        w = layer(np.eye(4, dtype="float32")).numpy()
        q, p = tfd.Laplace(1.0, 0.5), tfd.Normal(0.0, 1.0)
        expected = np.sum(q.log_prob(w) - p.log_prob(w))
        np.testing.assert_allclose(layer.losses, [expected], rtol=1e-5)
        return w

    np.testing.assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).all()


def test_layers_made_by_the_functions_are_trained_and_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), variational(kl_weight=0.1, seed=1)])
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    before = [weight.copy() for weight in model.get_weights()]
    model.fit(np.ones([20, 4]), np.full([20, 3], 3.0), epochs=3, verbose=0)
    assert all((a != b).all() for a, b in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.layers[0].kl_weight == 0.1


@keras.saving.register_keras_serializable(package="tests")
def hypernetwork(kernel_size, bias_size, dtype):
    """A posterior with a layer that has no weights before it is built."""
    n = kernel_size + bias_size
    return keras.Sequential(
        [
            layers.VariableLayer([1, 4], dtype=dtype, initializer="ones"),
            keras.layers.Dense(2 * n),
            keras.layers.Flatten(),
            layers.DistributionLambda(
                lambda t: tfd.Independent(tfd.Normal(t[0, :n], tf.math.softplus(t[0, n:])), 1)
            ),
        ]
    )


def test_builds_what_the_functions_make(tmp_path):
    layer = layers.DenseVariational(3, hypernetwork, prior_trainable, kl_use_exact=True)
    model = keras.Sequential([keras.Input((4,)), layer])
    assert len(layer.trainable_weights) == 4
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = inputs(ROWS["dense"])
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    layer = variational()
    assert layer(inputs(ROWS["dense"])).dtype == tf.float16
    assert {weight.dtype for weight in layer.trainable_weights} == {"float32"}
    assert layer.posterior(np.ones([1, 4])).dtype == tf.float32
    assert layer.losses[0].dtype == tf.float32


X = np.ones([2, 4], "float32")
UNIT_OF_FIVE = plain_prior(5, 0, tf.float32)
ERRORS = {
    "units": (
        lambda: layers.DenseVariational(0, plain_posterior, plain_prior),
        InputError,
    ),
    "weight": (
        lambda: layers.DenseVariational(3, plain_posterior, plain_prior, kl_weight="1"),
        InputError,
    ),
    "channels": (
        lambda: layers.DenseVariational(3, plain_posterior, plain_prior)(keras.Input((None,))),
        InputError,
    ),
    "posterior": (
        lambda: layers.DenseVariational(3, lambda *_: lambda x: x, plain_prior)(X),
        TypeError,
    ),
    "shape": (
        lambda: layers.DenseVariational(3, lambda *_: UNIT_OF_FIVE, plain_prior)(X),
        InputError,
    ),
    "closed form": (
        lambda: layers.DenseVariational(3, plain_posterior, plain_prior, kl_use_exact=True)(X),
        ValueError,
    ),
}


@pytest.mark.parametrize(("make", "error"), ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_used_is_refused_in_words(make, error):
    with pytest.raises(error, match=r"(?s)[Ee]xpected .*Received: |has no closed form") as caught:
        make()
    assert isinstance(caught.value, error)
