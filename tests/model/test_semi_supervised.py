"""Labels that are known for some examples: M2's bound against its parts and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import SIZE, Bernoulli, Normal, X, data, net
from scipy import special, stats

from tfp_vae import IWAE, InputError, LatentModel, layers
from tfp_vae.objectives import SemiSupervised

tfd = tfp.distributions
L = keras.layers
MEANS = np.array([-2.0, 0.5, 2.0])


def m2(objective=None, label=None):
    """A classifier, and z given x and its class: the M2 of Kingma et al."""
    return LatentModel(
        {
            "y": (net(X, label or layers.OneHotCategorical(3)), None),
            "z": (net({**X, "y": (3,)}, Normal(2)), None),
        },
        {"x": net({"z": (2,), "y": (3,)}, Bernoulli(SIZE))},
        objective=objective or SemiSupervised("y", alpha=3.0),
    )


def half_known(count=32):
    values, label = data(count)
    y = np.eye(3, dtype="float32")[label]
    y[count // 2 :] = np.nan
    return {**values, "y": y}


def log_normal(x, mean, deviation):
    return stats.norm.logpdf(np.asarray(x, "float64"), mean, deviation).sum(-1)


def test_the_bound_is_the_sum_over_all_labels():
    model, given, alpha, beta = m2(SemiSupervised("y", 3.0, beta=0.5)), half_known(), 3.0, 0.5
    prediction = model._forward({k: tf.constant(v) for k, v in given.items()}, True, 3)
    z = prediction.forward["z"].value.numpy()
    x, y = given["x"], given["y"]
    probability = tfd.Categorical(logits=model.posteriors["y"](x).logits).probs_parameter().numpy()
    bound = np.zeros([3, len(x)])
    for k in range(3):
        is_known = ~np.isnan(y[:, :1])
        label = np.where(is_known, np.nan_to_num(y), np.eye(3, dtype="float32")[k])
        q = model.posteriors["z"]({"x": x, "y": label})
        p = model.likelihoods["x"]({"z": z[k], "y": label})
        kl = tfd.kl_divergence(q, tfd.MultivariateNormalDiag(tf.zeros(2))).numpy()
        bound[k] = -p.log_prob(x).numpy() + beta * kl
    unknown = (probability.T * (bound + beta * np.log(3 * probability.T))).sum(0)
    right = np.nansum(probability * y, axis=1)
    known = bound.mean(0) + np.log(3) - alpha * np.log(np.where(right > 0, right, 1))
    expected = np.where(np.isnan(y[:, 0]), unknown, known)
    model.compile("adam")
    terms = model.objective(prediction.forward.observing({"x": x}, step=0))
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-4)
    loss = model.compute_loss(x=given, y_pred=prediction)
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-4)


def exact():
    """p(y) = 1/3, z ~ N(m_y, 1), x ~ N(z, 1/4), with its own posteriors: all is known."""
    means = tf.constant(MEANS, tf.float32)
    x, y = keras.Input((1,), name="x"), keras.Input((3,), name="y")
    on_x = lambda name=None: keras.Input((1,), name=name)  # noqa: E731
    classes = layers.DistributionLambda(
        lambda t: tfd.OneHotCategorical(tfd.Normal(means, 1.25**0.5).log_prob(t), dtype=t.dtype)
    )
    classes.all_values = lambda: np.eye(3)
    one = lambda mean, scale: tfd.Independent(tfd.Normal(mean, scale), 1)  # noqa: E731
    q_z = layers.DistributionLambda(
        lambda t: one(0.2 * (tf.reduce_sum(t[1] * means, -1, True) + 4 * t[0]), 0.2**0.5)
    )
    p_z = layers.DistributionLambda(lambda t: one(tf.reduce_sum(t * means, -1, True), 1.0))
    z, label = on_x("z"), keras.Input((3,), name="y")
    p_x = layers.DistributionLambda(lambda t: one(t, 0.5))
    uniform = tfd.OneHotCategorical(tf.zeros(3), dtype=tf.float32)
    return LatentModel(
        {
            "y": (keras.Model(x, classes(L.Identity()(x))), uniform),
            "z": (keras.Model({"x": x, "y": y}, q_z([x, y])),
                  keras.Model(label, p_z(L.Identity()(label)))),
        },
        {"x": keras.Model(z, p_x(L.Identity()(z)))},
        objective=SemiSupervised("y", alpha=0.0, num_samples_each=2000),
    )  # fmt: skip


def test_under_the_exact_posteriors_the_bound_is_log_p():
    """Of a mixture of Normals: log p(x), and log p(x, y) where y is known."""
    x = np.array([[-1.0], [0.3], [2.5], [0.3]], "float32")
    y = np.full([4, 3], np.nan, "float32")
    y[3] = [0, 1, 0]
    model = exact()
    each = stats.norm.logpdf(x, MEANS, 1.25**0.5) - np.log(3)
    expected = np.append(special.logsumexp(each[:3], axis=1), each[3, 1])
    given = {"x": tf.constant(x), "y": tf.constant(y)}
    forward = model._forward(given, False, model.objective.num_samples).forward
    terms = model.objective(forward.observing({"x": x}))
    np.testing.assert_allclose(-terms.loss, expected, atol=0.05)
    np.testing.assert_allclose(model.log_likelihood(given, 50), expected, atol=1e-4)


def test_what_the_label_depends_on_is_the_same_draw_for_each_label():
    """M1+M2: q(y|z1) sums to 1 over the labels, and the bound is the sum over these."""
    model = LatentModel(
        {
            "y": (net({"z1": (2,)}, layers.OneHotCategorical(3)), None),
            "z1": (net(X, Normal(2)), net({"y": (3,)}, Normal(2))),
        },
        {"x": net({"z1": (2,)}, Bernoulli(SIZE))},
        objective=SemiSupervised("y", alpha=0.0),
    )
    given = {"x": tf.constant(half_known()["x"])}
    forward = model._forward(given, True, 3).forward.observing(given, step=0)
    z1 = forward["z1"].value
    np.testing.assert_array_equal(z1[0], z1[1])
    assert forward["x"].p.batch_shape == [32]  # and is decoded once for all labels
    probability = model.posteriors["y"](z1[0]).probs_parameter().numpy()
    np.testing.assert_allclose(np.transpose(forward.shares), probability, rtol=1e-5)
    q, eye = model.posteriors["z1"](given["x"]), np.eye(3, dtype="float32")
    p = model.priors["z1"](tf.constant(eye))
    each = [
        q.log_prob(z1[0]) - log_normal(z1[0], p.mean()[k].numpy(), p.stddev()[k].numpy())
        for k in range(3)
    ]
    kl = (probability * (np.transpose(each) + np.log(3 * probability))).sum(1)
    nll = -model.likelihoods["x"](z1[0]).log_prob(given["x"]).numpy()
    np.testing.assert_allclose(model.objective(forward).loss, nll + kl, rtol=1e-4)


def test_the_classifier_learns_from_both_and_labels_are_asked_for():
    model, given = m2(), half_known(96)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(given, epochs=60, batch_size=32, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert {"kl", "kl_y", "kl_z", "loss", "nll"} == set(history)
    label = data(96)[1]
    right = np.argmax(model.encode(given["x"])["y"].mean(), 1) == label
    assert right[48:].mean() > 0.6
    assert model.encode(given["x"])["y"].mean().shape == (96, 3)
    assert model.sample(given={"y": np.eye(3, dtype="float32")})["x"].shape == (3, SIZE)
    assert np.isfinite(model.log_likelihood(given["x"], 5)).all()


def test_the_classifier_follows_as_much_of_the_bound_as_the_trust_says():
    model, given = m2(), {"x": tf.constant(half_known()["x"])}  # no label is known
    of_classifier, others = model.posteriors["y"], [model.posteriors["z"], model.likelihoods["x"]]
    weights = [w.value for net in (of_classifier, *others) for w in net.trainable_weights]
    found = []
    with tf.GradientTape(persistent=True) as tape:
        forward = model._forward(given, True, 3).forward.observing(given, step=0)
        losses = [SemiSupervised("y", 3.0, 0.5, trust=t)(forward).loss for t in (1.0, 0.25, 0.0)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)
    for loss in losses:
        each = tape.gradient(loss, weights, unconnected_gradients="zero")
        found.append([g.numpy() for g in each])
    own = len(of_classifier.trainable_weights)
    for trust, gradients in zip((0.25, 0.0), found[1:], strict=True):
        for plain, g in zip(found[0][:own], gradients[:own], strict=True):
            np.testing.assert_allclose(g, trust * plain, rtol=1e-3, atol=1e-5)
        for plain, g in zip(found[0][own:], gradients[own:], strict=True):
            np.testing.assert_allclose(g, plain, rtol=1e-3, atol=1e-5)


@pytest.mark.again
def test_each_weight_gets_its_gradient_and_under_xla_the_same():
    model, given = m2(), {k: tf.constant(v) for k, v in half_known().items()}
    model.compile("adam")
    weights = [w.value for w in model.trainable_weights]

    def gradients():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=given, y_pred=model(given, training=True))
        return tape.gradient(loss, weights)

    for found in (gradients(), tf.function(gradients, jit_compile=True, autograph=False)()):
        assert all(g is not None and np.isfinite(g).all() and np.any(g) for g in found)


def test_labels_that_are_drawn_have_their_loss_too():
    relaxed = layers.RelaxedOneHotCategorical(3, 0.5)
    model = m2(SemiSupervised("y", alpha=2.0, enumerated=False), relaxed)
    assert model.objective.num_samples == 1
    given = {k: tf.constant(v) for k, v in half_known().items()}
    forward = model._forward(given, False, 1).forward.observing({"x": given["x"]})
    plain = forward.nll + forward.kl
    logits = model.posteriors["y"](given["x"]).distribution.logits
    q = tfd.OneHotCategorical(logits).log_prob(
        tf.where(tf.math.is_nan(given["y"]), 0.0, given["y"])
    )
    expected = np.where(np.isnan(given["y"][:, 0]), 0, -2 * q.numpy())
    np.testing.assert_allclose(
        model.objective(forward).loss - plain, expected, rtol=1e-4, atol=1e-5
    )


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="one-hot vectors among y, z"):
        m2(SemiSupervised("label"))
    model = m2(label=layers.RelaxedOneHotCategorical(3, 0.5))
    model.compile("adam")
    with pytest.raises(InputError, match="few values, such as OneHotCategorical"):
        model.fit(half_known(), verbose=0)
    with pytest.raises(InputError, match="enumerated labels with a trust"):
        SemiSupervised("y", enumerated=False, trust=0.5)
    drawn = m2(IWAE(3))
    drawn.compile("adam")
    with pytest.raises(InputError, match="reparameterized"):
        drawn.fit(half_known(), verbose=0)


@pytest.mark.again
def test_a_saved_model_goes_on(tmp_path):
    model, given = m2(SemiSupervised("y", alpha=2.0, beta={"y": 1.0, "z": 0.5})), half_known()
    model.compile("adam")
    model.fit(given, verbose=0)
    model.save(tmp_path / "m2.keras")
    again = keras.models.load_model(tmp_path / "m2.keras")
    assert again.objective.get_config() == model.objective.get_config()
    np.testing.assert_allclose(
        again.encode(given["x"])["y"].mean(), model.encode(given["x"])["y"].mean(), rtol=1e-5
    )
    again.fit(given, verbose=0)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(
        served.serve(given["x"])["x"], model.reconstruct(given["x"])["x"], rtol=1e-4, atol=1e-5
    )
