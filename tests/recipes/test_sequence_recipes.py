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


def standard(values, p):
    """Draws less the mean given all before, over the deviation: unit normals, independent."""
    return ((values - p.mean()) / p.stddev()).numpy().reshape(len(values), -1)


@pytest.mark.parametrize("make", [sequences.recurrent_vae, sequences.vrnn])
def test_steps_are_drawn_from_the_law_of_the_whole(make):
    """The steps were drawn in turn; the networks are shown the whole."""
    model = make(setting((STEPS, 1), widths=(4,)))
    found = model.sample(4000, mean=False, seed=1)
    x, z = found["x"], found["z"]
    if make is sequences.vrnn:
        more = model.priors["z"]({"x": x, "z": z})
        errors = [standard(z, more["z"])]
        errors.append(standard(x, model.likelihoods["x"]({"z": z, "h": more["h"]})))
    else:
        errors = [z.numpy(), standard(x, model.likelihoods["x"]({"z": z, "x": x}))]
    every = np.concatenate(errors, 1)
    assert abs(every.mean(0)).max() < 0.08
    np.testing.assert_allclose(np.cov(every.T), np.eye(every.shape[1]), atol=0.1)


def test_the_state_of_a_vrnn_is_one_and_its_density_a_sum_by_hand():
    """Prior, posterior and likelihood at each step, of h_t = GRU(x_{t-1}, z_{t-1}, h_{t-1})."""
    model, x = sequences.vrnn(setting()), walks()
    forward = model.forward(x, seed=tf.constant([1, 2]))
    z, layer = forward["z"].value[0].numpy(), model.posteriors["z"].layers[-1]
    both = np.concatenate([x, z], -1)
    before = np.concatenate([np.zeros_like(both[:, :1]), both[:, :-1]], 1)
    h = gru_by_hand(layer.recurrent, before, np.zeros([6, 8]))
    silu = lambda t: t / (1 + np.exp(-t))  # noqa: E731

    def log_density(first, last, inputs, values):
        loc, scale = np.split(dense(last, dense(first, inputs, silu)).astype("float64"), 2, -1)
        return stats.norm(loc, np.logaddexp(0, scale)).logpdf(values).sum((1, 2))

    q = log_density(*layer.head, np.concatenate([x, h], -1), z)
    p = log_density(*layers_of(model.priors["z"], keras.layers.Dense), h, z)
    of_z, of_h, last = layers_of(model.likelihoods["x"], keras.layers.Dense)
    loc, scale = np.split(dense(last, silu(dense(of_z, z) + dense(of_h, h))), 2, -1)
    p_x = stats.norm(loc, np.logaddexp(0, scale)).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(forward.log_q[0], q, rtol=1e-3)
    np.testing.assert_allclose(forward.log_likelihood[0], p_x, rtol=1e-3)
    np.testing.assert_allclose(forward.log_joint[0], p + p_x, rtol=1e-3)
    # The KL of each step is in closed form, given the steps that were drawn.
    many = model.forward(np.repeat(x[:1], 4000, 0), seed=tf.constant([1, 2]))
    by_draws = many.log_q - (many.log_joint - many.log_likelihood)
    assert np.mean(many.kl) == pytest.approx(np.mean(by_draws), abs=0.1)
    assert np.std(many.kl) < 0.5 * np.std(by_draws)


@pytest.mark.again
def test_a_vrnn_is_saved_with_its_one_state_and_padding_changes_nothing(tmp_path):
    model, x = sequences.vrnn(setting()), walks()
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    pad = lambda t: np.concatenate([t, np.zeros([6, 3, 2], "float32")], 1)  # noqa: E731
    forward = model.forward(x)
    z = pad(forward["z"].value[0])[np.newaxis]
    longer = model.forward(pad(x)).at({"z": tf.constant(z)})
    np.testing.assert_allclose(longer.log_joint, forward.log_joint, rtol=1e-4)
    np.testing.assert_allclose(longer.log_q, forward.log_q, rtol=1e-4)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights)
    found = [one.sample(3, length=4, seed=1)["x"] for one in (model, again)]
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.again
def test_tokens_of_any_length_are_learnt_and_drawn(tmp_path):
    rng = np.random.default_rng(0)
    start = rng.integers(1, 5, [64, 1])
    tokens = ((start + np.arange(6) - 1) % 4 + 1).astype("int32")  # 1 2 3 4 1 2, from anywhere
    tokens[::2, 4:] = 0
    model = sequences.sentence_vae(setting((None,), widths=(16,), num_tokens=5), rate=0.3)
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
    model = sequences.sentence_vae(setting((3,), widths=(4,), num_tokens=2))
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


@pytest.mark.again
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


def test_the_words_that_drop_out_go_on_where_a_saved_model_stopped(tmp_path):
    inputs = keras.Input((None, 1))
    model = keras.Model(inputs, sequences.layers.WordDropout(0.5)(inputs))
    x = np.ones([4, 50, 1], "float32")
    first = model(x, training=True).numpy()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    found = [one(x, training=True).numpy() for one in (model, again)]
    np.testing.assert_array_equal(*found)
    assert (found[0] != first).any()
