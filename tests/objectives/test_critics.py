"""Objectives with a critic, or with a measure of likeness: against closed forms and by player."""

import functools
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, ByPlayer, InputError, layers, networks
from tfp_vae.objectives import MSSSIM, DeepFeatures, FactorTC, LearnedSimilarity
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.factor_tc import permuted
from tfp_vae.objectives.feature_networks import application, trained_features
from tfp_vae.objectives.ms_ssim import ms_ssim, scales

X = (np.random.default_rng(0).random([64, 6]) < 0.4).astype("float32")


def of_vectors(objective, size=2):
    keras.utils.set_random_seed(0)
    return VAE(
        networks.encoder((6,), layers.IndependentNormal(size), widths=(8,)),
        networks.decoder(size, layers.IndependentBernoulli(6), widths=(8,)),
        objective=objective,
    )


def gradients(loss, tape, network):
    return tape.gradient(loss, [v.value for v in network.trainable_variables])


def assert_alike(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-6)


# -- total correlation -----------------------------------------------------------------------------


def test_a_permutation_is_of_each_dimension_over_the_batch():
    """And not of the dimensions within a row: column j holds the values of column j."""
    z = np.arange(200, dtype="float32")[:, None] + np.array([0, 1000, 2000], "float32")
    found = permuted(tf.constant(z), tf.constant([3, 4])).numpy()
    np.testing.assert_array_equal(np.sort(found, axis=0), z)
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.3  # were 1
    again = permuted(tf.constant(z), tf.constant([3, 5])).numpy()
    assert (found != again).any()


@pytest.mark.again
def test_the_critic_finds_a_total_correlation_that_is_known():
    """z of N(0, R): TC = -1/2 log det R, and D(z) = log N(z; 0, R) - log N(z; 0, I)."""
    keras.utils.set_random_seed(0)
    correlation = 0.7
    covariance = np.array([[1, correlation], [correlation, 1]])
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0], covariance, 8192).astype("float32")
    z = keras.Input((2,))
    encoder = keras.Model(z, layers.Deterministic(2)(keras.layers.Identity()(z)))
    decoder = networks.decoder(2, layers.IndependentNormal(2), widths=(4,))
    one, other = (
        keras.layers.Dense(
            1,
            use_bias=False,
            trainable=False,
            kernel_initializer=lambda *_, column=column, **__: np.float32(column),
        )
        for column in ([[1], [0]], [[0], [1]])
    )
    v = keras.Input((2,))
    squares = keras.layers.Multiply()([v, v])
    product = keras.layers.Multiply()([one(v), other(v)])
    joined = keras.layers.Concatenate()([squares, product])
    critic = keras.Model(v, keras.layers.Dense(1)(joined))
    vae = VAE(encoder, decoder, objective=FactorTC(critic, beta=0.0))
    vae.compile(ByPlayer(model=keras.optimizers.SGD(0.0), critic=keras.optimizers.Adam(0.02)))
    vae.fit(x, batch_size=1024, epochs=40, verbose=0)
    found = vae.evaluate(x, batch_size=8192, verbose=0, return_dict=True)["tc"]
    assert found == pytest.approx(-0.5 * np.log(np.linalg.det(covariance)), abs=0.05)
    precision = np.linalg.inv(covariance)
    kernel, bias = critic.layers[-1].get_weights()
    exact = [(1 - precision[0, 0]) / 2, (1 - precision[1, 1]) / 2, -precision[0, 1]]
    np.testing.assert_allclose(np.ravel(kernel), exact, atol=0.12)
    np.testing.assert_allclose(bias, -0.5 * np.log(np.linalg.det(covariance)), atol=0.08)


def test_each_player_of_the_total_correlation_gets_its_own_gradient():
    vae = of_vectors(FactorTC(weight=3.0, beta=2.0))
    critic, softplus = vae.objective.critic, tf.math.softplus
    with tf.GradientTape(persistent=True) as tape:
        p = vae(X, training=True)
        loss = vae.compute_loss(X, None, p)
        forward = p.forward
        z = forward.z[0]
        apart = permuted(tf.stop_gradient(z), seed_of_step(forward, 6))
        own = tf.reduce_mean(softplus(-critic(tf.stop_gradient(z))) + softplus(critic(apart)))
        of_model = tf.reduce_mean(forward.nll + 2 * forward.kl + 3 * critic(z)[:, 0])
    assert_alike(gradients(loss, tape, critic), gradients(own, tape, critic))
    for network in (vae.encoder, vae.decoder):
        assert_alike(gradients(loss, tape, network), gradients(of_model, tape, network))


