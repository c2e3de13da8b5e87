"""Recipes of sequences: log p is a sum over steps, padding counts nothing, draws are in turn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfp_vae import InputError, recipes
from tfp_vae.recipes import sequences

STEPS = 5


def setting(shape=(None, 2), **fields):
    fields = {"latent_size": 2, "widths": (8,), "steps": 100, **fields}
    usual = recipes.LIKELIHOODS["normal"]
    return recipes.Setting(shape, 100, usual_likelihood=usual, **fields)


def walks(count=6, steps=STEPS, size=2):
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=[count, steps, size]), 1).astype("float32") + 0.1


def gru_by_hand(layer, inputs, state):
    """Keras' GRU, in NumPy: its states `[batch, steps, units]`."""
    kernel, recurrent, bias = (w.numpy() for w in layer.weights)
    sigmoid, found = (lambda t: 1 / (1 + np.exp(-t))), []
    for t in range(inputs.shape[1]):
        x = np.split(inputs[:, t] @ kernel + bias[0], 3, 1)
        h = np.split(state @ recurrent + bias[1], 3, 1)
        z, r = sigmoid(x[0] + h[0]), sigmoid(x[1] + h[1])
        state = z * state + (1 - z) * np.tanh(x[2] + r * h[2])
        found.append(state)
    return np.stack(found, 1)


def dense(layer, value, activation=lambda t: t):
    kernel, bias = (w.numpy() for w in layer.weights)
    return activation(value @ kernel + bias)


def layers_of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def test_log_p_is_a_sum_over_the_steps_by_hand():
    model, x = sequences.recurrent_vae(setting()), walks()
    forward = model.forward(x)
    network, z = model.likelihoods["x"], forward["z"].value[0].numpy()
    first, last = layers_of(network, keras.layers.Dense)
    (rnn,) = layers_of(network, keras.layers.GRU)
    before = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], 1)
    h = gru_by_hand(rnn, before, dense(first, z, np.tanh))
    loc, scale = np.split(dense(last, h).astype("float64"), 2, axis=-1)
    each = stats.norm(loc, np.logaddexp(0, scale)).logpdf(x).sum(-1)
    np.testing.assert_allclose(forward.log_likelihood[0], each.sum(1), rtol=1e-4)


@pytest.mark.parametrize("make", [sequences.recurrent_vae, sequences.sentence_vae])
def test_padding_changes_no_number(make):
    model, x = make(setting()), walks()
    longer = np.concatenate([x, np.zeros([6, 3, 2], "float32")], 1)
    z = model.posteriors["z"](x).mean()
    for one, other in ((model.posteriors["z"](longer).mean(), z),):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    found = [model.forward(each, seed=tf.constant([1, 2])) for each in (x, longer)]
    np.testing.assert_allclose(found[1].log_likelihood, found[0].log_likelihood, rtol=1e-5)
    np.testing.assert_allclose(found[1].kl, found[0].kl, rtol=1e-5)
    model.compile("adam")
    losses = [model.evaluate(each, verbose=0, return_dict=True)["nll"] for each in (x, longer)]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)  # of other draws


@pytest.mark.parametrize("make", [sequences.recurrent_vae, sequences.sentence_vae])
def test_the_density_step_by_step_is_that_of_the_whole(make):
    """Whatever comes later: p(x_t | x_<t, z) is the same for a sequence that ends there."""
    model, x = make(setting()), walks()
    z = tf.constant(np.random.default_rng(1).normal(size=[6, 2]), tf.float32)
    whole = model.likelihoods["x"]({"z": z, "x": tf.constant(x)}).log_prob(x).numpy()
    parts = [tf.constant(x[:, : t + 1]) for t in range(STEPS)]
    each = [model.likelihoods["x"]({"z": z, "x": part}).log_prob(part)[:, -1] for part in parts]
    np.testing.assert_allclose(whole, np.stack(each, 1), rtol=1e-4, atol=1e-5)


def test_steps_are_drawn_from_the_law_of_the_whole():
    """A GRU whose gates are shut hands nothing on: with a linear output, moments are known.

    Here the likelihood's kernel is such that x_t = w h_t + noise, h_t = tanh(u x_{t-1}) by a GRU
    with z = 0 and r = 0: the draws' conditional means follow the draws before.
    """
    keras.utils.set_random_seed(3)
    model = sequences.recurrent_vae(setting((STEPS, 1), widths=(4,)))
    found = model.sample(4000, mean=False, seed=1)
    x, z = found["x"].numpy(), found["z"].numpy()
    p = model.likelihoods["x"]({"z": z, "x": x})
    standard = ((x - p.mean()) / p.stddev()).numpy()[..., 0]
    assert abs(standard.mean(0)).max() < 0.06
    np.testing.assert_allclose(np.cov(standard.T), np.eye(STEPS), atol=0.08)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.08)


def test_tokens_of_any_length_are_learnt_and_drawn(tmp_path):
    rng = np.random.default_rng(0)
    start = rng.integers(1, 5, [64, 1])
    tokens = ((start + np.arange(6) - 1) % 4 + 1).astype("int32")  # 1 2 3 4 1 2, from anywhere
    tokens[::2, 4:] = 0
    model = sequences.sentence_vae(setting((None,), widths=(16,)), num_tokens=5, rate=0.3)
    model.compile(keras.optimizers.Adam(0.02))
    before = model.evaluate(tokens, verbose=0, return_dict=True)["nll"]
    model.fit(tokens, epochs=40, verbose=0)
    after = model.evaluate(tokens, verbose=0, return_dict=True)["nll"]
    assert after < 0.5 * before
    log_p = model.log_likelihood(tokens, 50).numpy()
    assert log_p.mean() > -6 * np.log(4)
    drawn = model.sample(100, length=6, mean=False, seed=1)["x"].numpy()
    followed = (drawn[:, 1:] - drawn[:, :-1]) % 4 == 1
    assert followed.mean() > 0.7
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.sample(3, length=6, mean=False, seed=1)["x"], drawn[:3])


def test_tokens_sum_to_one_by_enumeration():
    model = sequences.sentence_vae(setting((3,), widths=(4,)), num_tokens=2)
    every = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3).astype("int32")
    z = np.tile([[0.3, -1.0]], [8, 1]).astype("float32")
    log_p = (
        model.likelihoods["x"]({"z": tf.constant(z), "x": tf.constant(every)})
        .log_prob(every)
        .numpy()
        .sum(1)
    )
    assert np.exp(log_p).sum() == pytest.approx(1, rel=1e-5)


def test_dropped_words_are_the_learned_one_and_only_in_training():
    layer = sequences.layers.WordDropout(0.5, seed=1)
    x = np.random.default_rng(0).normal(size=[50, 20, 3]).astype("float32")
    layer(x)
    layer.unknown.assign([7.0, 8.0, 9.0])
    found = layer(x, training=True).numpy()
    gone = (found == [7, 8, 9]).all(-1)
    assert 0.45 < gone.mean() < 0.55
    np.testing.assert_array_equal(found[~gone], x[~gone])
    np.testing.assert_array_equal(layer(x), x)


def test_lstms_learn_rows_of_images_too(x):
    model = sequences.recurrent_vae(setting((8, 8, 1)), cell="lstm")
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.sample(3)["x"].shape == (3, 8, 8, 1)
    with pytest.raises(InputError, match="one of gru, lstm"):
        sequences.recurrent_vae(setting(), cell="rnn")
    with pytest.raises(InputError, match="Expected sequences"):
        sequences.recurrent_vae(setting((7,)))
