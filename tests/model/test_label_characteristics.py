"""CCVAE: a label that is told by z, its bound against its parts, and against log p."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import SIZE, Bernoulli, Normal, X, data, net
from scipy import special, stats
from test_semi_supervised import MEANS, half_known, m2

from tfp_vae import InputError, LatentModel, layers
from tfp_vae.objectives import LabelCharacteristics
from tfp_vae.objectives.batch import draws_of_its_own

tfd = tfp.distributions
LABEL = layers.OneHotCategorical


def ccvae(objective):
    return LatentModel(
        {
            "z_rest": (net(X, Normal(1)), None),  # before y: decoded once for all labels
            "y": (net({"z_c": (2,)}, LABEL(3)), None),
            "z_c": (net(X, Normal(2)), net({"y": (3,)}, Normal(2))),
        },
        {"x": net({"z_c": (2,), "z_rest": (1,)}, Bernoulli(SIZE))},
        objective=objective,
    )


def of_rows(distribution):
    """log p of values `[samples, batch, ...]`, in NumPy."""
    return lambda value: np.asarray(distribution.log_prob(value), "float64")


def test_known_labels_weigh_the_draws_of_z():
    each, alpha = 2, 3.0
    model = ccvae(LabelCharacteristics("y", alpha, beta=0.5, num_samples_each=each))
    given = {name: tf.constant(value) for name, value in half_known(8).items()}
    forward = model._forward(given, True, 3 * each).forward.observing({"x": given["x"]}, step=5)
    x, y, known = given["x"], given["y"].numpy(), ~np.isnan(given["y"][:, 0])
    label = np.where(known[:, None], y, 0)
    q = {n: model.posteriors[n](x) for n in ("z_c", "z_rest")}
    z = {n: forward[n].value for n in q}  # [3 * each, batch, ...]
    np.testing.assert_array_equal(z["z_c"][0], z["z_c"][1])
    assert forward["x"].p.batch_shape == [8 * each]
    further = draws_of_its_own(forward, forward["z_c"], 9)

    def log_y(z_c):
        logits = np.stack([model.posteriors["y"](one).logits for one in z_c])
        return special.log_softmax(np.float64(logits), axis=-1)

    log_q = (log_y(z["z_c"]) * label).sum(-1)
    every = np.concatenate([log_q[::3], (log_y(further) * label).sum(-1)])
    log_q_x = special.logsumexp(every, axis=0) - np.log(len(every))
    log_x = np.stack([
        model.likelihoods["x"]({n: v[s] for n, v in z.items()}).log_prob(x) for s in range(3 * each)
    ])  # fmt: skip
    rest = of_rows(tfd.MultivariateNormalDiag(tf.zeros(1)))(z["z_rest"])
    rest = rest - of_rows(q["z_rest"])(z["z_rest"])

    def log_joint(one_hot):
        p = model.priors["z_c"](tf.constant(np.float32(one_hot)))
        return log_x + 0.5 * (rest + of_rows(p)(z["z_c"]) - of_rows(q["z_c"])(z["z_c"]))

    bound = (np.exp(log_q - log_q_x) * (log_joint(label) - log_q)).mean(0) + log_q_x - np.log(3)
    loss = model.objective(forward).loss.numpy()
    expected = -bound - alpha * log_q_x
    np.testing.assert_allclose(loss[known], expected[known], rtol=1e-4)
    tried = np.tile(np.eye(3)[:, np.newaxis], [each, 8, 1])  # draw s has label s
    probability = (np.exp(log_y(z["z_c"])) * tried).sum(-1)
    kl_rest = np.asarray(q["z_rest"].kl_divergence(tfd.MultivariateNormalDiag(tf.zeros(1))))
    log_joint_tried = np.stack([log_joint(one)[s] for s, one in enumerate(tried)])
    each_label = log_joint_tried - 0.5 * (rest + kl_rest + np.log(3 * probability))
    unknown = (probability * each_label).sum(0) / each
    np.testing.assert_allclose(-loss[~known], unknown[~known], rtol=1e-4)


def exact(each):
    """p(y) = 1/3, z ~ N(m_y, 1), x ~ N(z, 1/4); q(z|x) and q(y|z) are the model's own."""
    means = tf.constant(MEANS, tf.float32)
    one = lambda mean, scale: tfd.Independent(tfd.Normal(mean, scale), 1)  # noqa: E731

    def of(function, name, size):
        given = keras.Input((size,), name=name)
        return keras.Model(
            given, layers.DistributionLambda(function)(keras.layers.Identity()(given))
        )

    def classes(t, scale):
        return tfd.OneHotCategorical(tfd.Normal(means, scale).log_prob(t), dtype=t.dtype)

    def q_z(x):
        parts = tfd.Normal((0.2 * (means + 4 * x))[..., tf.newaxis], 0.2**0.5)
        weights = tfd.Categorical(tfd.Normal(means, 1.25**0.5).log_prob(x))
        return tfd.MixtureSameFamily(weights, tfd.Independent(parts, 1))

    told = of(lambda t: classes(t, 1.0), "z", 1)
    told.layers[-1].all_values = lambda: np.eye(3)
    prior = of(lambda t: one(tf.reduce_sum(t * means, -1, True), 1.0), "y", 3)
    uniform = tfd.OneHotCategorical(tf.zeros(3), dtype=tf.float32)
    return LatentModel(
        {"y": (told, uniform), "z": (of(q_z, "x", 1), prior)},
        {"x": of(lambda t: one(t, 0.5), "z", 1)},
        objective=LabelCharacteristics("y", num_samples_each=each),
    )


