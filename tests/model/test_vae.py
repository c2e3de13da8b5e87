import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import small_networks

from tfp_vae import ELBO, IWAE, VAE, layers, priors, schedules
from tfp_vae.errors import InputError
from tfp_vae.objectives import MIWAE

tfd = tfp.distributions


def compiled(*args, **kwargs):
    vae = VAE(*args, **kwargs)
    vae.compile("adam", jit_compile=False)
    return vae


def test_a_kl_regularizer_of_the_encoder_is_not_counted_twice(x):
    keras.utils.set_random_seed(1)
    with_regularizer = compiled(*small_networks(regularized=True))
    keras.utils.set_random_seed(1)
    without = compiled(*small_networks(regularized=False))
    for vae in (with_regularizer, without):
        vae.seeds = [layer.seed_generator.state.assign([1, 0]) for layer in _seeded(vae)]
        p = vae(x)
        q = p.latents.posterior
        unit = priors.unit_normal(2)
        expected = tf.reduce_mean(-p.log_prob(x) + tfd.kl_divergence(q, unit))
        np.testing.assert_allclose(vae.compute_loss(x, None, p), expected, rtol=1e-5)
        assert not vae.losses  # the objective has it


def _seeded(vae):
    return [vae.encoder.layers[-1], vae.decoder.layers[-1]]


def test_other_regularization_is_added(x):
    encoder, decoder = small_networks()
    penalized = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1))
    z = keras.Input((2,))
    vae = compiled(encoder, keras.Model(z, decoder(penalized(z))))
    logs = vae.evaluate(x, verbose=0, return_dict=True)
    penalty = 0.1 * np.sum(penalized.kernel.numpy() ** 2)
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"] + penalty, rel=1e-5)


def test_kl_of_add_loss_is_not_counted_twice_either(x):
    encoder, decoder = small_networks(regularized=False)
    q = layers.KLDivergenceAddLoss(priors.unit_normal(2))(encoder.outputs[0])
    logs = compiled(keras.Model(encoder.inputs[0], q), decoder).evaluate(
        x, verbose=0, return_dict=True
    )
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"], rel=1e-6)


def test_weight_of_the_regularizer_is_the_default_beta():
    regularizer = layers.KLDivergenceRegularizer(priors.unit_normal(2), weight=0.25)
    encoder, decoder = small_networks(regularized=False)
    q = layers.IndependentNormal(2, activity_regularizer=regularizer)
    encoder = keras.Model(encoder.inputs[0], q(encoder.layers[-2].output))
    assert VAE(encoder, decoder).objective.beta == 0.25
    assert VAE(encoder, decoder, objective=ELBO(0.25)).objective.beta == 0.25
    with pytest.raises(InputError, match="one place"):
        VAE(encoder, decoder, objective=ELBO(0.5))


def test_prior_of_the_regularizer_is_the_default_prior():
    prior = tfd.Independent(tfd.Normal(tf.ones(2), 2.0), 1)
    _, decoder = small_networks()
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
            layers.IndependentNormal(2, activity_regularizer=layers.KLDivergenceRegularizer(prior)),
        ]
    )
    assert VAE(encoder, decoder).prior.distribution() is prior
    assert VAE(encoder, decoder, prior=prior).prior.distribution() is prior
    with pytest.raises(InputError, match="one place"):
        VAE(encoder, decoder, prior=priors.unit_normal(2))


def test_what_a_trained_model_is_for(x):
    vae = compiled(*small_networks(3))
    q = vae.encode(x)
    assert isinstance(q, tfd.Distribution)
    assert (q.batch_shape, q.event_shape) == ([64], [3])
    p = vae.decode(q.mean())
    assert (p.batch_shape, p.event_shape) == ([64], [8, 8, 1])
    np.testing.assert_allclose(vae.reconstruct(x), p.mean())
    np.testing.assert_allclose(vae.predict(x, verbose=0), p.mean(), atol=1e-6)
    assert vae.sample(5).shape == [5, 8, 8, 1]
    assert vae.log_likelihood(x, 3).shape == [64]


