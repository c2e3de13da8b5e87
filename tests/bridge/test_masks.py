"""Padding counts nothing: Keras' masks pass through distribution layers, losses and KL terms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import NegativeLogLikelihood, layers
from tfp_vae.errors import InputError

tfd = tfp.distributions
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 4)).astype("float32")
LENGTHS = [5, 3, 1, 2]
THERE = np.arange(5) < np.array(LENGTHS)[:, None]
X[~THERE] = 0.0
Y = RNG.normal(size=(4, 5, 2)).astype("float32")
Y[~THERE] = 1e3  # if it counted, it would be seen
TOKENS = np.where(THERE, RNG.integers(1, 9, (4, 5)), 0)

LOSSES = {"class": NegativeLogLikelihood(), "lambda": lambda y, rv: -rv.log_prob(y)}
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}}


def masking(event=2, **kwargs):
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.Masking(),
            layers.IndependentNormal(event, "mean", **kwargs),
        ]
    )


def embedding(**kwargs):
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="normal"),
            layers.IndependentNormal(2, "mean", **kwargs),
        ]
    )


MODELS = {"masking": (masking, X), "embedding": (embedding, TOKENS)}


def density(model, x):
    return np.asarray(-model(x).log_prob(Y), "float64")


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(("make", "x"), MODELS.values(), ids=MODELS)
def test_a_loss_is_the_mean_over_what_is_there(make, x, loss, mode):
    model = make()
    model.compile("sgd", loss, **mode)
    expected = density(model, x)[THERE].mean()
    np.testing.assert_allclose(model.evaluate(x, Y, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize("weights", [np.arange(1.0, 5.0), np.arange(1.0, 21.0).reshape(4, 5)])
@pytest.mark.parametrize("mask", [True, False])
def test_weights_of_examples_and_of_steps(weights, mask):
    y = np.where(THERE[..., None], Y, 0.0)
    model = masking() if mask else keras.Sequential([keras.Input((5, 4)), masking().layers[-1]])
    model.compile("sgd", NegativeLogLikelihood(), jit_compile=False)
    each = np.asarray(-model(X).log_prob(y)) * (weights if weights.ndim == 2 else weights[:, None])
    expected = each[THERE].mean() if mask else each.mean()
    actual = model.evaluate(X, y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def unit(x):
    m, s = x[..., :2].astype("float64"), np.logaddexp(0, x[..., 2:].astype("float64"))
    return -0.5 * np.sum(1 + np.log(s**2) - s**2 - m**2, axis=-1)


PRIOR = tfd.Independent(tfd.Normal(tf.zeros(2), 1.0), 1)


@pytest.mark.parametrize("draws", [None, 3])
def test_a_kl_is_the_mean_over_what_is_there(draws):
    kl = layers.KLDivergenceRegularizer(PRIOR)
    model = masking(activity_regularizer=kl)
    model(X)
    np.testing.assert_allclose(model.losses, [unit(X)[THERE].mean()], rtol=1e-4)
    points = {} if draws is None else {"test_points_fn": lambda q: tf.stack([q.mean()] * draws)}
    added = masking()
    added.add(layers.KLDivergenceAddLoss(PRIOR, **points))
    added(X)
    q = masking()(X)
    each = unit(X) if draws is None else q.log_prob(q.mean()) - PRIOR.log_prob(q.mean())
    np.testing.assert_allclose(added.losses, [np.asarray(each)[THERE].mean()], rtol=1e-4)


@pytest.mark.parametrize("between", [None, lambda: layers.DenseReparameterization(2, seed=0)])
def test_the_mask_reaches_what_is_behind(between):
    inputs = keras.Input((5, 4))
    h = layers.IndependentNormal(2, "mean")(keras.layers.Masking()(inputs))
    h = h if between is None else between()(h)
    model = keras.Model(inputs, keras.layers.LSTM(3)(h))
    last = keras.Model(inputs, h)
    if between is None:
        expected = model.layers[-1](last(X), mask=tf.constant(THERE))
        np.testing.assert_allclose(model(X), expected, rtol=1e-5)
    np.testing.assert_array_equal(last(X)._keras_mask, THERE)


def test_nothing_is_there():
    model = masking()
    model.compile("sgd", NegativeLogLikelihood(), jit_compile=False)
    assert model.evaluate(np.zeros_like(X), Y, verbose=0) == 0.0


def test_a_mask_within_an_event_is_refused_in_words():
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.Masking(),
            layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 1.0), 2)),
        ]
    )
    model.compile("sgd", NegativeLogLikelihood(), jit_compile=False)
    with pytest.raises(InputError, match=r"a mask or sample weights over.*Received: a mask"):
        model.evaluate(X, X, verbose=0)
