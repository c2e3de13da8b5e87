"""Gradient estimators: their means against the plain one or the exact one, and their variance."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers, objectives
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import ForwardPass
from tfp_vae.objectives.gradient_gate import Gate
from tfp_vae.objectives.regularized_ae import squared_jacobian

tfd = tfp.distributions
X, COUNT = 1.2, 20_000
PRIOR = tfd.Normal(0.0, 1.0)


def gradients(objective, loc=0.1, scale=0.9, slope=0.8, count=COUNT, seed=0, shift=0.0):
    """Of one example, x ~ N(slope z, 1), `count` times over: `[count, 3]`, for loc, scale, slope.

    Each repetition has parameters of its own, so that each has a gradient of its own. `shift` is
    added to the log-likelihoods, `[num_samples]`.
    """
    loc, scale, slope = (tf.fill([count], value) for value in (loc, scale, slope))
    eps = tf.random.stateless_normal([objective.num_samples, count], [seed, 1])
    with tf.GradientTape() as tape:
        tape.watch([loc, scale, slope])
        q = tfd.Normal(loc, scale)
        gate = Gate() if objective.weighs_gradients else None
        z = loc + scale * eps
        z = z if gate is None else gate(z)
        log_likelihood = tfd.Normal(slope * z, 1.0).log_prob(X) + shift
        loss = objective(ForwardPass(q, PRIOR, z, log_likelihood, gate=gate)).loss
    return loss.numpy(), np.stack(tape.gradient(loss, [loc, scale, slope]), axis=-1)


ESTIMATED = {
    "stl": (objectives.MIWAE(4, 1), objectives.MIWAE(4, 1, "stl")),
    "dreg": (objectives.IWAE(4), objectives.IWAE(4, "dreg")),
    "dreg-groups": (objectives.MIWAE(2, 3), objectives.MIWAE(2, 3, "dreg")),
    "dreg-combined": (objectives.CIWAE(4, 0.3), objectives.CIWAE(4, 0.3, "dreg")),
}


@pytest.mark.parametrize(("plain", "other"), ESTIMATED.values(), ids=ESTIMATED.keys())
def test_without_the_score_the_mean_is_the_same_and_the_variance_less(plain, other):
    (loss, known), (same_loss, found) = gradients(plain), gradients(other)
    np.testing.assert_allclose(same_loss, loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[:, 2], known[:, 2], rtol=1e-3, atol=1e-5)  # the decoder's
    difference = (found - known)[:, :2]
    error = difference.std(axis=0) / np.sqrt(COUNT)
    assert (np.abs(difference.mean(axis=0)) < 4 * error).all()
    assert (error > 0).all()
    assert (found[:, :2].var(axis=0) < 0.7 * known[:, :2].var(axis=0)).all()


@pytest.mark.parametrize(("plain", "other"), ESTIMATED.values(), ids=ESTIMATED.keys())
def test_at_the_true_posterior_no_draw_has_a_gradient(plain, other):
    slope = 0.8
    variance = 1 / (1 + slope**2)
    at = {"loc": variance * slope * X, "scale": variance**0.5, "slope": slope, "count": 50}
    np.testing.assert_allclose(gradients(other, **at)[1][:, :2], 0.0, atol=2e-5)
    assert np.abs(gradients(plain, **at)[1][:, :2]).max() > 0.1


@pytest.mark.parametrize(
    "shift",  # the last: where float32 has no weight left for the decoder
    [0.0, *(np.float32([[0], [0], [0], [-low], [-low - 1], [-low - 2]]) for low in (60, 300))],
)
def test_piwae_is_iwae_to_the_decoder_and_miwae_to_the_encoder(shift):
    found = gradients(objectives.PIWAE(2, 3), count=100, shift=shift)
    iwae = gradients(objectives.IWAE(6), count=100, shift=shift)
    miwae = gradients(objectives.MIWAE(2, 3), count=100, shift=shift)
    np.testing.assert_allclose(found[0], iwae[0], rtol=1e-5)
    np.testing.assert_allclose(found[1][:, 2], iwae[1][:, 2], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(found[1][:, :2], miwae[1][:, :2], rtol=2e-3, atol=1e-4)
    assert np.abs(iwae[1] - miwae[1]).max() > 0.1


# -- VIMCO, against the exact gradient by enumeration ----------------------------------------------

CATEGORIES, MEANS = 3, tf.constant([-1.0, 0.5, 2.0])
LOGITS = tf.constant([0.3, -0.2, 0.1])
UNIFORM = tfd.OneHotCategorical(logits=tf.zeros(CATEGORIES))


def vimco_pass(objective, logits, z):
    gate = Gate()
    z = gate(z)
    log_likelihood = tfd.Normal(tf.linalg.matvec(z, MEANS), 0.7).log_prob(X)
    q = tfd.OneHotCategorical(logits=logits)
    return objective(ForwardPass(q, UNIFORM, z, log_likelihood, gate=gate)).loss


@pytest.mark.parametrize(
    "objective",
    [
        objectives.IWAE(2, "vimco"),
        objectives.MIWAE(2, 2, "vimco"),
        objectives.CIWAE(3, 0.4, "vimco"),
    ],
    ids=["iwae", "miwae", "ciwae"],
)
def test_vimco_has_the_mean_of_the_exact_gradient_and_less_variance(objective):
    k = objective.num_samples
    every = np.array(list(itertools.product(range(CATEGORIES), repeat=k))).T  # [K, combinations]
    z = tf.one_hot(every, CATEGORIES)
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        q = tfd.OneHotCategorical(logits=LOGITS)
        log_q = q.log_prob(z)
        log_w = (
            tfd.Normal(tf.linalg.matvec(z, MEANS), 0.7).log_prob(X) + UNIFORM.log_prob(z) - log_q
        )
        probability = tf.exp(tf.reduce_sum(log_q, axis=0))
        exact = tf.reduce_sum(probability * -objective.bound(log_w, 0))
    exact = tape.gradient(exact, LOGITS).numpy()

    logits = tf.tile(LOGITS[None], [every.shape[1], 1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = vimco_pass(objective, logits, z)
    each = tape.gradient(loss, logits).numpy()
    p = probability.numpy()[:, None]
    np.testing.assert_allclose((p * each).sum(axis=0), exact, rtol=1e-4, atol=1e-5)

    with tf.GradientTape() as tape:  # REINFORCE: the same without what the others say
        tape.watch(logits)
        log_q = tfd.OneHotCategorical(logits=logits).log_prob(z)
        likelihood = tfd.Normal(tf.linalg.matvec(z, MEANS), 0.7).log_prob(X)
        bound = objective.bound(likelihood + UNIFORM.log_prob(z) - log_q, 0)
        loss = -(bound + tf.stop_gradient(bound) * tf.reduce_sum(log_q, axis=0))
    simple = tape.gradient(loss, logits).numpy()
    np.testing.assert_allclose((p * simple).sum(axis=0), exact, rtol=1e-4, atol=1e-5)
    variance = [(p * (g - exact) ** 2).sum() for g in (each, simple)]
    assert variance[0] < 0.6 * variance[1]


def test_vimco_holds_a_draw_against_the_geometric_mean_of_the_others():
    """By loops, in two groups of three: any other constant would do, with more variance."""
    log_w = np.random.default_rng(0).normal(size=[6, 4]).astype("float32")
    objective = objectives.MIWAE(2, 3, "vimco")
    weights = objective.gradient_weights(tf.constant(log_w), 0)
    for k, example in itertools.product(range(6), range(4)):
        group = log_w[3 * (k // 3) : 3 * (k // 3) + 3, example].astype("float64")
        other = group.copy()
        other[k % 3] = np.delete(group, k % 3).mean()
        gain = (np.log(np.exp(group).mean()) - np.log(np.exp(other).mean())) / 2
        slope = np.exp(group[k % 3]) / np.exp(group).sum() / 2
        found = weights.score[k, example]
        np.testing.assert_allclose(found, slope - gain, rtol=1e-4, atol=1e-6)


def test_vimco_lets_no_gradient_through_z():
    _, found = gradients(objectives.IWAE(3, "vimco"), count=COUNT)
    _, plain = gradients(objectives.IWAE(3), count=COUNT, seed=1)
    error = np.sqrt(found.var(axis=0) + plain.var(axis=0)) / np.sqrt(COUNT)
    assert (np.abs(found.mean(axis=0) - plain.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.IWAE(3, "stl"), "one sample in each logarithm.*dreg"),
        (lambda: objectives.IWAE(1, "vimco"), "at least 2"),
        (lambda: objectives.IWAE(3, "best"), "one of"),
        (lambda: objectives.PIWAE(0, 2), "num_bounds >= 1"),
        (lambda: objectives.RegularizedAE(l2=-1.0), "l2 to be a number >= 0"),
    ],
)
def test_what_is_no_estimator_is_refused_in_words(make, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        make()


# -- the regularized autoencoder -------------------------------------------------------------------


@pytest.mark.again
def test_the_gradient_penalty_is_of_the_decoder_at_z():
    weights = tf.constant(np.random.default_rng(0).normal(size=[3, 5]).astype("float32"))
    z = tf.constant([[0.3, -0.2, 0.5], [1.0, 0.0, -1.0]])

    def decode(z):
        return layers.IndependentNormal(5)(
            tf.concat([tf.sin(z @ weights), tf.zeros([len(z), 5])], axis=-1)
        )

    with tf.GradientTape() as tape:
        tape.watch(z)
        mean = decode(z).mean()
    exact = tf.reduce_sum(tape.batch_jacobian(mean, z) ** 2, axis=[1, 2])
    given = {"has_density": False, "decode": decode}
    forward = ForwardPass(None, None, z[None], tf.zeros([1, 2]), **given)
    found = np.stack([
        squared_jacobian(ForwardPass(None, None, z[None], tf.zeros([1, 2]), step, **given))
        for step in range(300)
    ])  # fmt: skip
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - exact) < 4 * error).all()
    assert (found.std(axis=0) > 0).all()
    loss = objectives.RegularizedAE(z_weight=0.0, gradient_penalty=2.0)(forward).loss
    np.testing.assert_allclose(loss, 2.0 * found[0], rtol=1e-5)


def test_a_regularized_autoencoder_adds_its_terms():
    class Decoder:
        trainable_weights = (tf.constant([1.0, -2.0]), tf.constant([[3.0]]))

    z = tf.constant([[[3.0, 4.0], [0.0, 1.0]]])
    forward = ForwardPass(None, None, z, tf.constant([[-7.0, -8.0]]), decoder=Decoder)
    terms = objectives.RegularizedAE(z_weight=0.5, l2=0.1)(forward)
    np.testing.assert_allclose(terms.nll, [7.0, 8.0])
    np.testing.assert_allclose(terms.loss, [7 + 6.25 + 1.4, 8 + 0.25 + 1.4], rtol=1e-6)
    assert terms.kl is None