def test_a_total_correlation_is_of_vectors():
    with pytest.raises(InputError, match=r"z to be a vector.*\(2, 3\)"):
        FactorTC().bind({"z": (2, 3)})


# -- VAE-GAN ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 3.0])
def test_three_players_of_a_vae_gan_get_a_gradient_each(gamma):
    vae = of_vectors(LearnedSimilarity(gamma=gamma, beta=0.5))
    critic, softplus = vae.objective.critic, tf.math.softplus
    hidden = keras.Model(critic.inputs, critic.layers[-2].output)
    with tf.GradientTape(persistent=True) as tape:
        p = vae(X, training=True)
        loss = vae.compute_loss(X, None, p)
        forward = p.forward
        drawn = forward.only.draws_from_p(seed_of_step(forward, 7))[0]
        again, generated = vae.decoder(forward.z[0]).mean(), vae.decoder(drawn).mean()
        likeness = tf.reduce_mean(tf.reduce_sum((hidden(X) - hidden(again)) ** 2, 1) / 2)
        deceives = tf.reduce_mean(softplus(-critic(again)) + softplus(-critic(generated)))
        told = [tf.stop_gradient(each) for each in (again, generated)]
        own = tf.reduce_mean(softplus(-critic(X)) + sum(softplus(critic(each)) for each in told))
        of_encoder = likeness + 0.5 * tf.reduce_mean(forward.kl)
        of_decoder = gamma * likeness + deceives
    assert_alike(gradients(loss, tape, vae.encoder), gradients(of_encoder, tape, vae.encoder))
    assert_alike(gradients(loss, tape, vae.decoder), gradients(of_decoder, tape, vae.decoder))
    assert_alike(gradients(loss, tape, critic), gradients(own, tape, critic))


def test_a_critic_of_x_is_held_against_x():
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(InputError, match=r"critic from x of shape \(6,\)"):
        of_vectors(LearnedSimilarity(other))
    with pytest.raises(InputError, match=r"layer of the critic: .*'seen'|seen"):
        of_vectors(LearnedSimilarity(layer="seen"))


# -- measures of likeness --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (28, 21, 3), (45, 50, 2)])
def test_ms_ssim_is_tensorflows(shape):
    rng = np.random.default_rng(0)
    x = rng.random([3, *shape]).astype("float32")
    y = np.clip(x + 0.2 * rng.normal(size=x.shape), 0, 1).astype("float32")
    count, size = scales(min(shape[:2]))
    powers = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:count])
    wanted = tf.image.ssim_multiscale(
        x, y, 1.0, power_factors=(powers / powers.sum()).tolist(), filter_size=size
    )
    np.testing.assert_allclose(ms_ssim(tf.constant(x), tf.constant(y)), wanted, rtol=1e-4)


def test_ms_ssim_has_a_slope_where_structures_are_opposite():
    x = tf.constant(np.random.default_rng(0).random([3, 8, 8, 1]).astype("float32"))
    y = tf.Variable(1 - x)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(ms_ssim(x, y))
    assert np.isfinite(tape.gradient(value, y)).all()


def test_deep_features_are_compared_layer_by_layer():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=[6, 4]), rng.normal(size=[4, 3])
    network = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(4, "relu", name="a", use_bias=False),
         keras.layers.Dense(3, name="b", use_bias=False)]
    )  # fmt: skip
    network.set_weights([first.astype("float32"), second.astype("float32")])
    x, y = rng.normal(size=[2, 5, 6])
    a, b = (np.maximum(each @ first, 0) for each in (x, y))
    of_a = ((a - b) ** 2).mean(1) / 2
    of_b = (((a - b) @ second) ** 2).mean(1) / 2
    for names, expected in ((["a"], of_a), (["b"], of_b), (None, of_a + of_b)):
        objective = DeepFeatures(network, names=names)
        objective.bind_data({"x": (6,)})
        found = objective.distance(*(tf.constant(each, tf.float32) for each in (x, y)))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(InputError, match=r"layers of the network: a, b.*c"):
        of_vectors(DeepFeatures(network, names=["c"]))
    with pytest.raises(InputError, match=r"network of x of shape \(5,\)"):
        objective.bind_data({"x": (5,)})


