"""Several players in one loss: each one's gradient, optimizer and number of steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, ByPlayer, InputError, frozen, layers, networks
from tfp_vae.objectives import Adversarial

X = (np.random.default_rng(0).random([64, 6]) < 0.4).astype("float32")


def autoencoder(**kwargs):
    keras.utils.set_random_seed(0)
    return VAE(
        networks.encoder((6,), layers.Deterministic(2), widths=(8,)),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,)),
        objective=Adversarial(**kwargs),
    )


def gradients(loss, tape, network):
    return tape.gradient(loss, [v.value for v in network.trainable_variables])


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_each_player_gets_the_gradient_of_its_own_loss_alone(weight):
    vae = autoencoder(weight=weight)
    critic = vae.objective.critic
    with tf.GradientTape(persistent=True) as tape:
        p = vae(X, training=True)
        loss = vae.compute_loss(X, None, p)
        z = p.forward.z[0]
        drawn = p.forward.only.draws_from_p(tf.constant([0, 5]))[0]
        softplus = tf.math.softplus
        own = tf.reduce_mean(softplus(critic(tf.stop_gradient(z))) + softplus(-critic(drawn)))
        others = tf.reduce_mean(softplus(-critic(z)[:, 0]))
        nll = -tf.reduce_mean(p.forward.log_likelihood)
        of_model = nll + weight * others
    for found, alone in zip(
        gradients(loss, tape, critic), gradients(own, tape, critic), strict=True
    ):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)
    of_encoder = gradients(of_model, tape, vae.encoder)
    for found, alone in zip(gradients(loss, tape, vae.encoder), of_encoder, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)
    for found, alone in zip(
        gradients(loss, tape, vae.decoder), gradients(nll, tape, vae.decoder), strict=True
    ):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)


def test_no_loss_reaches_the_weights_of_another_player():
    vae = autoencoder(weight=3.0)
    critic, z = vae.objective.critic, tf.Variable([[0.3, -1.0]])
    with tf.GradientTape(persistent=True) as tape:
        of_encoder = frozen(critic)(z)
        p = vae(X, training=True)
        of_critic = vae.objective(p.forward.observing({"x": X})).more["critic"]
    assert gradients(of_encoder, tape, critic) == [None] * len(critic.trainable_variables)
    assert tape.gradient(of_encoder, z) is not None
    for network in (vae.encoder, vae.decoder):
        assert set(gradients(of_critic, tape, network)) == {None}
    assert None not in gradients(of_critic, tape, critic)


def weights_of(vae):
    parts = {"encoder": vae.encoder, "critic": vae.objective.critic}
    return {
        name: np.concatenate([np.ravel(w) for w in p.get_weights()]) for name, p in parts.items()
    }


@pytest.mark.one
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(("every", "moves"), [({}, 4), ({"model": 2}, 2), ({"model": 5}, 0)])
def test_a_player_takes_every_so_many_th_step(every, moves, xla):
    vae = autoencoder()
    vae.compile(
        ByPlayer(model="sgd", critic=keras.optimizers.SGD(0.0), every=every), jit_compile=xla
    )
    before = weights_of(vae)
    vae.fit(X, batch_size=16, verbose=0)
    after = weights_of(vae)
    assert int(vae.optimizer.iterations) == 4
    assert int(vae.optimizer.players["model"].iterations) == moves
    assert (before["encoder"] != after["encoder"]).any() == bool(moves)
    np.testing.assert_array_equal(before["critic"], after["critic"])  # its rate is 0


def test_each_has_a_rate_of_its_own():
    one, two = autoencoder(), autoencoder()
    one.compile(ByPlayer(model=keras.optimizers.SGD(0.1), critic=keras.optimizers.SGD(0.1)))
    two.compile(keras.optimizers.SGD(0.1))
    for vae in (one, two):
        vae.fit(X, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.again
def test_it_goes_on_from_a_file_in_the_middle_of_a_turn(tmp_path):
    whole = autoencoder()
    whole.compile(ByPlayer(model="adam", critic=keras.optimizers.Adam(1e-2), every={"model": 3}))
    whole.fit(X, batch_size=16, shuffle=False, verbose=0)
    whole.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    for vae in (whole, again):
        vae.fit(X, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert int(again.optimizer.players["model"].iterations) == 4
    for ours, theirs in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    pairs = zip(whole.optimizer.variables, again.optimizer.variables, strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.again
def test_the_critic_finds_the_log_ratio_of_two_normals():
    """z of N(1, 1) against a prior of N(0, 1): D(z) = log p(z) - log q(z) = 1/2 - z."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(1.0, 1.0, [4096, 1]).astype("float32")
    z = keras.Input((1,))
    encoder = keras.Model(z, layers.Deterministic(1)(keras.layers.Identity()(z)))
    decoder = networks.decoder(1, layers.IndependentNormal(1), widths=(4,))
    critic = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    vae = VAE(encoder, decoder, objective=Adversarial(critic))
    vae.compile(ByPlayer(model=keras.optimizers.SGD(0.0), critic=keras.optimizers.Adam(0.02)))
    vae.fit(x, batch_size=512, epochs=40, verbose=0)
    slope, at_0 = (np.ravel(w)[0] for w in critic.get_weights())
    assert slope == pytest.approx(-1.0, abs=0.1)
    assert at_0 == pytest.approx(0.5, abs=0.1)


