"""Flow posteriors: their maps, their densities anywhere, and what a draw costs."""

import keras
import layer_references as references
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers
from tfp_vae.bijectors.inverse_autoregressive import InverseAutoregressive
from tfp_vae.bijectors.planar import Planar
from tfp_vae.errors import InputError

tfd = tfp.distributions
D = 3


def numbers(*shape, seed=0, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=shape)


def planar(u_scale=1.0, n=4):
    u, w = numbers(n, D, seed=1, scale=u_scale), numbers(n, D, seed=2)
    return Planar(*(tf.constant(v) for v in (u, w, numbers(n, seed=3))))


def inverse_autoregressive(order="left-to-right"):
    keras.utils.set_random_seed(0)
    made = layers.AutoregressiveNetwork(
        2, D, conditional=True, conditional_event_shape=2, hidden_units=[8], activation="tanh",
        input_order=order, kernel_initializer=keras.initializers.RandomNormal(stddev=0.7),
        dtype="float64",
    )  # fmt: skip
    return InverseAutoregressive(made, tf.constant(numbers(4, 2)))


MAPS = {
    "planar": planar,
    "planar, nearly folded": lambda: planar(u_scale=20.0),
    "inverse autoregressive": inverse_autoregressive,
    "inverse autoregressive, reversed": lambda: inverse_autoregressive("right-to-left"),
}
EVERY_MAP = pytest.mark.parametrize("make", MAPS.values(), ids=MAPS.keys())


@EVERY_MAP
def test_the_inverse_inverts_and_the_determinant_is_that_of_the_jacobian(make):
    f, z = make(), tf.constant(numbers(4, D, seed=5, scale=2.0))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        y = f.forward(z)
        other = tf.identity(y)  # TFP knows the inverse of y itself
        tape.watch(other)
        back = f.inverse(other)
    np.testing.assert_allclose(back, z, atol=1e-6)
    jacobian = tape.batch_jacobian(y, z).numpy()
    log_det = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(f.forward_log_det_jacobian(z, 1), log_det, atol=1e-9)
    inverse = tape.batch_jacobian(back, other).numpy()
    np.testing.assert_allclose(inverse @ jacobian, np.tile(np.eye(D), [4, 1, 1]), atol=1e-6)


@pytest.mark.parametrize("order", ["left-to-right", "right-to-left"])
def test_an_entry_depends_on_those_before_it_alone(order):
    f, z = inverse_autoregressive(order), tf.constant(numbers(4, D))
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = f.forward(z)
    depends = np.abs(tape.batch_jacobian(y, z)[0].numpy()) > 1e-9
    expected = np.tri(D, dtype=bool)
    np.testing.assert_array_equal(depends, expected if order == "left-to-right" else expected.T)


