"""Codes in two levels, and a prior of each fitted afterwards, by enumeration and known laws."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, LatentModel, layers, networks, priors
from tfp_vae.errors import InputError

L = keras.layers
K = 3


def net(layer, **inputs):
    given = {name: keras.Input(shape, name=name) for name, shape in inputs.items()}
    flat = [L.Flatten()(tensor) for tensor in given.values()]
    h = L.Concatenate()(flat) if len(flat) > 1 else flat[0]
    return keras.Model(given, layer(L.Dense(layer.num_parameters)(L.Dense(16, "silu")(h))))


def prior_of_bottom(positions=2):
    return net(priors.ConditionalCodes((positions, 2), K, 12), top=(1, 2))


def two_levels(bottom_prior=None, quantized=layers.VectorQuantized):
    return LatentModel(
        {
            "top": (net(quantized((1, 2), K), x=(6,)), None),
            "bottom": (net(quantized((2, 2), K), x=(6,), top=(1, 2)), bottom_prior),
        },
        {"x": net(layers.IndependentBernoulli(6), top=(1, 2), bottom=(2, 2))},
    )


def data(count=96):
    label = np.arange(count) % 3
    p = 0.2 + 0.3 * label[:, None]
    return (np.random.default_rng(0).random([count, 6]) < p).astype("float32")


def randomized(network):
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign(rng.normal(scale=0.4, size=weight.shape))


def test_the_probabilities_given_each_top_code_sum_to_one_and_draws_have_them():
    network = prior_of_bottom(3)
    encoder = net(layers.VectorQuantized((3, 2), K, seed=0), x=(6,))
    network.layers[-1].bind(encoder)
    randomized(network)
    top = np.array([[[0.0, 1.0]], [[-2.0, 0.5]]], "float32")
    p = network({"top": top})
    assert (p.batch_shape, p.event_shape) == ([2], [3, 2])
    every = np.stack(np.meshgrid(*3 * [np.arange(K)], indexing="ij"), axis=-1).reshape(-1, 1, 3)
    probability = p.over_codes.prob(every).numpy()
    assert probability.shape == (K**3, 2)
    np.testing.assert_allclose(probability.sum(axis=0), 1, rtol=1e-5)
    assert np.abs(probability[:, 0] - probability[:, 1]).max() > 0.05  # it does see the top
    z = tf.gather(p.space.vectors(tf.range(K)), every)
    np.testing.assert_allclose(p.prob(z), probability, rtol=1e-5)
    first = probability.reshape(K, K, K, 2).sum(axis=(1, 2))  # is given nothing but the top
    logits = network.layers[-1].network(every[:, 0], tf.repeat(p.over_codes._context[:1], 27, 0))
    np.testing.assert_allclose(
        tf.nn.softmax(logits[:, 0]), np.tile(first[:, 0], (27, 1)), rtol=1e-4
    )
    drawn = tf.function(lambda: p.over_codes.sample(20_000, seed=(1, 2)), jit_compile=True)()
    found = drawn.numpy() @ [K * K, K, 1]
    for row in range(2):
        shares = np.bincount(found[:, row], minlength=27) / 20_000
        np.testing.assert_allclose(shares, probability[:, row], atol=0.015)


@pytest.mark.again
def test_two_levels_train_sample_save_and_export(tmp_path):
    x = data()
    model = two_levels()
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = model.fit({"x": x}, batch_size=32, epochs=5, verbose=0).history
    assert {"perplexity_top", "perplexity_bottom", "kl_top", "kl_bottom"} < set(history)
    np.testing.assert_allclose(history["kl_bottom"], 2 * np.log(K), rtol=1e-5)
    assert history["nll"][-1] < history["nll"][0]
    fitted = model.fit_prior({"x": x}, priors.AutoregressiveCodes(8), "top", epochs=2, verbose=0)
    fitted = fitted.fit_prior({"x": x}, prior_of_bottom(), "bottom", epochs=2, verbose=0, seed=1)
    assert isinstance(fitted.priors["top"], priors.AutoregressiveCodes)
    drawn = fitted.sample(5, seed=1)
    assert {name: value.shape for name, value in drawn.items()} == {
        "top": (5, 1, 2), "bottom": (5, 2, 2), "x": (5, 6),
    }  # fmt: skip
    fitted.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    for name, value in again.sample(5, seed=1).items():
        np.testing.assert_array_equal(value, drawn[name])
    log_p = fitted.log_likelihood({"x": x})
    np.testing.assert_allclose(again.log_likelihood({"x": x}), log_p, rtol=1e-5)
    fitted.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    assert served.sample(4)["x"].shape == (4, 6)
    fitted.compile("adam", jit_compile=False)
    assert np.isfinite(fitted.fit({"x": x}, epochs=1, verbose=0).history["loss"]).all()


def test_log_p_of_x_is_its_parts_by_hand():
    """log p(x | codes) + log p(top) + log p(bottom | top): codes without noise are one draw."""
    x = data(8)
    model = two_levels(prior_of_bottom())
    randomized(model.priors["bottom"])
    forward = model.forward({"x": x})
    top, bottom = forward["top"], forward["bottom"]
    p = model.priors["bottom"]({"top": top.value[0]})
    by_hand = (
        model.decode({"top": top.value[0], "bottom": bottom.value[0]})["x"].log_prob(x)
        - np.log(K)
        + p.over_codes.log_prob(bottom.q.codes)
    )
    np.testing.assert_allclose(model.log_likelihood({"x": x}), by_hand, rtol=1e-4)
    np.testing.assert_allclose(forward.kls["bottom"], -p.over_codes.log_prob(bottom.q.codes))


def transparent():
    """A model whose codes are its data: x = (top, bottom 1, bottom 2), integers."""

    def part(name, columns, **inputs):
        quantized = layers.VectorQuantized((len(columns), 1), K)
        given = {n: keras.Input(s, name=n) for n, s in {"x": (3,), **inputs}.items()}
        out = quantized(keras.ops.take(given["x"], columns, axis=-1))
        quantized.codebook.vectors.assign(np.arange(K)[:, None])
        return keras.Model(given, out)

    return LatentModel(
        {"top": (part("top", [0]), None), "bottom": (part("bottom", [1, 2]), None)},
        {"x": net(layers.IndependentNormal(3), top=(1, 1), bottom=(2, 1))},
    )


@pytest.mark.again
def test_the_prior_of_the_bottom_learns_its_law_given_the_top():
    """The cross-entropy of new codes is the conditional entropy of the law that they are from."""
    rng = np.random.default_rng(0)
    of_first = rng.dirichlet(np.ones(K), size=K)  # p(b1 | top)
    of_second = rng.dirichlet(np.ones(K), size=(K, K))  # p(b2 | top, b1)
    top = rng.integers(0, K, 6000)
    first = (rng.random([6000, 1]) > of_first[top].cumsum(axis=1)).sum(axis=1)
    second = (rng.random([6000, 1]) > of_second[top, first].cumsum(axis=1)).sum(axis=1)
    x = np.stack([top, first, second], axis=1).astype("float32")
    network = net(priors.ConditionalCodes((2, 1), K, 24), top=(1, 1))
    model = transparent().fit_prior(
        {"x": x[:4000]}, network, "bottom", epochs=12, batch_size=100, seed=0, verbose=0,
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 480)),
    )  # fmt: skip
    new = x[4000:]
    p = model.priors["bottom"]({"top": new[:, :1, None]})
    log_p = p.log_prob(new[:, 1:, None]).numpy()
    law = np.log(of_first[top, first] * of_second[top, first, second])[4000:]
    assert abs((law - log_p).mean()) < 0.02  # a KL divergence, in nats


@pytest.mark.again
def test_a_prior_over_codes_may_be_given_a_label():
    x = data()
    label = np.arange(len(x), dtype="int32") % 3
    posterior = layers.VectorQuantized((2, 2), K)
    encoder = networks.encoder((6,), posterior, widths=(16,), num_classes=3)
    likelihood = layers.IndependentBernoulli(6)
    decoder = networks.decoder((2, 2), likelihood, widths=(16,), num_classes=3)
    vae = VAE(encoder, decoder)
    network = networks.prior(priors.ConditionalCodes((2, 2), K, 8), num_classes=3)
    fitted = vae.fit_prior({"x": x, "label": label}, network, epochs=2, verbose=0)
    assert fitted.sample(3, conditions=[0, 1, 2]).shape == (3, 6)
    assert np.isfinite(fitted.log_likelihood({"x": x, "label": label})).all()


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: prior_of_bottom()({"top": np.ones([2, 1, 2])}), "expected the network to be the"),
        (lambda: two_levels(prior_of_bottom(3)), r"posterior of 3 codes, over \(3, 2\)"),
        (
            lambda: two_levels().fit_prior(
                {"x": data()}, net(layers.IndependentNormal((2, 2)), top=(1, 2)), "bottom"
            ),
            "prior over the codes",
        ),
        (
            lambda: LatentModel(
                {
                    "top": (net(layers.IndependentNormal((1, 2)), x=(6,)), None),
                    "bottom": (net(layers.IndependentNormal((2, 2)), x=(6,)), prior_of_bottom()),
                },
                {"x": net(layers.IndependentBernoulli(6), top=(1, 2), bottom=(2, 2))},
            ),
            "VectorQuantized",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        use()
