"""What a capacity holds: the mean KL, of the categories for relaxed ones, without its noise."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, data, layers, objectives, priors, recipes
from tfp_vae.distributions.divergence import blocks
from tfp_vae.distributions.relaxation import discrete, discrete_kl

tfd = tfp.distributions
B, K = 6, 4
RNG = np.random.default_rng(0)
T = RNG.normal(size=[B, K]).astype("float32")
P = RNG.normal(size=[K]).astype("float32")


def categorical_kl(q, p=None):
    """sum_k q_k log q_k / p_k over the last axis of logits; p uniform."""
    log_q = scipy.special.log_softmax(q.astype("float64"), axis=-1)
    log_p = scipy.special.log_softmax(np.zeros(q.shape[-1]) if p is None else p, axis=-1)
    return (np.exp(log_q) * (log_q - log_p)).sum(axis=-1)


def bits_kl(q, p):
    q, p = scipy.special.expit(q.astype("float64")), scipy.special.expit(p)
    return (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).sum(axis=-1)


layer = layers.RelaxedOneHotCategorical
two = T.reshape(B, 2, 2)
PAIRS = {
    "tfd": (tfd.RelaxedOneHotCategorical(0.3, T), tfd.RelaxedOneHotCategorical(2.0, P),
            categorical_kl(T, P)),
    "probs": (tfd.RelaxedOneHotCategorical(0.3, probs=scipy.special.softmax(T, axis=-1)),
              tfd.RelaxedOneHotCategorical(0.3, P), categorical_kl(T, P)),
    "logarithms": (tfd.ExpRelaxedOneHotCategorical(0.3, T),
                   tfd.ExpRelaxedOneHotCategorical(0.3, P), categorical_kl(T, P)),
    "to one-hot": (tfd.RelaxedOneHotCategorical(0.3, T), tfd.OneHotCategorical(P, dtype=tf.float32),
                   categorical_kl(T, P)),
    "layer": (layer(K)(T), layer(K).default_prior((K,)), categorical_kl(T)),
    "several": (layer(2, num_variables=2)(T), layer(2, num_variables=2).default_prior((4,)),
                categorical_kl(two).sum(axis=-1)),
    "bits": (tfd.Independent(tfd.RelaxedBernoulli(0.3, T), 1),
             tfd.Independent(tfd.RelaxedBernoulli(0.3, P), 1), bits_kl(T, P)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_relaxed_kl_is_held_to_the_capacity_as_that_of_the_categories(name):
    q, p, expected = PAIRS[name]
    np.testing.assert_allclose(discrete_kl(q, p), expected, rtol=1e-3, atol=1e-5)
    assert (expected <= np.log(K) + 1e-6).all() or name != "layer"
    z = q.sample(1, seed=(1, 2))
    forward = objectives.ForwardPass(q, p, z, tf.zeros([1, B]))
    for c in (0.1, 5.0):
        terms = objectives.ELBO(beta=3.0, capacity=c)(forward)
        found = tf.reduce_mean(terms.loss)
        np.testing.assert_allclose(found, 3.0 * np.abs(expected.mean() - c), rtol=1e-3)
    each = objectives.ELBO(capacity=0.1, capacity_of="example")(forward).loss
    np.testing.assert_allclose(each, np.abs(expected - 0.1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("d", [
    tfd.Normal(0.0, 1.0), priors.unit_normal(3),
    tfd.MixtureSameFamily(tfd.Categorical(tf.zeros(2)), tfd.RelaxedOneHotCategorical(0.3, T[:2])),
])  # fmt: skip
def test_what_stands_for_nothing_discrete(d):
    assert discrete(d) is None
    assert discrete_kl(tfd.RelaxedOneHotCategorical(0.3, T), d) is None


LAPLACE = tfd.Laplace(0.0, 1.0)  # no closed form against a Normal
EXACT = float(np.log(2) + np.sqrt(2 / np.pi) - 0.5 * np.log(2 * np.pi * np.e))  # of N(0, 1)


def drawn(objective, loc, size, repeats, blocks=False):
    """Losses and gradients for loc, `repeats` batches of `size` like examples N(loc, 1)."""

    def one(step):
        with tf.GradientTape() as tape:
            tape.watch(loc)
            q, p = tfd.Normal(tf.fill([size], loc), 1.0), LAPLACE
            noise = tf.random.stateless_normal([1, size], [step, 99])
            z = loc + noise
            if blocks:
                q, p, z = (
                    tfd.Blockwise(
                        [tfd.Independent(tfd.Normal(loc * tf.ones([size, 1]), 1.0), 1)] * 2
                    ),
                    tfd.Blockwise([tfd.Independent(tfd.Laplace([0.0], 1.0), 1)] * 2),
                    tf.stack([z, z], axis=-1),
                )
            terms = objective(objectives.ForwardPass(q, p, z, tf.zeros([1, size]), step))
            loss = tf.reduce_mean(terms.loss)
        return loss, tape.gradient(loss, loc)

    def run():
        signature = (tf.float32, tf.float32)
        return tf.map_fn(one, tf.range(repeats), fn_output_signature=signature)

    return [value.numpy() for value in tf.function(run, autograph=False)()]


def agrees(found, exact):
    error = found.std() / np.sqrt(len(found))
    assert error > 0
    assert found.mean() == pytest.approx(exact, abs=4 * error)


@pytest.mark.parametrize("of", ["mean", "example"])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_noise_of_a_kl_by_monte_carlo_is_not_penalized_at_the_capacity(of, blocks):
    """KL = C: the distance is 0, where |draw - C| has a mean of about 0.8 standard deviations."""
    c = [EXACT] * 2 if blocks else EXACT
    objective = objectives.ELBO(capacity=c, capacity_of=of)
    loss, _ = drawn(objective, tf.constant(0.0), 8, 4000, blocks)
    agrees(loss, 0.0)


@pytest.mark.parametrize("c", [0.0, 8.0])
def test_away_from_the_capacity_value_and_gradient_are_those_of_the_exact_distance(c):
    loc = 1.5
    points = np.linspace(-12, 12, 200_001)
    step = points[1] - points[0]

    def kl(loc):
        density = scipy.stats.norm(loc, 1).pdf(points)
        ratio = scipy.stats.norm(loc, 1).logpdf(points) - scipy.stats.laplace.logpdf(points)
        return (density * ratio).sum() * step

    exact, slope = kl(loc), (kl(loc + 1e-4) - kl(loc - 1e-4)) / 2e-4
    loss, gradient = drawn(objectives.ELBO(capacity=c), tf.constant(loc), 64, 2000)
    agrees(loss, abs(exact - c))
    agrees(gradient, np.sign(exact - c) * slope)


def test_weights_of_examples_weigh_their_share():
    """An example of weight 0 has no gradient from the capacity either."""
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False),
                                layers.IndependentNormal(1)])  # fmt: skip
    decoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2),
                                layers.IndependentNormal(1)])  # fmt: skip
    vae = VAE(encoder, decoder, objective=objectives.ELBO(beta=2.0, capacity=0.5))
    decoder.layers[0].kernel.assign(tf.zeros([1, 2]))
    x = tf.eye(2)  # each example has a row of the kernel for itself
    with tf.GradientTape() as tape:
        p = vae(x, training=True)
        loss = vae.compute_loss(x, tf.zeros([2, 1]), p, sample_weight=tf.constant([1.0, 0.0]))
    gradient = tape.gradient(loss, encoder.trainable_weights[0]).numpy()
    assert (gradient[0] != 0).any()
    np.testing.assert_array_equal(gradient[1], 0.0)


def test_a_config_without_the_option_is_of_the_mean():
    config = objectives.ELBO(capacity=2.0).get_config()
    assert config.pop("capacity_of") == "mean"
    assert objectives.ELBO.from_config(config).capacity_of == "mean"


@pytest.mark.again
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_xla_with_a_dynamic_batch(dtype):
    joint = layers.Joint(
        [layers.IndependentNormal(2, dtype=dtype), layer(3, dtype=dtype)], dtype=dtype
    )
    keras.config.set_dtype_policy(dtype)
    prior = joint.default_prior((5,))
    objective = objectives.ELBO(10.0, capacity=(1.0, 0.5))

    def run(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = joint(t)
            z = tf.convert_to_tensor(q)[tf.newaxis]
            zeros = tf.zeros(tf.shape(z)[:2], z.dtype)
            loss = tf.reduce_mean(objective(objectives.ForwardPass(q, prior, z, zeros)).loss)
        return loss, tape.gradient(loss, t)

    t = tf.constant(RNG.normal(size=[5, joint.num_parameters]), dtype)
    spec = [tf.TensorSpec([None, joint.num_parameters], dtype)]
    compiled = tf.function(run, jit_compile=True, input_signature=spec)
    for mine, known in zip(compiled(t), run(t), strict=True):
        np.testing.assert_allclose(mine, known, rtol=1e-4, atol=1e-6)
    m, s = t[:, :2].numpy(), np.logaddexp(0, t[:, 2:4].numpy())
    kl = ((s**2 + m**2 - 1) / 2 - np.log(s)).sum(axis=1).mean()
    categories = categorical_kl(t[:, 4:].numpy()).mean()
    expected = 10 * (abs(kl - 1) + abs(categories - 0.5))
    np.testing.assert_allclose(run(t)[0], expected, rtol=1e-3)


@pytest.mark.again  # trains for half a minute
def test_the_categories_of_the_joint_recipe_fill_their_capacity(digits):
    x = data.binarized(digits.train)
    steps = 40 * -(-len(x) // 64)
    vae = recipes.build("joint_vae", recipes.Setting((8, 8, 1), len(x), steps=steps, latent_size=4))
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(x, batch_size=64, epochs=40, verbose=0)
    q = vae.encode(x)
    normal, categories = blocks(q, vae.prior.distribution(), tf.convert_to_tensor(q))
    kls = discrete_kl(*categories[:2]), normal.posterior.kl_divergence(normal.prior)
    for kl, capacity in zip(kls, (np.log(10), 5.0), strict=True):
        assert float(tf.reduce_mean(kl)) == pytest.approx(capacity, rel=0.1)