def test_samples_are_means_or_draws_and_repeat_with_a_seed():
    vae = compiled(*small_networks())
    means, draws = vae.sample(50, seed=1).numpy(), vae.sample(50, mean=False, seed=1).numpy()
    assert ((means > 0) & (means < 1)).all()
    assert set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_array_equal(means, vae.sample(50, seed=1))
    assert (means != vae.sample(50, seed=2).numpy()).any()
    assert (vae.sample(5).numpy() != vae.sample(5).numpy()).any()


def test_samples_come_from_the_prior():
    prior = tfd.Independent(tfd.Normal([3.0, -1.0], [0.5, 2.0]), 1)
    encoder, _ = small_networks(regularized=False)
    show = layers.DistributionLambda(lambda z: tfd.Independent(tfd.Normal(z, 1.0), 1))
    decoder = keras.Sequential([keras.Input((2,)), show])
    z = VAE(encoder, decoder, prior=prior).sample(20_000, seed=1).numpy()
    np.testing.assert_allclose(z.mean(axis=0), [3, -1], atol=0.06)
    np.testing.assert_allclose(z.std(axis=0), [0.5, 2], atol=0.05)


@pytest.mark.parametrize("objective", [ELBO(), IWAE(4), MIWAE(2, 3), IWAE(4, "dreg")])
@pytest.mark.parametrize("training", [None, False, True])
def test_a_call_draws_one_z_for_each_example(x, objective, training):
    p = VAE(*small_networks(), objective=objective)(x, training=training)
    assert p.latents.z.shape == [1, 64, 2]
    assert p.batch_shape == [64]
    assert p.shape == x.shape


@pytest.mark.parametrize("training", [False, True])
def test_a_step_draws_as_many_as_the_objective_wants(x, training):
    vae = VAE(*small_networks(), objective=IWAE(4))
    vae.compile("adam", run_eagerly=True)
    seen = []
    forward = vae._forward
    vae._forward = lambda *args: seen.append(forward(*args)) or seen[-1]
    (vae.train_step if training else vae.test_step)(tf.constant(x))
    (p,) = seen
    assert p.latents.z.shape == [4, 64, 2]
    assert p.batch_shape == [256]


@pytest.mark.again
def test_the_loss_of_a_call_by_hand_is_the_objectives(x):
    """`model(x)` is one draw, of which a bound by four is not made: the loss draws its own."""
    vae = VAE(*small_networks(), objective=IWAE(4))
    losses = [float(vae.compute_loss(x, y_pred=vae(x, training=True))) for _ in range(50)]
    one = VAE(vae.encoder, vae.decoder, objective=IWAE(1))
    looser = [float(one.compute_loss(x, y_pred=one(x, training=True))) for _ in range(50)]
    error = np.hypot(np.std(losses), np.std(looser)) / np.sqrt(50)
    assert np.mean(losses) < np.mean(looser) - 4 * error


def test_likelihoods_of_several_draws_are_those_of_each(x):
    """Samples first in the folded batch: row s * n + i is x_i under z_s."""
    from tfp_vae.objectives import likelihood

    vae = VAE(*small_networks(), objective=IWAE(3))
    p = vae._forward(x, True, 3)
    z = p.latents.z
    folded = likelihood.log_likelihood(p, x, 3)
    for s in range(3):
        np.testing.assert_allclose(folded[s], vae.decode(z[s]).log_prob(x), rtol=1e-4)


def test_metrics_are_weighted_means_over_batches(x):
    vae = compiled(*small_networks())
    logs = vae.evaluate(x, batch_size=24, verbose=0, return_dict=True)
    exact = tf.reduce_mean(tfd.kl_divergence(vae.encode(x), priors.unit_normal(2)))
    assert logs["kl"] == pytest.approx(float(exact), rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["nll"] + logs["kl"], rel=1e-5)


def test_sample_weights(x):
    vae = compiled(*small_networks())
    weights = np.zeros(64)
    weights[:16] = 2.0
    p = vae(x)
    each = -p.log_prob(x) + tfd.kl_divergence(p.latents.posterior, priors.unit_normal(2))
    expected = np.sum(each * weights) / 64
    loss = vae.compute_loss(x, None, p, sample_weight=tf.constant(weights))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    vae.fit(x, sample_weight=weights, verbose=0)


