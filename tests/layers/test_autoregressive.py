"""MADE, the layer that makes a flow of it, and TFP's flow bijectors on Keras 3 networks."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python

from tfp_vae import NegativeLogLikelihood, layers
from tfp_vae.errors import InputError

tfd, tfb = tfp.distributions, tfp.bijectors
D = 4


def network(params=2, d=D, units=(16, 16), activation="tanh", **kwargs):
    return layers.AutoregressiveNetwork(
        params, d, hidden_units=list(units), activation=activation, **kwargs
    )


ORDERS = {
    "left-to-right": (np.arange(D), {}),
    "right-to-left": (np.arange(D)[::-1], {"input_order": "right-to-left"}),
    "given": (np.array([2, 0, 1, 3]), {"input_order": [2, 3, 1, 4]}),
    "random": (None, {"input_order": "random", "hidden_degrees": "random", "seed": 3}),
    "no hidden units": (np.arange(D), {"units": ()}),
}


@pytest.mark.parametrize(("order", "kwargs"), ORDERS.values(), ids=ORDERS.keys())
def test_an_output_depends_on_all_inputs_before_it_and_on_no_others(order, kwargs):
    """By automatic differentiation, not by the masks."""
    made = network(**kwargs)
    x = tf.random.stateless_normal([1, D], [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(made(x), axis=-1)
    depends = np.abs(tape.jacobian(y, x)[0, :, 0].numpy()) > 1e-9
    if order is None:
        order = np.argsort(depends.sum(axis=1))
    np.testing.assert_array_equal(depends[np.ix_(order, order)], np.tri(D, k=-1, dtype=bool))


def test_more_hidden_units_than_degrees_and_less():
    for units in ((1,), (2, 50)):
        assert network(units=units)(np.ones([3, D], "float32")).shape == (3, D, 2)


def test_any_leading_axes_and_a_size_that_the_first_input_tells():
    made = layers.AutoregressiveNetwork(3, hidden_units=[8])
    assert made(np.ones([5, 2, D], "float32")).shape == (5, 2, D, 3)
    assert made(np.ones([D], "float32")).shape == (D, 3)


@pytest.mark.parametrize("where", ["all_layers", "first_layer"])
def test_all_outputs_depend_on_the_conditional_input(where):
    made = network(conditional=True, conditional_event_shape=3, conditional_input_layers=where)
    x, c = tf.ones([1, D]), tf.random.stateless_normal([1, 3], [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(c)
        y = tf.reduce_sum(made(x, conditional_input=c), axis=-1)
    jacobian = tape.jacobian(y, c)[0, :, 0].numpy()
    # The first output has no hidden unit below it: only "all_layers" reaches it.
    reached = jacobian if where == "all_layers" else jacobian[1:]
    assert (reached != 0).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"event_shape": (2, 3)}, "size of a vector"),
        ({"event_shape": 2, "conditional": True}, "together"),
        ({"event_shape": 2, "conditional_event_shape": 1}, "together"),
        ({"event_shape": 2, "input_order": "upwards"}, "left-to-right"),
        ({"event_shape": 2, "input_order": [0, 1]}, "1 to 2"),
        ({"event_shape": 2, "hidden_degrees": "few"}, "equal"),
        ({"event_shape": 2, "conditional_input_layers": "last"}, "all_layers"),
    ],
)
def test_impossible_networks_are_refused_in_words(kwargs, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        layers.AutoregressiveNetwork(2, **kwargs)


def test_impossible_inputs_are_refused_in_words():
    with pytest.raises(InputError, match=r"last axis of 4.*Received"):
        network()(np.ones([1, 3], "float32"))
    with pytest.raises(InputError, match=r"conditional_input.*Received"):
        network()(np.ones([1, D], "float32"), conditional_input=np.ones([1, 1], "float32"))
    with pytest.raises(InputError, match=r"2 parameters.*Received: 3"):
        layers.AutoregressiveTransform(network(3))
    with pytest.raises(InputError, match=r"output_size.*Received: 3"):
        layers.CouplingNetwork(1, 2)(tf.ones([1, 1]), 3)
    with pytest.raises(InputError, match=r"distribution layer.*Received"):
        layers.AutoregressiveTransform(network())(tf.ones([1, D]))


NETWORKS = {
    "made": lambda: network(kernel_regularizer="l2", input_order="random", use_bias=False),
    "conditional": lambda: network(conditional=True, conditional_event_shape=2),
    "coupling": lambda: layers.CouplingNetwork(1, 3, [8, 4], "tanh", conditional_size=2),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_config_gives_the_network_again(make):
    made = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == made.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in made.weights]
    for mask, known in zip(getattr(again, "masks", []), getattr(made, "masks", []), strict=True):
        np.testing.assert_array_equal(mask, known)


def standard(d):
    return lambda: tfd.MultivariateNormalDiag(tf.zeros(d))


def flow(bijector, d=D):
    return tfd.TransformedDistribution(standard(d)(), bijector)


# The bijectors of the papers, all of TFP, on this package's networks.
FLOWS = {
    "masked autoregressive": lambda: tfb.MaskedAutoregressiveFlow(network()),
    "inverse autoregressive": lambda: tfb.Invert(tfb.MaskedAutoregressiveFlow(network())),
    "real nvp": lambda: tfb.RealNVP(
        num_masked=1, shift_and_log_scale_fn=layers.CouplingNetwork(1, D - 1, [8])
    ),
    "chain": lambda: tfb.Chain(
        [
            tfb.MaskedAutoregressiveFlow(network()),
            tfb.Permute([3, 2, 1, 0]),
            tfb.MaskedAutoregressiveFlow(network()),
        ]
    ),
}


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS.keys())
def test_a_flow_is_the_change_of_variables(make):
    """Its inverse inverts, and its log-determinant is that of automatic differentiation."""
    bijector = make()
    u = tf.random.stateless_normal([3, D], [0, 1])
    x = bijector.forward(u)
    fresh = tf.identity(x)  # TFP keeps the pair (u, x) otherwise
    np.testing.assert_allclose(bijector.inverse(fresh), u, atol=1e-4)
    u = tf.identity(u)
    with tf.GradientTape() as tape:
        tape.watch(u)
        x = bijector.forward(u)
    jacobian = tape.batch_jacobian(x, u).numpy()
    log_det = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(u, 1), log_det, atol=1e-4)
    density = flow(bijector).log_prob(tf.identity(x))
    normal = scipy.stats.norm.logpdf(u).sum(axis=-1)
    np.testing.assert_allclose(density, normal - log_det, atol=2e-4)


def density_model(d=2, made=None):
    """A model without input values, as in the documentation of `tfp.layers`."""
    made = made or layers.AutoregressiveNetwork(2, hidden_units=[10], activation="tanh")
    return keras.Sequential(
        [
            keras.Input((0,)),
            layers.DistributionLambda(_standard),
            layers.AutoregressiveTransform(made),
        ]
    )


@keras.saving.register_keras_serializable(package="tests")
def _standard(t):
    shape = tf.concat([tf.shape(t)[:-1], [2]], axis=0)
    return tfd.MultivariateNormalDiag(tf.zeros(shape), tf.ones(2))


def banana(n, seed=0):
    """x1 | x2 ~ N(x2^2 / 4, 1), x2 ~ N(0, 4), whose entropy is known."""
    rng = np.random.default_rng(seed)
    x2 = 2 * rng.normal(size=n)
    return np.stack([x2, rng.normal(size=n) + x2**2 / 4], axis=-1).astype("float32")


@pytest.mark.again
@pytest.mark.parametrize("mode", [{"jit_compile": True}, {"jit_compile": False}], ids=str)
def test_a_flow_of_one_network_learns_a_density(mode):
    x, nothing = banana(2000), np.zeros([2000, 0], "float32")
    made = layers.AutoregressiveNetwork(2, hidden_units=[32], activation="tanh")
    model = density_model(made=made)
    model.compile(keras.optimizers.Adam(0.02), lambda y, rv: -rv.log_prob(y), **mode)
    model.fit(nothing, x, batch_size=300, epochs=40, verbose=0)  # 300 does not divide 2000
    test = banana(2000, seed=1)
    entropy = scipy.stats.norm(scale=2).entropy() + scipy.stats.norm().entropy()
    as_one_normal = scipy.stats.multivariate_normal(x.mean(axis=0), np.cov(x.T)).logpdf(test)
    found = model.evaluate(nothing, test, verbose=0)
    assert entropy - 0.05 < found < entropy + 0.1 < -as_one_normal.mean()
    draws = model(np.zeros([5000, 0], "float32")).numpy()
    found, exact = (scipy.stats.spearmanr(abs(v[:, 0]), v[:, 1])[0] for v in (draws, test))
    np.testing.assert_allclose(found, exact, atol=0.05)


def test_a_flow_trains_eagerly_and_through_its_own_draws():
    model = density_model()
    model.compile("adam", loss="mse", run_eagerly=True)
    before = [w.numpy() for w in model.trainable_weights]
    model.fit(np.zeros([8, 0], "float32"), np.ones([8, 2], "float32"), verbose=0)
    assert all((w.numpy() != b).any() for w, b in zip(model.trainable_weights, before, strict=True))


@pytest.mark.again
def test_a_flow_reloads_and_serves_in_a_fresh_process(tmp_path):
    model = density_model()
    model.compile("adam", NegativeLogLikelihood())
    nothing, x = np.zeros([64, 0], "float32"), banana(64)
    model.fit(nothing, x, verbose=0)
    model.compile("adam")
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "exported", verbose=False)
    np.savez(tmp_path / "known.npz", predict=model.predict(nothing, verbose=0), x=x,
             log_prob=model(nothing).log_prob(x))  # fmt: skip
    code = f"""
