"""Floors under trained parameters: values as they were, and a way back from below."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python, small_networks

from tfp_vae import VAE, layers, priors
from tfp_vae.bijectors.inverse_autoregressive import InverseAutoregressive
from tfp_vae.bijectors.planar import Planar
from tfp_vae.distributions import floors

tfd = tfp.distributions


def of_each(name):
    """A parameter of the scalar distributions that a layer puts out."""

    def read(d):
        while not hasattr(d, name):
            d = d.distribution
        return getattr(d, name)

    return read


def scale_of_mixture(d):
    d = d.tensor_distribution
    each = d.distribution if isinstance(d, tfd.Independent.__bases__[0]) else d
    return of_each("scale")(each.components_distribution)


# A layer of one value (or two), which of its parameters has the floor, how it reads, the floor.
LAYERS = {
    "normal": (layers.IndependentNormal(1, min_scale=0.01), 1, of_each("scale"), 0.01),
    "normal-least": (layers.IndependentNormal(1), 1, of_each("scale"), 1e-6),
    "logistic": (layers.IndependentLogistic(1), 1, of_each("scale"), 1e-6),
    "laplace": (layers.Laplace(1, min_scale=0.3), 1, of_each("scale"), 0.3),
    "student-scale": (layers.StudentT(1), 1, of_each("scale"), 1e-6),
    "student-df": (layers.StudentT(1), 2, of_each("df"), 2.001),
    "diagonal": (layers.MultivariateNormalDiag(1), 1, lambda d: d.stddev(), 1e-6),
    "tril": (layers.MultivariateNormalTriL(1), 1, lambda d: d.stddev(), 1e-5),
    "concentration": (layers.Gamma(1), 0, of_each("concentration"), 0.05),
    "rate": (layers.Gamma(1), 1, of_each("rate"), 1e-4),
    "total-count": (layers.NegativeBinomial(1), 1, of_each("total_count"), 1e-4),
    "total-count-of-inflated": (
        layers.ZeroInflatedNegativeBinomial(1),
        2,
        lambda d: of_each("total_count")(of_each("counts")(d)),
        1e-4,
    ),
    "quantized": (
        layers.QuantizedLogisticMixture(1, 1, 0, 2),
        2,
        lambda d: scale_of_mixture(d)[..., 0],
        1e-3,
    ),
    "mixture": (layers.MixtureNormal(1, 1), 2, scale_of_mixture, 1e-6),
    "von-mises-fisher": (layers.VonMisesFisher(3), 3, lambda d: d.concentration, 1.0),
    "power-spherical": (layers.PowerSpherical(2), 2, lambda d: d.concentration, 1.0),
    "flow": (layers.PlanarFlow(1, 1), 1, lambda d: of_each("scale")(d).diag, 1e-6),
}
ABOVE = {"tril", "von-mises-fisher", "power-spherical"}  # the floor is added, not a maximum


@pytest.mark.one
@pytest.mark.parametrize("below", [2.0, 100.0])
@pytest.mark.parametrize("compiled", [pytest.param(False, marks=pytest.mark.again), True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_loss_that_wants_more_moves_a_parameter_below_its_floor(name, compiled, below):
    layer, which, read, floor = LAYERS[name]
    t = np.full([1, layer.num_parameters], 0.5, "float32")
    t[0, which] = -below if name == "student-df" and below > 2 else np.log(np.expm1(1e-6)) - below

    @tf.function(jit_compile=compiled)
    def run(t):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(t)
            value = tf.reduce_sum(read(layer(t)))
            more, less = -tf.math.log(value), tf.math.log(value)
        return value, tape.gradient(more, t), tape.gradient(less, t)

    value, more, less = run(tf.constant(t))
    tolerance = 2e-6 / floor if name in ABOVE else 1e-6
    np.testing.assert_allclose(value, floor, rtol=max(tolerance, 1e-6))
    assert -np.inf < more[0, which] < -1e-7  # Adam's epsilon: it moves
    assert less[0, which] >= 0
    if name not in ABOVE:
        assert less[0, which] == 0  # the value cannot fall: no drift


FUNCTIONS = {
    "at_least": (lambda t: floors.at_least(t, 0.2), lambda t: tf.maximum(t, 0.2)),
    "within": (lambda t: floors.within(t, -0.5, 1.0), lambda t: tf.clip_by_value(t, -0.5, 1.0)),
    "softplus": (
        lambda t: floors.softplus_at_least(t, 0.2),
        lambda t: tf.maximum(tf.math.softplus(t), 0.2),
    ),
    "no-floor": (lambda t: floors.softplus_at_least(t, 0.0), tf.math.softplus),
    "exp": (lambda t: floors.exp_at_least(t, 0.2), lambda t: tf.maximum(tf.exp(t), 0.2)),
    "above": (lambda t: floors.softplus_above(t, 0.2), lambda t: 0.2 + tf.math.softplus(t)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("ours", "usual"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_values_are_those_of_a_maximum_and_gradients_too_where_nothing_is_held(ours, usual, dtype):
    t = tf.constant(np.concatenate([np.linspace(-30, 5, 200), [-1e4, -90.0, 20.0, 30.0]]), dtype)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        found, expected = ours(t), usual(t)
        losses = [sign * tf.reduce_sum(tf.square(v)) for sign in (1, -1) for v in (found, expected)]
    np.testing.assert_array_equal(found, expected)
    up, usual_up, down, usual_down = (tape.gradient(loss, t).numpy() for loss in losses)
    free = usual_up != 0
    np.testing.assert_allclose(up[free & (t > -13)], usual_up[free & (t > -13)], rtol=1e-6)
    np.testing.assert_allclose(down[free & (t > -13)], usual_down[free & (t > -13)], rtol=1e-6)
    assert np.isfinite([up, down]).all()


def test_beyond_both_bounds_the_gradient_points_back_alone():
    u = tf.Variable([-3.0, 0.5, 7.0])
    for sign, expected in ((1.0, [0.0, 1.0, 1.0]), (-1.0, [-1.0, -1.0, 0.0])):
        with tf.GradientTape() as tape:
            loss = sign * tf.reduce_sum(floors.within(u, 0.0, 1.0))
        np.testing.assert_array_equal(tape.gradient(loss, u), expected)


@pytest.mark.again
@pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_a_shared_scale_that_starts_below_its_floor_finds_the_noise(mode):
    layer = layers.SharedScale(1, scale=1e-3, trainable_scale=True, min_scale=0.1)
    model = keras.Sequential([keras.Input((1,)), layer])
    x = np.random.default_rng(0).normal(size=[256, 1]).astype("float32")
    np.testing.assert_allclose(model(0 * x[:1]).stddev(), 0.1, rtol=1e-6)
    model.compile(keras.optimizers.Adam(0.2), lambda y, p: -p.log_prob(y), **mode)
    model.fit(0 * x, x, epochs=40, batch_size=64, verbose=0)
    np.testing.assert_allclose(model(0 * x[:1]).stddev(), x.std(), rtol=0.4)


@pytest.mark.again
def test_a_shared_scale_stays_near_its_floor_where_the_loss_wants_less():
    layer = layers.SharedScale(1, scale=0.02, trainable_scale=True, min_scale=0.01)
    model = keras.Sequential([keras.Input((1,)), layer])
    x = np.zeros([64, 1], "float32")
    model.compile(keras.optimizers.SGD(0.1), lambda y, p: -p.log_prob(y))
    model.fit(x, x, epochs=50, batch_size=64, verbose=0)
    assert np.log(0.01) - 0.2 < float(layer.log_scale) <= np.log(0.01)


def test_pseudo_inputs_come_back_from_beyond_their_bounds():
    keras.utils.set_random_seed(1)
    vae = VAE(*small_networks(regularized=False), prior=priors.VampPrior(3))
    u = vae.prior.pseudo_inputs
    u.assign(np.random.default_rng(0).choice([-0.4, 1.4], size=u.shape))
    before = u.numpy()
    target = vae.encode(np.full([16, 8, 8, 1], 0.5, "float32")).mean()
    optimizer = keras.optimizers.Adam(0.05)
    for _ in range(30):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(vae.prior.distribution().log_prob(target))
        optimizer.apply([tape.gradient(loss, u.value)], [u])
    inside = (u.numpy() > 0) & (u.numpy() < 1)
    assert inside.mean() > 0.2
    away = (before < 0) & (u.numpy() < before - 0.3) | (before > 1) & (u.numpy() > before + 0.3)
    assert not away.any()


def test_the_scales_of_a_mixture_prior_come_back():
    prior = priors.MixturePrior(2, 3)
    prior.scale.assign(tf.fill([3, 2], -60.0))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(prior.distribution().log_prob(tf.fill([5, 2], 7.0)))
    gradient = tape.gradient(loss, prior.scale.value).numpy()
    assert (gradient <= 0).all()
    assert (gradient < -1e-3).any()


def test_the_gate_of_a_flow_and_the_slope_of_a_planar_map_come_back():
    flow = InverseAutoregressive(
        lambda z, conditional_input: tf.stack([z, z * 0 + conditional_input], axis=-1),
        context=tf.zeros([1]),
    )

    def gate(t):
        flow.context = t
        return flow.forward_log_det_jacobian(tf.ones([1, 1]), event_ndims=1)

    def slope(t):
        f = Planar(u=t * tf.ones([1]), w=tf.ones([1]), b=tf.zeros([]))
        return f.forward_log_det_jacobian(tf.zeros([1, 1]), event_ndims=1)

    for function in (gate, slope):
        t = tf.constant([-50.0])
        with tf.GradientTape() as tape:
            tape.watch(t)
            loss = -tf.reduce_sum(function(t))
        assert tape.gradient(loss, t)[0] < -1e-5


@pytest.mark.again
def test_weights_of_bayesian_layers_with_a_scale_of_nearly_0_are_trained():
    start = keras.initializers.Constant(-90.0)
    posterior = layers.default_mean_field_normal_fn(untransformed_scale_initializer=start)
    layer = layers.DenseReparameterization(1, kernel_posterior_fn=posterior)
    with tf.GradientTape() as tape:
        layer(tf.ones([1, 2]))
        loss = tf.add_n(layer.losses)
    scale = next(w for w in layer.trainable_weights if "untransformed_scale" in w.name)
    assert (tape.gradient(loss, scale.value).numpy() < -1e-7).all()


@pytest.mark.again
def test_a_saved_model_has_the_gradient_too(tmp_path):
    layer = layers.IndependentNormal(1, "stddev", min_scale=0.1)
    keras.Sequential([keras.Input((2,)), layer]).export(str(tmp_path / "saved"), verbose=False)
    code = f"""
import tensorflow as tf
served = tf.saved_model.load({str(tmp_path / "saved")!r})
t = tf.constant([[0., -50.], [0., 1.]])
with tf.GradientTape() as tape:
    tape.watch(t)
    loss = -tf.reduce_sum(served.serve(t))
print([round(float(each), 3) for each in tape.gradient(loss, t)[:, 1]])
"""
    assert python(code).split() == ["[-0.095,", "-0.731]"]
