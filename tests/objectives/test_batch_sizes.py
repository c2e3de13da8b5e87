"""No batch size changes what a penalty estimates; what a batch is too small for, it leaves out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import VAE, layers, objectives

tfd = tfp.distributions
D = 2
UNIT = tfd.Independent(tfd.Normal(tf.zeros(D), 1.0), 1)
SHIFT = np.float32([0.9, -0.5])
ROOT = np.float32([[1.2, 0.0], [0.7, 0.6]])  # of the covariance of the posterior means


def forward(q, z, step=0, prior=UNIT):
    return objectives.ForwardPass(q, prior, z, tf.zeros(tf.shape(z)[:2]), step)


def many(penalty, size, repeats, *shapes):
    """Penalties of `repeats` batches of Normal noise, of the shapes that follow [size]."""

    @tf.function(autograph=False)
    def run():
        def one(step):
            each = [
                tf.random.stateless_normal([*front, size, *back], [step, 10 + number])
                for number, (front, back) in enumerate(shapes)
            ]
            return penalty(*each, step)

        return tf.map_fn(one, tf.range(repeats), fn_output_signature=tf.float32)

    return run().numpy()


def agrees(found, exact):
    error = found.std() / np.sqrt(len(found))
    assert error > 0
    assert found.mean() == pytest.approx(exact, abs=4 * error)


MMD_EXACT = 2 * (1 + 2 / D) ** (-D / 2) * (1 - np.exp(-(SHIFT**2).sum() / (2 * (D + 2))))


@pytest.mark.parametrize("size", [2, 3, 64])
@pytest.mark.parametrize("draws", [1, 3])
def test_mmd_is_of_different_examples_whatever_the_batch(size, draws):
    """z = shift + a Normal; with several draws, most of it is the example's own."""
    objective = objectives.MMD(kernel="rbf")

    def penalty(mean, noise, step):
        z = SHIFT + mean if draws == 1 else SHIFT + 0.8 * mean + 0.6 * noise
        return objective.penalty(forward(None, z, step))

    shapes = ([1], [D]), ([draws], [D])
    agrees(many(penalty, size, 4000 if size < 64 else 200, *shapes), MMD_EXACT)


@pytest.mark.parametrize("size", [4, 5, 64])
@pytest.mark.parametrize("kind", [1, 2])
def test_dip_is_of_the_datas_covariance_whatever_the_batch(size, kind):
    """The posterior's variances go with its means: v = 0.3 + m^2 / 2 in each dimension."""
    c = (ROOT @ ROOT.T).astype("float64")
    if kind == 2:
        c = c + np.diag(0.3 + np.diag(c) / 2)
    exact = (c**2).sum() - (np.diag(c) ** 2).sum() + 3 * ((np.diag(c) - 1) ** 2).sum()
    objective = objectives.DIP(kind=kind, diagonal=3.0)

    def penalty(noise, step):
        mean = tf.matmul(noise, ROOT, transpose_b=True)
        q = tfd.MultivariateNormalDiag(5.0 + mean, tf.sqrt(0.3 + mean**2 / 2))
        return objective.penalty(forward(q, mean[tf.newaxis], step))

    agrees(many(penalty, size, 4000 if size < 64 else 400, ([], [D])), exact)


SMALL = [
    (lambda: objectives.MMD(), 1),
    (lambda: objectives.MMD(kernel="rbf", beta=1.0), 1),
    (lambda: objectives.SlicedWasserstein(), 1),
    *[(lambda kind=kind: objectives.DIP(kind=kind), n) for kind in (1, 2) for n in (1, 2, 3)],
    (lambda: objectives.BetaTC(1000, beta=1.0), 1),
    (lambda: objectives.BetaTC(1000, beta=6.0), 1),
    (lambda: objectives.BetaTC(1000, beta=6.0, sampling="weighted"), 1),
]