@pytest.mark.parametrize(("u", "w"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_a_planar_map_without_u_or_w_preserves_volume_and_has_a_finite_gradient(u, w):
    """At u = 0 it is the identity, at w = 0 a translation by u tanh(b)."""
    z, like = tf.constant(numbers(4, D)), tf.ones([4, D], "float64")
    u, w, b = u * like, w * like, like[:, 0]
    with tf.GradientTape() as tape:
        tape.watch([u, w])
        f = Planar(u, w, b)
        y, log_det = f.forward(z), f.forward_log_det_jacobian(z, 1)
        both = tf.reduce_sum(y) + tf.reduce_sum(log_det)
    np.testing.assert_allclose(y, z + u * np.tanh(1.0), atol=1e-12)
    np.testing.assert_allclose(log_det, 0, atol=1e-12)
    assert all(np.isfinite(g).all() for g in tape.gradient(both, [u, w]))


def test_a_planar_map_that_would_fold_does_not():
    """However far w'u is below -1."""
    u, w = tf.constant([[-1000.0, 0.0]]), tf.constant([[1.0, 0.0]])
    z = tf.stack([tf.linspace(-3.0, 3.0, 101), tf.zeros(101)], axis=-1)
    f = Planar(u, w, tf.zeros([1]))
    assert (np.diff(f.forward(z)[:, 0]) > 0).all()
    assert np.isfinite(f.forward_log_det_jacobian(z, 1)).all()


def flow(name, d=2, k=3, **kwargs):
    keras.utils.set_random_seed(0)
    if name == "planar":
        return layers.PlanarFlow(d, k, seed=1, **kwargs)
    start = keras.initializers.RandomNormal(stddev=0.7)
    return layers.InverseAutoregressiveFlow(
        d, k, [8], 2, kernel_initializer=start, seed=1, **kwargs
    )


EVERY_FLOW = pytest.mark.parametrize("name", ["planar", "inverse autoregressive"])


def reference(name, layer, t):
    if name == "planar":
        return references.planar_flow(t, layer.event_size, layer.num_flows)
    return references.inverse_autoregressive_flow(t, layer.event_size, layer.networks)


@EVERY_FLOW
def test_several_maps_follow_each_other(name):
    """Against numpy, of draws at other parameters, in float64."""
    layer = flow(name, d=3, k=3, dtype="float64")
    t, x = numbers(5, layer.num_parameters), numbers(5, 3, seed=1, scale=2.0)
    np.testing.assert_allclose(layer(t).log_prob(x), reference(name, layer, t).logpdf(x), rtol=1e-8)


def test_the_order_of_the_entries_turns_around():
    """So that with two maps each entry depends on all."""
    layer = flow("inverse autoregressive", d=3, k=2)
    f = layer(np.ones([1, layer.num_parameters], "float32")).bijector
    z = tf.ones([1, 3])
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = f.forward(z)
    assert (np.abs(tape.batch_jacobian(y, z)) > 1e-6).all()


@EVERY_FLOW
def test_the_density_integrates_to_1(name):
    layer = flow(name)
    side = np.linspace(-12, 12, 300, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    t = numbers(layer.num_parameters, seed=2).astype("float32")
    t[2:4] = 1.0  # wide enough for the grid's step
    p = tf.function(lambda x: layer(t[None]).prob(x))(grid)
    np.testing.assert_allclose(np.sum(p) * (side[1] - side[0]) ** 2, 1, atol=5e-3)


@pytest.mark.again
@EVERY_FLOW
def test_gradients_of_log_prob_anywhere_are_those_of_differences(name):
    """Under XLA, with respect to z and the parameters, a sample axis before a free batch."""
    layer = flow(name, k=2, dtype="float64")
    t, z = numbers(3, layer.num_parameters), numbers(2, 3, 2, seed=1)
    free = [tf.TensorSpec([None, t.shape[1]], "float64"), tf.TensorSpec([2, None, 2], "float64")]

    def log_prob(t, z):
        return tf.reduce_sum(layer(t).log_prob(z))

    @tf.function(input_signature=free, jit_compile=True)
    def gradients(t, z):
        with tf.GradientTape() as tape:
            tape.watch([t, z])
            value = log_prob(t, z)
        return tape.gradient(value, [t, z])

    found, step, rng = gradients(t, z), 1e-5, np.random.default_rng(2)
    for _ in range(5):  # along directions in both at once
        dt, dz = rng.normal(size=t.shape), rng.normal(size=z.shape)
        ends = [log_prob(t + s * dt, z + s * dz) for s in (step, -step)]
        along = np.sum(found[0] * dt) + np.sum(found[1] * dz)
        np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * step), rtol=1e-5)


@EVERY_FLOW
def test_the_density_of_a_draw_has_the_gradient_of_the_entropy(name):
    """Through TFP's memory of draws, and through the inverse: the same."""
    found = []
    for again in (lambda z: z, tf.identity):
        layer = flow(name, k=2, dtype="float64")
        t = tf.constant(numbers(4, layer.num_parameters))
        with tf.GradientTape() as tape:
            tape.watch(t)
            q = layer(t)
            value = tf.reduce_sum(q.log_prob(again(q.value())))
        found.append(tape.gradient(value, [t, *layer.trainable_weights]))
    for direct, inverted in zip(*found, strict=True):
        np.testing.assert_allclose(direct, inverted, rtol=1e-6, atol=1e-8)


def test_a_draw_and_its_density_take_one_pass_through_each_network(monkeypatch):
    layer = flow("inverse autoregressive", d=5, k=3)
    t, calls = np.ones([2, layer.num_parameters], "float32"), []
    call = layers.AutoregressiveNetwork.call
    monkeypatch.setattr(
        layers.AutoregressiveNetwork,
        "call",
        lambda self, *args, **kwargs: calls.append(self) or call(self, *args, **kwargs),
    )
    q = layer(t)
    q.log_prob(q.value())
    assert len(calls) == 3
    calls.clear()
    z = q.sample(5)
    q.log_prob(z)
    assert len(calls) == 3
    calls.clear()
    q.log_prob(z.numpy())
    assert len(calls) == 3 * (5 + 1)


@EVERY_FLOW
def test_the_image_of_the_mean_stands_for_the_posterior(name):
    layer = flow(name, d=3)
    t = numbers(4, layer.num_parameters)
    z = t[:, :3]
    for f in reference(name, layer, t).maps:
        z, _ = f.forward(z)
    q = layer(t.astype("float32"))
    np.testing.assert_allclose(layer.representative(q), z, rtol=1e-4, atol=1e-5)


def test_a_gate_that_closes_is_inverted():
    """In float32, at weights that make exp of the gate's logit overflow."""
    layer = flow("inverse autoregressive", d=2, k=1)
    for weight in layer.weights:
        weight.assign(100 * weight)
    q = layer(numbers(50, layer.num_parameters).astype("float32"))
    z = numbers(50, 2, seed=1).astype("float32")
    assert np.isfinite(q.log_prob(z)).all()
    assert np.isfinite(q.sample(3)).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: layers.PlanarFlow(2, 0), "num_flows >= 1"),
        (lambda: layers.InverseAutoregressiveFlow(2, 0), "num_flows >= 1"),
        (lambda: layers.InverseAutoregressiveFlow(2, context_size=0), "context_size >= 1"),
    ],
)
def test_impossible_flows_are_refused_in_words(build, message):
    with pytest.raises(InputError, match=rf"{message}.*Received: 0"):
        build()


def test_the_config_has_what_is_not_the_default():
    for layer in (
        layers.PlanarFlow(2, 3, min_scale=0.5),
        layers.InverseAutoregressiveFlow(
            2, 3, [4, 5], 6, "elu", keras.initializers.RandomNormal(seed=1), min_scale=0.5
        ),
    ):
        again = type(layer).from_config(layer.get_config())
        t = numbers(3, layer.num_parameters, scale=3.0).astype("float32")
        x = numbers(3, 2, seed=1).astype("float32")
        np.testing.assert_allclose(np.min(layer(t).distribution.stddev()), 0.5)
        np.testing.assert_array_equal(again(t).log_prob(x), layer(t).log_prob(x))