def test_a_target_other_than_x(x):
    vae = compiled(*small_networks())
    noisy = np.clip(x + 0.1, 0, 1)
    p = vae(noisy)
    kl = tfd.kl_divergence(p.latents.posterior, priors.unit_normal(2))
    expected = tf.reduce_mean(-p.log_prob(x) + kl)
    np.testing.assert_allclose(vae.compute_loss(noisy, x, p), expected, rtol=1e-5)
    vae.fit(noisy, x, verbose=0)


def test_a_scheduled_beta_follows_the_optimizer(x):
    vae = compiled(*small_networks(), objective=ELBO(schedules.warm_up(8)))
    for step in (0, 4, 8, 20):
        vae.optimizer.iterations.assign(step)
        logs = vae.evaluate(x, verbose=0, return_dict=True)
        beta = min(step / 8, 1.0)
        assert logs["loss"] == pytest.approx(logs["nll"] + beta * logs["kl"], rel=1e-5)
    vae.optimizer.iterations.assign(0)
    vae.fit(x, batch_size=16, epochs=2, verbose=0)
    assert int(vae.optimizer.iterations) == 8


@keras.saving.register_keras_serializable(package="tests")
class ShiftedPrior(priors.Prior):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.loc = self.add_weight(shape=(2,), name="loc")

    def distribution(self):
        return tfd.Independent(tfd.Normal(tf.convert_to_tensor(self.loc), 1.0), 1)


def test_a_learned_prior_trains_and_reloads(x, tmp_path):
    vae = compiled(*small_networks(regularized=False), prior=ShiftedPrior())
    vae.fit(x, epochs=3, verbose=0)
    assert np.abs(vae.prior.loc.numpy()).max() > 0
    assert vae.prior.loc.path in [w.path for w in vae.trainable_weights]
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.prior.loc, vae.prior.loc)


def test_under_a_distribution_strategy(x):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        vae = compiled(*small_networks())
    history = vae.fit(x, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.again
def test_two_replicas_have_the_loss_of_one(x):
    code = """
import sys; sys.path.insert(0, "tests")
import tensorflow as tf, numpy as np, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from conftest import small_networks
from tfp_vae import VAE
x = (np.random.default_rng(0).random((64, 8, 8, 1)) > 0.5).astype("float32")
def train(devices):
    with tf.distribute.MirroredStrategy(devices).scope():
        encoder, decoder = small_networks(regularized=False)
        for network, value in ((encoder, 0.01), (decoder, 0.02)):
            network.set_weights([np.full(w.shape, value) for w in network.get_weights()])
        kernel, bias = encoder.layers[-2].get_weights()
        encoder.layers[-2].set_weights([kernel * 0, np.array([.3, .2, -20, -20])])
        vae = VAE(encoder, decoder)
        vae.compile(keras.optimizers.SGD(0.001), jit_compile=False)
    loss = vae.fit(x, batch_size=64, verbose=0).history["loss"][0]
    return loss, vae.decoder.get_weights()
(a, u), (b, v) = train(["CPU:0"]), train(["CPU:0", "CPU:1"])
assert abs(a - b) < 1e-3 * abs(a), (a, b)
for i, j in zip(u, v): np.testing.assert_allclose(i, j, atol=1e-5)
print("same")
"""
    from conftest import python

    assert "same" in python(code)


def test_validation_weighs_the_kl_as_training_does(x):
    """At the weight of the step that the training has come to."""
    vae = VAE(*small_networks(regularized=False), objective=ELBO(beta=schedules.warm_up(10, 4.0)))
    vae.compile("adam", run_eagerly=True)
    logs = vae.fit(x, batch_size=16, epochs=3, validation_data=(x,), verbose=0).history
    for epoch, beta in enumerate((1.6, 3.2, 4.0)):  # after 4, 8 and 12 steps
        weighed = logs["val_nll"][epoch] + beta * logs["val_kl"][epoch]
        assert logs["val_loss"][epoch] == pytest.approx(weighed, rel=1e-5)
