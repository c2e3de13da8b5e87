"""The posterior of a VQ-VAE: codes, codebook, losses, and the VAE that it makes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import IWAE, VAE, layers, networks, priors
from tfp_vae.distributions.codebook import nearest as by_product
from tfp_vae.errors import InputError
from tfp_vae.model import importance

tfd = tfp.distributions


def vectors(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def nearest(t, codebook):
    """Codes `[...]` of t `[..., d]`, by all differences in float64."""
    differences = t[..., None, :].astype("float64") - np.asarray(codebook, "float64")
    return (differences**2).sum(axis=-1).argmin(axis=-1)


@pytest.mark.one
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("d", [1, 2, 16])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4, "each"])
def test_the_nearest_code_wherever_the_codes_are(offset, d, compiled):
    """Against float64 and differences, at a distance from 0, which may be another on each axis."""
    rng = np.random.default_rng(0)
    by = rng.uniform(-1e4, 1e4, size=d) if offset == "each" else offset
    codes, z = ((by + rng.normal(size=[n, d])).astype("float32") for n in (64, 500))
    found = tf.function(by_product, jit_compile=compiled)(tf.constant(z), tf.constant(codes))
    squares = ((z[:, None].astype("float64") - codes) ** 2).sum(axis=-1)
    chosen = squares[np.arange(500), found]
    assert (chosen <= squares.min(axis=-1) + 2e-5 * (1 + chosen)).all()
    own = by_product(tf.constant(codes), tf.constant(codes))
    np.testing.assert_array_equal(codes[own], codes)


@pytest.mark.parametrize("event_shape", [5, (5,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("leading", [(), (4,), (2, 3)], ids=str)
def test_codes_are_the_nearest_vectors(event_shape, leading):
    layer = layers.VectorQuantized(event_shape, 20, seed=0)
    t = vectors(*leading, *layer.event_shape)
    q = layer(t.reshape(*leading, layer.num_parameters))
    expected = nearest(t, layer.codebook.vectors)
    np.testing.assert_array_equal(q.codes, expected)
    np.testing.assert_array_equal(q, layer.codebook.vectors.numpy()[expected])
    assert (q.batch_shape, q.event_shape) == (leading, layer.event_shape)
    assert type(layer.num_parameters) is int


def test_a_map_of_vectors_goes_in_by_flatten_and_comes_out_as_a_map():
    maps = keras.Input((2, 3, 4))
    layer = layers.VectorQuantized((2, 3, 4), 20, seed=0)
    model = keras.Model(maps, layer(keras.layers.Flatten()(maps)))
    t = vectors(5, 2, 3, 4)
    np.testing.assert_array_equal(model(t).codes, nearest(t, layer.codebook.vectors))
    assert model.output_shape == (None, 2, 3, 4)


def test_the_gradient_goes_straight_through_to_the_input_and_not_to_the_codebook():
    layer = layers.VectorQuantized((3, 2), 8, commitment=0.0, decay=None, seed=0)
    t, w = tf.constant(vectors(4, 6)), vectors(5, 4, 3, 2, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = tf.reduce_sum(w * layer(t).sample(5))
    to_input, to_codebook = tape.gradient(loss, [t, layer.codebook.vectors.value])
    np.testing.assert_allclose(to_input, w.sum(axis=0).reshape(4, 6), rtol=1e-5)
    assert to_codebook is None


def test_it_is_a_point_mass_on_codes():
    layer = layers.VectorQuantized((3, 2), 8, seed=0)
    q = layer(vectors(4, 6))
    z = q.sample(2).numpy()
    np.testing.assert_array_equal(q.log_prob(z), np.zeros([2, 4]))
    z[1, 2, 0, 1] += 1e-3
    assert q.log_prob(z)[1].numpy().tolist() == [0, 0, -np.inf, 0]
    for value, expected in ((q.mean(), z[0]), (q.mode(), z[0]), (q.stddev(), 0), (q.entropy(), 0)):
        np.testing.assert_array_equal(value, np.broadcast_to(expected, value.shape))
    np.testing.assert_array_equal(q.at[1:3].codes, q.codes[1:3])
    assert q.reparameterization_type == tfd.FULLY_REPARAMETERIZED


@pytest.mark.parametrize(("codes", "expected"), [([0, 0, 0, 0], 1), ([0, 1, 2, 3], 4)])
def test_perplexity_is_the_number_of_codes_in_use(codes, expected):
    layer = layers.VectorQuantized((4, 2), 6)
    q = layer(layer.codebook.vectors.numpy()[codes].reshape(1, 8))
    np.testing.assert_allclose(q.perplexity(), expected, rtol=1e-6)


def test_the_codebook_follows_by_moving_averages_of_the_batches_before():
    decay, epsilon, k = 0.7, 0.3, 5
    layer = layers.VectorQuantized((2, 3), k, decay=decay, restart=0, epsilon=epsilon, seed=0)
    e = layer.codebook.vectors.numpy().astype("float64")
    counts, sums = np.ones(k), e.copy()
    for step in range(4):
        t = vectors(6, 6, seed=step)
        q = layer(t, training=True)
        np.testing.assert_allclose(layer.codebook.vectors, e, rtol=1e-5)
        rows = t.reshape(-1, 3)
        codes = nearest(rows, e)
        np.testing.assert_array_equal(q.codes, codes.reshape(6, 2))
        one_hot = np.eye(k)[codes]
        counts = decay * counts + (1 - decay) * one_hot.sum(axis=0)
        sums = decay * sums + (1 - decay) * one_hot.T @ rows
        smoothed = (counts + epsilon) / (counts.sum() + k * epsilon) * counts.sum()
        e = sums / smoothed[:, None]


@pytest.mark.parametrize("decay", [0.9, None])
def test_nothing_moves_but_in_training(decay):
    layer = layers.VectorQuantized((2, 3), 5, decay=decay)
    before = [w.numpy() for w in layer.weights]
    layer(vectors(6, 6))
    layer(vectors(6, 6), training=False)
    layer.trainable = False
    layer(vectors(6, 6), training=True)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_an_unused_code_starts_anew_at_a_vector_of_the_batch():
    layer = layers.VectorQuantized(2, 4, decay=0.5, restart=0.2, seed=0)
    book = layer.codebook
    start = np.array([[-1, 0], [1, 0], [90, 90], [80, 80]], "float32")
    book.vectors.assign(start)
    book.sums.assign(start)
    t = np.array([[-1, 0.1], [1, 0.1]] * 20, "float32")
    layer(t, training=True)  # counts 10.5, 10.5, 1/2, 1/2: the last are below 0.2 of the mean
    np.testing.assert_allclose(book.counts, [10.5, 10.5, 5.5, 5.5])
    layer(t, training=True)
    found = book.vectors.numpy()[2:]
    assert (np.abs(found[:, None] - t[:2]).sum(axis=-1).min(axis=1) < 1e-3).all()
    kept = layers.VectorQuantized(2, 4, decay=0.5, restart=0, seed=0)
    kept.codebook.sums.assign(start)
    for _ in range(4):
        kept(t, training=True)
    np.testing.assert_allclose(kept.codebook.vectors[2:], start[2:], rtol=1e-3)


def test_one_training_step_sees_one_codebook():
    """decay=0: the codebook jumps at each step, and the prior reads z in it later in the step."""
    encoder = keras.Sequential([keras.Input((6,)), layers.VectorQuantized((3, 2), 8, decay=0.0)])
    prior = priors.UniformCodes()
    prior.bind(encoder)
    for step in range(4):
        q = encoder(vectors(5, 6, seed=step, scale=3.0**step), training=True)
        p = prior.distribution()
        read = tfd.Independent(tfd.Categorical(logits=vectors(3, 8)), 1)  # told apart by its nats
        expected = read.log_prob(q.codes)
        np.testing.assert_array_equal(p.copy(over_codes=read).log_prob(q.sample()), expected)


@pytest.mark.parametrize("decay", [0.9, None])
def test_losses_and_their_gradients(decay):
    """commitment |t - sg(z)|^2, and by gradient |sg(t) - z|^2: sums over a z, means over z's."""
    layer = layers.VectorQuantized((3, 2), 8, commitment=0.3, decay=decay, seed=0)
    t = tf.constant(vectors(4, 6))
    with tf.GradientTape() as tape:
        tape.watch(t)
        z = np.asarray(layer(t)).reshape(4, 6)
        (loss,) = layer.losses
    gradient, to_codebook = tape.gradient(loss, [t, layer.codebook.vectors.value])
    distance = ((t - z) ** 2).numpy().sum(axis=1).mean()
    np.testing.assert_allclose(loss, (0.3 if decay else 1.3) * distance, rtol=1e-5)
    np.testing.assert_allclose(gradient, 0.3 * 2 * (t - z) / 4, rtol=1e-5)
    if decay is None:
        rows, e = t.numpy().reshape(-1, 2), layer.codebook.vectors.numpy()
        one_hot = np.eye(8)[nearest(rows, e)]
        expected = 2 * (one_hot.sum(axis=0)[:, None] * e - one_hot.T @ rows) / 4
        np.testing.assert_allclose(tf.convert_to_tensor(to_codebook), expected, atol=1e-5)
    else:
        assert to_codebook is None