import keras, numpy as np, tensorflow as tf, tensorflow_probability as tfp, tfp_vae
tfd = tfp.distributions
@keras.saving.register_keras_serializable(package="tests")
def _standard(t):
    shape = tf.concat([tf.shape(t)[:-1], [2]], axis=0)
    return tfd.MultivariateNormalDiag(tf.zeros(shape), tf.ones(2))
known = np.load("{tmp_path}/known.npz")
nothing = np.zeros([64, 0], "float32")
model = keras.models.load_model("{tmp_path}/m.keras", safe_mode=True)
np.testing.assert_array_equal(model.predict(nothing, verbose=0), known["predict"])
np.testing.assert_array_equal(model(nothing).log_prob(known["x"]), known["log_prob"])
served = tf.saved_model.load("{tmp_path}/exported")
assert served.serve(nothing).shape == (64, 2)
print("same")
"""
    assert python(code).split() == ["same"]


@pytest.mark.again
def test_a_conditional_flow_learns_what_it_is_given():
    """p(x | c) = N(c, 0.1^2): the flow's mean follows c."""
    made = network(d=2, conditional=True, conditional_event_shape=1, units=(16,))
    p = flow(tfb.MaskedAutoregressiveFlow(made, name="maf"), 2)
    layer = layers.DistributionLambda(lambda t: p)  # made's weights are found in the closure
    assert len(layer.trainable_weights) == len(made.weights)
    c = np.random.default_rng(0).uniform(-1, 1, [256, 1]).astype("float32")
    x = c + 0.1 * np.random.default_rng(1).normal(size=[256, 2]).astype("float32")
    optimizer = keras.optimizers.Adam(0.03)

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            kwargs = {"maf": {"conditional_input": c}}
            loss = -tf.reduce_mean(p.log_prob(x, bijector_kwargs=kwargs["maf"]))
        weights = layer.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    losses = [float(step()) for _ in range(300)]
    exact = 2 * scipy.stats.norm(scale=0.1).entropy()
    assert exact - 0.2 < losses[-1] < exact + 0.2


def test_against_tfp_where_tf_keras_is_installed():
    """The same masks and the same values, once the kernels are copied."""
    pytest.importorskip("tf_keras", reason="tfp.bijectors.AutoregressiveNetwork needs tf_keras")
    arguments = {"event_shape": D, "hidden_units": [7, 5], "activation": "tanh"}
    theirs = tfb.AutoregressiveNetwork(params=2, **arguments)
    ours = layers.AutoregressiveNetwork(params=2, **arguments)
    x = np.random.default_rng(0).normal(size=[6, D]).astype("float32")
    expected = theirs(x)
    kernels, biases = theirs.weights[::2], theirs.weights[1::2]
    for mine, other in zip(ours.kernels + ours.biases, kernels + biases, strict=True):
        mine.assign(other.numpy())
    for mask, kernel in zip(ours.masks, kernels, strict=True):
        np.testing.assert_array_equal(mask, kernel.numpy() != 0)
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)
