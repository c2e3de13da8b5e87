"""Posteriors other than a Normal: their priors, what stands for them, and how they train."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, NegativeLogLikelihood, layers, networks, priors, schedules
from tfp_vae.distributions import divergence
from tfp_vae.errors import InputError
from tfp_vae.layers.kl_divergence import KLDivergenceRegularizer

tfd = tfp.distributions
SHAPE = (8, 8, 1)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def slow_decay():
    return keras.optimizers.schedules.ExponentialDecay(1.0, 50, 0.5)


POSTERIORS = {
    "gamma": lambda: layers.Gamma(3),
    "planar": lambda: layers.PlanarFlow(3, 1),
    "inverse autoregressive": lambda: layers.InverseAutoregressiveFlow(3, 1, [8], 4),
    "relaxed": lambda: layers.RelaxedOneHotCategorical(
        4, slow_decay(), num_variables=3, prior_temperature=0.7
    ),
    "joint": lambda: layers.Joint(
        [
            layers.IndependentNormal(2),
            layers.RelaxedOneHotCategorical(4, slow_decay()),
            layers.PlanarFlow(2, 1),
        ]
    ),
}


def vae_of(posterior, **kwargs):
    keras.utils.set_random_seed(0)
    encoder = networks.encoder(SHAPE, posterior, widths=(32,))
    likelihood = layers.IndependentBernoulli(SHAPE)
    decoder = networks.decoder(encoder.output_shape[-1], likelihood, widths=(32,))
    return VAE(encoder, decoder, **kwargs)


@pytest.mark.one
@pytest.mark.parametrize("make", POSTERIORS.values(), ids=POSTERIORS.keys())
def test_as_the_posterior_of_a_vae(make, x, tmp_path):
    """It trains against its own prior, reconstructs, samples, and comes back from its file."""
    vae = vae_of(make())
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    losses = vae.fit(x, batch_size=32, epochs=3, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert np.isfinite(
        vae.log_likelihood_batch.python_function(({"x": x[:4]}, {}), tf.constant(5))
    ).all()
    assert np.isfinite(vae.sample(3, seed=1)).all()
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras", safe_mode=True)
    np.testing.assert_array_equal(again.reconstruct(x[:3]), vae.reconstruct(x[:3]))
    np.testing.assert_array_equal(again.encode(x[:3]).value(), vae.encode(x[:3]).value())
    np.testing.assert_array_equal(again.sample(3, seed=1), vae.sample(3, seed=1))


# -- Gamma ------------------------------------------------------------------------------------


def test_the_kl_of_gammas_is_that_of_quadrature():
    layer = layers.Gamma(2)
    t = numbers(3, 4)
    q, p = layer(t), layer.default_prior((2,))
    each = scipy.stats.gamma(np.logaddexp(0, t[:, :2]), scale=1 / np.logaddexp(0, t[:, 2:]))
    u = (np.arange(200_000) + 0.5) / 200_000
    z = each.ppf(u[:, None, None])
    expected = (each.logpdf(z) - scipy.stats.expon().logpdf(z)).mean(axis=0).sum(axis=-1)
    exact = divergence.kl_divergence(q, p, points=None, exact=True)
    np.testing.assert_allclose(exact, expected, rtol=2e-3)


@pytest.mark.one
@pytest.mark.parametrize("compiled", [False, True])
def test_gammas_of_any_parameters_have_draws_with_density_and_gradient(compiled):
    layer = layers.Gamma(4, seed=1)
    t = tf.constant(np.random.default_rng(0).uniform(-30, 30, [5000, 8]), tf.float32)

    @tf.function(jit_compile=compiled)
    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = layer(t)
            z = tf.convert_to_tensor(q)
            log_prob = q.log_prob(z)
            value = tf.reduce_sum(log_prob) + tf.reduce_sum(z)
        return z, log_prob, tape.gradient(value, t)

    z, log_prob, gradient = run(t)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(gradient).all()
    assert (z.numpy() > 0).all()


@pytest.mark.parametrize("concentration", [0.1, 1.0, 5.0])
def test_gammas_draws_and_their_gradient(concentration):
    """Draws by Kolmogorov and Smirnov's test; dE[z] / da = 1 / rate, dE[log z] / da = psi'(a)."""
    a = tf.fill([40_000], concentration)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        t = tfp.math.softplus_inverse(tf.stack([a, tf.fill(a.shape, 2.0)], axis=-1))
        z = layers.Gamma((), seed=1)(t).value()
        log = tf.math.log(z)
    assert scipy.stats.kstest(z, scipy.stats.gamma(concentration, scale=0.5).cdf).pvalue > 1e-3
    for value, expected in ((z, 0.5), (log, scipy.special.polygamma(1, concentration))):
        found = tape.gradient(value, a).numpy()
        allowed = 4.5 * found.std() / np.sqrt(len(found))
        np.testing.assert_allclose(found.mean(), expected, atol=allowed)


# -- categories -------------------------------------------------------------------------------


def test_several_relaxed_categoricals_are_one_beside_the_other():
    t, x = numbers(5, 6), scipy.special.softmax(numbers(5, 2, 3, seed=1), axis=-1)
    q = layers.RelaxedOneHotCategorical(3, 0.4, num_variables=2)(t)
    one = layers.RelaxedOneHotCategorical(3, 0.4)(t.reshape(5, 2, 3))
    expected = one.log_prob(x).numpy().sum(axis=-1)
    np.testing.assert_allclose(q.log_prob(x.reshape(5, 6)), expected, rtol=1e-5)
    np.testing.assert_allclose(q.value().numpy().reshape(5, 2, 3).sum(axis=-1), 1, rtol=1e-5)


def test_the_one_hot_vectors_of_the_largest_logits_stand_for_categoricals():
    t = numbers(5, 6)
    hard = np.eye(3)[t.reshape(5, 2, 3).argmax(axis=-1)]
    several = layers.RelaxedOneHotCategorical(3, num_variables=2)
    np.testing.assert_array_equal(several.representative(several(t)), hard.reshape(5, 6))
    for one in (layers.RelaxedOneHotCategorical(3), layers.OneHotCategorical(3)):
        np.testing.assert_array_equal(one.representative(one(t[:, :3])), hard[:, 0])


def test_the_prior_of_a_one_hot_vector_is_uniform():
    for dtype in (None, "int32"):
        layer = layers.OneHotCategorical(3, sample_dtype=dtype)
        t, p = numbers(4, 3), layer.default_prior((3,))
        assert p.sample(seed=1).dtype == layer(t).dtype
        probability = scipy.special.softmax(t, axis=-1)
        exact = divergence.kl_divergence(layer(t), p, points=None, exact=True)
        expected = (probability * np.log(3 * probability)).sum(axis=-1)
        np.testing.assert_allclose(exact, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"temperature": 0.3}, 0.3),
        ({"temperature": keras.Variable(0.4, trainable=False)}, 0.4),
        ({"temperature": 0.3, "prior_temperature": 0.7}, 0.7),
        ({"temperature": slow_decay()}, 1.0),
        ({"temperature": slow_decay(), "prior_temperature": 0.7}, 0.7),
    ],
)
def test_the_prior_of_a_relaxed_categorical_is_uniform_at_one_temperature(arguments, expected):
    layer = layers.RelaxedOneHotCategorical(3, num_variables=2, **arguments)
    prior = priors.as_prior(layer.default_prior((6,)))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    x = scipy.special.softmax(numbers(5, 2, 3), axis=-1)
    one = tfd.RelaxedOneHotCategorical(expected, logits=np.zeros(3, "float32"))
    for p in (prior.distribution(), again.distribution()):
        found = p.log_prob(x.reshape(5, 6))
        np.testing.assert_allclose(found, one.log_prob(x).numpy().sum(axis=-1), rtol=1e-5)


@pytest.mark.one
@pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_a_scheduled_temperature_follows_the_training_steps(mode, tmp_path):
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 100, 0.5)
    layer = layers.RelaxedOneHotCategorical(3, schedule, seed=1)
    model = keras.Sequential([keras.Input((3,)), layer])
    inputs, x = numbers(32, 3), scipy.special.softmax(numbers(32, 3, seed=1), axis=-1)

    def now(layer):
        return float(layer(inputs).distribution.temperature)

    model.compile("adam", NegativeLogLikelihood(), **mode)
    model.evaluate(inputs, x, batch_size=8, verbose=0)
    assert now(layer) == float(schedule(0))
    model.fit(inputs, x, batch_size=8, epochs=2, verbose=0)
    assert now(layer) == pytest.approx(float(schedule(7)))  # that of the last of 8 steps
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert now(again.layers[-1]) == now(layer)
    assert int(again.layers[-1].step.count) == 8


def test_a_scheduled_temperature_among_the_blocks_follows_the_training_steps():
    relaxed = layers.RelaxedOneHotCategorical(3, slow_decay())
    layer = layers.Joint([layers.IndependentNormal(2), relaxed])
    for training in (True, False, True, None):
        layer(numbers(4, 7), training=training)
    assert int(relaxed.step.count) == 2


# -- several posteriors side by side ------------------------------------------------------------


def parts_of(layer, t):
    ends = np.cumsum([each.num_parameters for each in layer.posteriors])[:-1]
    split = np.split(t, ends, axis=-1)
    return [each(own) for each, own in zip(layer.posteriors, split, strict=True)]


def mixed():
    """A block whose KL has a closed form, and one whose KL has none."""
    return layers.Joint([layers.IndependentNormal(2), layers.RelaxedOneHotCategorical(3)], seed=1)


def test_the_kl_of_blocks_is_exact_where_it_can_be_and_at_the_given_z_elsewhere():
    layer = mixed()
    t = numbers(4, layer.num_parameters)
    q, p, (normal, relaxed) = layer(t), layer.default_prior((5,)), parts_of(layer, t)
    exact = tfd.kl_divergence(normal, p.distributions[0])
    for z in (q.value(), q.sample(6)):
        by_draws = relaxed.log_prob(z[..., 2:]) - p.distributions[1].log_prob(z[..., 2:])
        found = divergence.kl_divergence(q, p, points=lambda z=z: z)
        np.testing.assert_allclose(found, exact + by_draws, rtol=1e-4, atol=1e-5)
        all_by_draws = q.log_prob(z) - p.log_prob(z)
        found = divergence.kl_divergence(q, p, points=lambda z=z: z, exact=False)
        np.testing.assert_allclose(found, all_by_draws, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no closed form"):
        divergence.kl_divergence(q, p, points=None, exact=True)


def test_blocks_with_closed_forms_need_no_draw():
    layer = layers.Joint([layers.IndependentNormal(2), layers.PowerSpherical(3)])
    t = numbers(4, layer.num_parameters)
    p = layer.default_prior((5,))
    expected = sum(
        tfd.kl_divergence(block, prior)
        for block, prior in zip(parts_of(layer, t), p.distributions, strict=True)
    )
    found = divergence.kl_divergence(layer(t), p, points=None, exact=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_prior_of_other_blocks_is_compared_at_draws():
    normal = lambda d: tfd.MultivariateNormalDiag(tf.zeros(d))  # noqa: E731
    layer = layers.Joint([layers.MultivariateNormalDiag(2), layers.MultivariateNormalDiag(3)])
    ours = layer(numbers(4, layer.num_parameters))
    theirs = tfd.Blockwise([normal(2), normal(3)])
    z = ours.sample(7)
    for q, sizes in itertools.product((ours, theirs), ((3, 2), (1, 4), (1, 1, 3))):
        p = tfd.Blockwise([normal(size) for size in sizes])
        found = divergence.kl_divergence(q, p, points=lambda: z)
        np.testing.assert_allclose(found, q.log_prob(z) - p.log_prob(z), rtol=1e-5)
        assert len(divergence.blocks(q, p, z)) == 1


def test_blocks_are_drawn_independently():
    layer = layers.Joint([layers.IndependentNormal(1), layers.IndependentNormal(1)], seed=1)
    z = layer(np.zeros([1, 4], "float32")).sample(10_000).numpy()[:, 0]
    assert abs(np.corrcoef(z.T)[0, 1]) < 0.05


def test_the_blocks_of_a_joint_posterior():
    layer = mixed()
    t = numbers(4, layer.num_parameters)
    q, p = layer(t), layer.default_prior((5,))
    z = q.sample(6)
    normal, relaxed = divergence.blocks(q, p, z)
    np.testing.assert_array_equal(normal.z, z[..., :2])
    np.testing.assert_array_equal(relaxed.z, z[..., 2:])
    for block, own in zip((normal, relaxed), parts_of(layer, t), strict=True):
        np.testing.assert_allclose(block.posterior.log_prob(block.z), own.log_prob(block.z))
        assert block.prior.log_prob(block.z).shape == [6, 4]


def test_moments_of_a_joint_posterior_are_those_of_its_blocks():
    layer = layers.Joint([layers.IndependentNormal(2), layers.Gamma(3)])
    t = numbers(4, layer.num_parameters) + 2
    q, (normal, gamma) = layer(t), parts_of(layer, t)
    for what in ("mean", "mode", "variance", "stddev"):
        expected = np.concatenate([getattr(d, what)() for d in (normal, gamma)], axis=-1)
        np.testing.assert_allclose(getattr(q, what)(), expected, rtol=1e-5)
    np.testing.assert_allclose(q.entropy(), normal.entropy() + gamma.entropy(), rtol=1e-5)
    kl = tfd.kl_divergence(q, layer.default_prior((5,)))
    np.testing.assert_allclose(kl, divergence.kl_divergence(q, layer.default_prior((5,)), None))


def test_a_flow_among_the_blocks_is_not_inverted_for_its_own_draws(monkeypatch):
    layer = layers.Joint([layers.IndependentNormal(2), layers.InverseAutoregressiveFlow(5, 2)])
    t, passes = numbers(4, layer.num_parameters), []
    call = layers.AutoregressiveNetwork.call
    monkeypatch.setattr(
        layers.AutoregressiveNetwork,
        "call",
        lambda self, *args, **kwargs: passes.append(1) or call(self, *args, **kwargs),
    )
    q, p = layer(t), layer.default_prior((7,))
    known = divergence.kl_divergence(q, p, points=q.value)
    assert len(passes) == 2
    found = divergence.kl_divergence(q, p, points=lambda: q.value().numpy())
    assert len(passes) == 2 + 2 * (5 + 1)
    np.testing.assert_allclose(known, found, rtol=1e-4)


def test_what_stands_for_a_joint_posterior_is_what_stands_for_its_blocks():
    layer = layers.Joint([mixed(), layers.PowerSpherical(3)])
    t = numbers(4, layer.num_parameters)
    _, sphere = parts_of(layer, t)
    hard = np.eye(3)[t[:, 4:7].argmax(axis=-1)]
    found = layer.representative(layer(t))
    np.testing.assert_allclose(found[:, :2], t[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(found[:, 2:5], hard)
    np.testing.assert_allclose(tf.norm(found[:, 5:], axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[:, 5:], layers.PowerSpherical(3).representative(sphere))


def test_a_joint_posterior_with_draws_that_have_no_gradient_is_refused(x):
    vae = vae_of(layers.Joint([layers.IndependentNormal(2), layers.OneHotCategorical(3)]))
    vae.compile("adam", run_eagerly=True)
    with pytest.raises(InputError, match="reparameterized"):
        vae.fit(x, verbose=0)


def test_a_joint_posterior_carries_a_regularizer():
    layer = mixed()
    kl = KLDivergenceRegularizer(layer.default_prior((5,)), weight=schedules.warm_up(10))
    layer = layers.Joint(layer.posteriors, activity_regularizer=kl)
    t = numbers(4, layer.num_parameters)
    for step in (0, 1):
        q = layer(t, training=True)
        kl = tf.reduce_mean(
            divergence.kl_divergence(q, layer.kl_regularizer.distribution_b, q.value)
        )
        np.testing.assert_allclose(layer.losses, [step / 10 * kl], rtol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.Joint([]), "fixed number of parameters"),
        (lambda: layers.Joint([keras.layers.Dense(2)]), "fixed number of parameters"),
        (
            lambda: layers.Joint([layers.IndependentNormal((2, 2))])(np.zeros([1, 8], "float32")),
            "over vectors",
        ),
        (
            lambda: layers.Joint([networks.encoder(SHAPE, 2).layers[-1]]),
            "KLDivergenceRegularizer on the Joint",
        ),
        (lambda: layers.RelaxedOneHotCategorical(3, num_variables=0), "num_variables >= 1"),
        (lambda: layers.RelaxedOneHotCategorical(3, prior_temperature=0.0), "prior_temperature"),
        (lambda: layers.RelaxedOneHotCategorical(3, schedules.warm_up(3)), "positive temperature"),
    ],
)
def test_impossible_posteriors_are_refused_in_words(build, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        build()


@pytest.mark.parametrize(
    "layer",
    [
        layers.Gamma(2, min_concentration=3.0, min_rate=2.0),
        layers.RelaxedOneHotCategorical(3, num_variables=2, prior_temperature=0.2),
        layers.RelaxedOneHotCategorical(3, slow_decay()),
        layers.Joint([layers.Gamma(2, min_rate=2.0), layers.IndependentNormal(1, min_scale=3.0)]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_the_config_has_what_is_not_the_default(layer):
    again = type(layer).from_config(layer.get_config())
    t = numbers(3, layer.num_parameters)
    x = layer(t).sample(seed=1)
    np.testing.assert_array_equal(again(t).log_prob(x), layer(t).log_prob(x))
    shape = tuple(layer(t).event_shape)
    p, q = layer.default_prior(shape), again.default_prior(shape)
    np.testing.assert_array_equal(p.log_prob(x), q.log_prob(x))