def test_under_the_exact_posteriors_the_bound_is_log_p():
    """With many draws it is log p(x), and log p(x, y) where y is known; with few it is below."""
    x = np.array([[-1.0], [0.3], [2.5], [0.3]], "float32")
    y = np.full([4, 3], np.nan, "float32")
    y[2:] = [[0, 1, 0], [1, 0, 0]]
    log_joint = stats.norm.logpdf(x, MEANS, 1.25**0.5) - np.log(3)
    expected = [*special.logsumexp(log_joint[:2], axis=1), log_joint[2, 1], log_joint[3, 0]]

    def bound(each, times=1):
        model, rows = exact(each), np.repeat(np.arange(4), times)
        given = {"x": tf.constant(x[rows]), "y": tf.constant(y[rows])}
        forward = model._forward(given, False, model.objective.num_samples).forward
        loss = model.objective(forward.observing({"x": given["x"]})).loss
        return -loss.numpy().reshape(4, times).mean(1)

    np.testing.assert_allclose(bound(2000), expected, atol=0.05)
    of_few = bound(1, 2000)
    np.testing.assert_allclose(of_few[:2], expected[:2], atol=1e-4)
    assert (of_few[2:] < np.array(expected[2:]) - 0.01).all()
    assert (of_few[2:] > np.array(expected[2:]) - 1.0).all()


@pytest.mark.again
def test_the_label_is_learnt_from_both_and_z_of_a_label_is_drawn():
    model, given = ccvae(LabelCharacteristics("y")), half_known(96)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(given, epochs=60, batch_size=32, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    label = data(96)[1]
    right = np.argmax(model.encode(given["x"])["y"].mean(), 1) == label
    assert right[48:].mean() > 0.6
    sums = [
        model.sample(given={"y": np.tile(one, [200, 1])}, seed=1)["x"].numpy().sum(1).mean()
        for one in np.eye(3, dtype="float32")
    ]
    assert sums[0] < sums[1] < sums[2]  # as `data` has it


def test_a_label_that_depends_on_no_other_variable_is_refused():
    model = m2(LabelCharacteristics("y"))
    model.compile("adam")
    with pytest.raises(InputError, match="label whose posterior depends on others"):
        model.fit(half_known(), verbose=0)