@pytest.mark.again
def test_features_stay_as_they_are_in_training_and_in_a_file(tmp_path):
    vae = of_vectors(DeepFeatures())
    before = [w.copy() for w in vae.objective.network.get_weights()]
    vae.compile("adam")
    vae.fit(X, verbose=0)
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    for one in (vae, again):
        for old, new in zip(before, one.objective.network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    assert vae.evaluate(X, verbose=0)[0] == pytest.approx(again.evaluate(X, verbose=0)[0], rel=0.2)


def test_trained_features_tell_the_labels_apart():
    """A line in what they put out finds most labels, whose names are words here."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=[300, 5]).astype("float32")
    labels = np.where(x[:, 0] * x[:, 1] > 0, "alike", "other")  # no line in x does
    seen = trained_features(x, labels).predict(x, verbose=0)
    signs = np.where(labels == "alike", 1.0, -1.0)
    for features, least, most in ((x, 0.4, 0.65), (seen, 0.95, 1.0)):
        ones = np.concatenate([features, np.ones([300, 1])], axis=1)
        found = ones @ np.linalg.lstsq(ones, signs, rcond=None)[0]
        assert least <= np.mean(found * signs > 0) <= most


@pytest.fixture
def _without_weights(monkeypatch):
    for name in ("VGG19", "MobileNetV2"):
        make = functools.partial(getattr(keras.applications, name), weights=None)
        make.__module__ = getattr(keras.applications, name).__module__
        monkeypatch.setattr(keras.applications, name, make)


@pytest.mark.usefixtures("_without_weights")
@pytest.mark.parametrize(
    ("name", "shape", "names"),
    [
        ("VGG19", (20, 16, 1), None),
        pytest.param("VGG19", (20, 40, 3), ["block1_conv2"], marks=pytest.mark.again),
        pytest.param("MobileNetV2", (40, 36, 3), ["Conv1_relu"], marks=pytest.mark.again),
    ],
)
def test_a_network_of_keras_is_shown_what_it_was_trained_on(name, shape, names):
    network, found = application(name, shape, names)
    assert found == (names or ["block1_conv1", "block2_conv1", "block3_conv1"])
    x = np.random.default_rng(0).random([2, *shape]).astype("float32")
    module = sys.modules[getattr(keras.applications, name).__module__]
    expected = module.preprocess_input(np.broadcast_to(255 * x, [2, *shape[:2], 3]).copy())
    first = network.get_layer("preprocessing")
    np.testing.assert_allclose(first(x), expected, atol=1e-2)
    objective = DeepFeatures(name, names=names)
    objective.bind_data({"x": shape})
    assert len(keras.tree.flatten(objective.network.outputs)) == len(found)
    assert objective.distance(tf.constant(x), tf.constant(x)).numpy().tolist() == [0.0, 0.0]
    assert (objective.distance(tf.constant(x), tf.constant(1 - x)).numpy() > 0).all()


@pytest.mark.usefixtures("_without_weights")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("VGG", (8, 8, 1)), "such as VGG19"),
        (("layers", (8, 8, 1)), "such as VGG19"),
        (("MobileNetV2", (8, 8, 1)), "names, those of the layers of MobileNetV2"),
        (("VGG19", (8,)), "for images, grey or in colour"),
        (("VGG19", (8, 8, 2)), "for images, grey or in colour"),
        (("VGG19", (8, 8, 3), ["none"]), "names of layers of VGG19.*none"),
    ],
)
def test_what_keras_has_not_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        application(*arguments)


def test_weights_that_are_not_to_be_had_are_one_line(monkeypatch):
    def fails(**kwargs):
        raise Exception("URL fetch failure\non x")

    fails.__module__ = keras.applications.VGG19.__module__
    monkeypatch.setattr(keras.applications, "VGG19", fails)
    with pytest.raises(InputError, match=r"weights of VGG19.*URL fetch failure on x"):
        application("VGG19", (8, 8, 3))


@pytest.mark.parametrize("objective", [DeepFeatures(), LearnedSimilarity()])
def test_what_is_no_density_has_no_likelihood_and_says_why(objective):
    vae = of_vectors(objective)
    assert not vae.has_density
    with pytest.raises(InputError, match=r"no log p\(x\).*measure.*no density.*objective"):
        vae.log_likelihood(X)


def test_ms_ssim_is_of_images():
    with pytest.raises(InputError, match=r"images of at least 4 by 4"):
        of_vectors(MSSSIM())