def vq_vae(objective=None, **kwargs):
    keras.utils.set_random_seed(0)
    posterior = layers.VectorQuantized((8, 4), 16, **kwargs)
    likelihood = layers.IndependentBernoulli((8, 8, 1))
    decoder = [
        keras.Input((8, 4)),
        keras.layers.Flatten(),
        networks.decoder(32, likelihood, widths=(32,)),
    ]
    encoder = networks.encoder((8, 8, 1), posterior, widths=(32,))
    return VAE(encoder, keras.Sequential(decoder), objective=objective)


def test_a_vae_learns(x):
    vae = vq_vae()
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = vae.fit(x, batch_size=24, epochs=8, verbose=0).history  # a partial last batch
    assert history["nll"][-1] < 0.8 * history["nll"][0]
    np.testing.assert_allclose(history["kl"], 8 * np.log(16), rtol=1e-6)
    assert history["loss"][-1] > history["nll"][-1] + history["kl"][-1]  # the commitment loss


@pytest.mark.again
def test_it_trains_under_xla_with_the_numbers_of_the_graph(x):
    losses = []
    for mode in ({"jit_compile": True}, {"jit_compile": False}):
        vae = vq_vae()
        vae.compile("adam", **mode)
        losses.append(vae.fit(x, batch_size=32, epochs=3, verbose=0, shuffle=False).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize("decay", [0.99, None])
def test_loss_and_log_likelihood_are_bounds_in_nats(x, decay):
    vae = vq_vae(IWAE(3), decay=decay)  # whose draws are all alike
    q = vae.encode(x)
    log_p = vae.decode(q.sample()).log_prob(x) - 8 * np.log(16)
    np.testing.assert_allclose(vae.log_likelihood(x, 3), log_p, rtol=1e-5)
    vae.compile("adam", jit_compile=False)
    vae.encoder(x)
    (added,) = vae.losses
    loss = vae.evaluate(x, batch_size=64, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, -np.mean(log_p) + added, rtol=1e-5)


@pytest.mark.again
@pytest.mark.parametrize(
    "kwargs",
    [{"decay": 0.9, "commitment": 0.5}, {"decay": None, "revive_after": 2}],
    ids=["averages", "revived"],
)
def test_it_reloads_with_its_state_and_goes_on_alike(x, tmp_path, kwargs):
    vae = vq_vae(**kwargs)
    vae.compile("adam", jit_compile=False)
    vae.fit(x, epochs=2, verbose=0)
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    assert isinstance(again.prior, priors.UniformCodes)
    np.testing.assert_array_equal(again.sample(4, seed=1), vae.sample(4, seed=1))
    ends = [model.fit(x, shuffle=False, epochs=3, verbose=0).history for model in (vae, again)]
    assert ends[0] == ends[1]
    for one, other in zip(vae.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_config_gives_the_layer_again():
    layer = layers.VectorQuantized((3, 2), 8, 0.5, 0.9, 0.2, 1e-3, seed=3, name="named")
    again = layers.VectorQuantized.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    t = vectors(4, 6)
    np.testing.assert_array_equal(again(t), layer(t))
    other = layers.VectorQuantized((3, 2), 8, seed=4)
    assert (other.codebook.vectors.numpy() != layer.codebook.vectors.numpy()).any()


@pytest.mark.one
@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_it_stays_in_full_precision(x, policy):
    keras.config.set_dtype_policy(policy)
    vae = vq_vae()
    vae.compile("adam", run_eagerly=True)
    assert np.isfinite(vae.fit(x[:8], verbose=0).history["loss"]).all()
    expected = "float64" if policy == "float64" else "float32"
    assert vae.encode(x[:2]).dtype == vae.prior.distribution().dtype == expected


def with_kl(prior):
    regularizer = layers.KLDivergenceRegularizer(prior)
    return layers.VectorQuantized((2, 2), 4, activity_regularizer=regularizer)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: layers.VectorQuantized((3, 2), 8)(np.ones([2, 5], "float32")), "params_size"),
        (lambda: layers.VectorQuantized((), 8), "vectors' dimension"),
        (lambda: layers.VectorQuantized((3, 0), 8), "event_shape to be an integer >= 1"),
        (lambda: layers.VectorQuantized((3, 2), 0), "num_codes >= 1"),
        (lambda: layers.VectorQuantized(2, 8, commitment=-1.0), "commitment"),
        (lambda: layers.VectorQuantized(2, 8, decay=1.0), "decay"),
        (lambda: layers.VectorQuantized(2, 8, restart=1.0), "restart"),
        (lambda: layers.VectorQuantized(2, 8, decay=None, restart=0.1), "restart"),
        (lambda: with_kl(priors.unit_normal((2, 2))), r"VAE\(encoder, decoder, prior"),
        (lambda: priors.UniformCodes().distribution(), r"prior=UniformCodes"),
        (
            lambda: VAE(*vae_parts(layers.IndependentNormal(2)), prior=priors.UniformCodes()),
            "VectorQuantized",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        use()


def vae_parts(posterior):
    encoder = networks.encoder((4,), posterior, widths=())
    return encoder, networks.decoder(2, layers.IndependentNormal(4), widths=())


def test_one_draw_is_enough_for_the_likelihood(x, monkeypatch):
    """All draws are the same codes: the decoder is asked once for each example."""
    vae = vq_vae()
    asked = []
    call = vae.decoder.call
    monkeypatch.setattr(
        vae.decoder, "call", lambda z, **kwargs: asked.append(len(z)) or call(z, **kwargs)
    )
    data = ({"x": x[:4]}, {})
    once = importance.estimate_batch(vae.graph, data, tf.constant(1))
    fifty = importance.estimate_batch(vae.graph, data, tf.constant(50))
    assert asked == [4, 4]
    np.testing.assert_allclose(fifty, once, rtol=1e-6)