@pytest.mark.again
def test_z_comes_to_the_prior():
    vae = autoencoder(weight=10.0)
    vae.compile(ByPlayer(model=keras.optimizers.Adam(3e-3), critic=keras.optimizers.Adam(3e-3)))
    vae.fit(X, batch_size=32, epochs=150, verbose=0)
    z = np.asarray(vae.encode(X).mean())
    np.testing.assert_allclose(z.mean(0), 0.0, atol=0.4)
    np.testing.assert_allclose(z.std(0), 1.0, atol=0.5)


def test_evaluation_leaves_the_critic_alone():
    critic = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4), keras.layers.BatchNormalization(),
         keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    )  # fmt: skip
    vae = autoencoder(critic=critic)
    vae.compile("adam")
    before = [w.copy() for w in critic.get_weights()]
    losses = [vae.evaluate(X, verbose=0, return_dict=True)["nll"] for _ in range(2)]
    for old, new in zip(before, critic.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert losses[0] == losses[1]
    vae.fit(X, verbose=0)
    assert any((old != new).any() for old, new in zip(before, critic.get_weights(), strict=True))


def test_a_loss_scale_around_it_knows_the_players():
    vae = autoencoder()
    still = keras.optimizers.SGD(0.0)
    vae.compile(keras.optimizers.LossScaleOptimizer(ByPlayer(model="sgd", critic=still)))
    before = weights_of(vae)
    vae.fit(X, verbose=0)
    np.testing.assert_array_equal(before["critic"], weights_of(vae)["critic"])


def test_moving_averages_of_a_player_are_put_in():
    vae = autoencoder()
    critic = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    vae.compile(ByPlayer(model="sgd", critic=critic))
    vae.fit(X, batch_size=16, verbose=0)
    averages = critic._model_variables_moving_average
    for average, weight in zip(averages, vae.objective.critic.trainable_variables, strict=True):
        np.testing.assert_array_equal(average, weight)


WRONG = {
    "no such player": (
        lambda: autoencoder().compile(ByPlayer(discriminator="adam")),
        "model, critic",
    ),
    "a fraction": (lambda: ByPlayer(every={"model": 1.5}), "'model': 5"),
    "a rate that is no number": (
        lambda: ByPlayer(critic=keras.optimizers.Adam(float("nan"))),
        "optimizer of critic to be finite. Received: learning_rate=nan",
    ),
    "a schedule without end": (
        lambda: ByPlayer(
            keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(float("inf"), 1, 0.5))
        ),
        "initial_learning_rate=inf",
    ),
    "a later rate": (
        lambda: setattr(ByPlayer(), "learning_rate", float("inf")),
        "of model to be finite. Received: learning_rate=inf",
    ),
    "a weight that is no number": (
        lambda: Adversarial(weight=float("nan")),
        "expected weight to be a number >= 0",
    ),
    "of nobody": (lambda: ByPlayer(every={"critic": 2}), "which are model"),
    "a critic of other z": (
        lambda: autoencoder(critic=keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])),
        r"critic from z of shape \(2,\)",
    ),
    "a critic of two numbers": (
        lambda: autoencoder(critic=keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])),
        "to one number",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(InputError, match=message):
        make()