@pytest.mark.one
@pytest.mark.parametrize(("make", "size"), SMALL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_that_is_too_small_adds_nothing_but_its_kl(make, size, dtype):
    objective = make()
    loc = tf.constant(np.random.default_rng(0).normal(size=[size, D]), dtype)
    unit = tfd.Independent(tfd.Normal(tf.zeros(D, dtype), tf.ones([], dtype)), 1)

    def run(loc):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(loc)
            q = tfd.Independent(tfd.Normal(loc, tf.constant(0.4, dtype)), 1)
            terms = objective(
                objectives.ForwardPass(q, unit, (loc + 0.3)[None], tf.zeros([1, size], dtype))
            )
            drawn = q.log_prob(loc + 0.3) - unit.log_prob(loc + 0.3)
            kl = drawn if isinstance(objective, objectives.BetaTC) else terms.kl
        beta = getattr(objective, "beta", 0.0) if hasattr(objective, "weight") else 1.0
        gradients = tape.gradient(terms.loss, loc), tape.gradient(kl, loc)
        return terms.loss, beta * kl, gradients[0], beta * gradients[1]

    for function in (run, tf.function(run, jit_compile=True)):
        loss, kl, gradient, expected = function(loc)
        np.testing.assert_allclose(loss, kl, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 9])
def test_stratified_weights_are_of_one_example_in_all(size):
    """Five examples in the data: a batch of more counts as all there are."""
    weights = np.exp(objectives.BetaTC(5)._log_weights(tf.constant(size)).numpy())
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.diag(weights), 1.0 if size == 1 else 1 / max(5, size), rtol=1e-5)
    assert (weights >= 0).all()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_stratified_weights_have_the_same_mean_density_at_any_size(size):
    """Of 6 examples, over random batches with the first one in front."""
    rng = np.random.default_rng(1)
    density = rng.uniform(size=6)
    weights = np.exp(objectives.BetaTC(6)._log_weights(tf.constant(size)).numpy()[0])
    found = []
    for _ in range(20_000):
        others = 1 + rng.permutation(5)[: size - 1]
        found.append(weights @ density[[0, *others]])
    agrees(np.array(found), density.mean())


@pytest.mark.one
@pytest.mark.parametrize(
    "make",
    [
        lambda: objectives.MMD(999.0, "rbf", 1.0),
        lambda: objectives.MMD(10.0),
        lambda: objectives.DIP(),
        lambda: objectives.DIP(kind=1),
        lambda: objectives.SlicedWasserstein(),
        lambda: objectives.BetaTC(129),
    ],
)
def test_a_last_batch_of_one_is_one_example_of_129(make):
    """Against one batch of all: what is left out is the last example's share of the penalty."""
    x = np.random.default_rng(0).normal(size=[129, 6]).astype("float32")
    encoder = keras.Sequential([
        keras.Input((6,)), keras.layers.Dense(2 * D, kernel_initializer=keras.initializers
                                              .GlorotUniform(seed=1)),
        layers.IndependentNormal(D, seed=1),
    ])  # fmt: skip
    decoder = keras.Sequential(
        [keras.Input((D,)), keras.layers.Dense(12), layers.IndependentNormal(6)]
    )
    vae = VAE(encoder, decoder, objective=make())
    vae.compile("adam", jit_compile=False)

    def penalty(size):
        logs = [vae.evaluate(x, batch_size=size, verbose=0, return_dict=True) for _ in range(8)]
        return np.array([each["loss"] - each["nll"] - each["kl"] for each in logs])

    whole, parted = penalty(129), penalty(128)
    error = np.sqrt((whole.var() + parted.var()) / 8)
    assert abs(whole.mean() - parted.mean()) < 4 * error + 0.02 * abs(whole.mean())


@pytest.mark.again
@pytest.mark.parametrize("size", [2, 3, 33])
def test_sliced_wasserstein_is_0_on_average_where_z_is_as_the_prior(size):
    prior = tfd.MultivariateNormalDiag(tf.zeros(2))
    objective = objectives.SlicedWasserstein(num_projections=20)

    def at(step):
        z = prior.sample([1, size], seed=tf.stack([step, 77]))
        zeros = tf.zeros([1, size])
        return objective.penalty(objectives.ForwardPass(prior, prior, z, zeros, step=step))

    values = tf.map_fn(at, tf.range(2000), fn_output_signature=tf.float32).numpy()
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(2000)
