"""The KL of weights is counted once, and a schedule counts training steps, however often called."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import normal_kl, plain

from tfp_vae import layers, priors, schedules
from tfp_vae.errors import InputError

tfd = tfp.distributions
T = 5
X = np.random.default_rng(0).normal(size=[6, T, 3]).astype("float32")
Y = np.zeros([6], "float32")
NOTHING = lambda y, out: 0.0 * tf.reduce_sum(out)  # noqa: E731


class Cell(keras.layers.Layer):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.state_size, self.output_size = layer, 3, 3

    def call(self, x, states, training=None):
        h = self.layer(x + states[0])
        return h, [h]


def rnn(**kwargs):
    return lambda layer: keras.Sequential(
        [keras.Input((T, 3)), keras.layers.RNN(Cell(layer), **kwargs)]
    )


def shared(layer):
    x = keras.Input((T, 3))
    return keras.Model(x, layer(layer(x)))


class Own(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x, training=None):
        for _ in range(3):
            x = self.layer(x)
        return x


def scanned(layer):
    class Scan(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def build(self, shape):
            self.layer.build((None, 3))

        def call(self, x, training=None):
            return tf.map_fn(self.layer, x)

    return Scan()


USES = {
    "once": lambda layer: keras.Sequential([keras.Input((T, 3)), layer]),
    "shared": shared,
    "own loop": Own,
    "map_fn": scanned,
    "time distributed": lambda layer: keras.Sequential(
        [keras.Input((T, 3)), keras.layers.TimeDistributed(layer)]
    ),
    "rnn": rnn(),
    "rnn unrolled": rnn(unroll=True),
    "rnn of stacked cells": lambda layer: keras.Sequential(
        [keras.Input((T, 3)), keras.layers.RNN(keras.layers.StackedRNNCells([Cell(layer)]))]
    ),
}


def monte_carlo(q, p, w):
    return q.log_prob(w) - p.log_prob(w)


def variational(**kwargs):
    def posterior(kernel_size, bias_size, dtype):
        n = kernel_size + bias_size
        return keras.Sequential(
            [
                layers.VariableLayer(2 * n, dtype=dtype, initializer="ones"),
                layers.DistributionLambda(
                    lambda t: tfd.Independent(
                        tfd.Normal(t[..., :n], 1e-5 + tf.nn.softplus(t[..., n:])), 1
                    )
                ),
            ]
        )

    def prior(kernel_size, bias_size, dtype):
        return tfd.Independent(tfd.Normal(tf.zeros(kernel_size + bias_size, dtype), 1.0), 1)

    return layers.DenseVariational(3, posterior, prior, use_bias=False, **kwargs)


LAYERS = {
    "reparameterization": lambda: layers.DenseReparameterization(3),
    "local": lambda: layers.DenseLocalReparameterization(3),
    "flipout": lambda: layers.DenseFlipout(3),
    "a lambda": lambda: layers.DenseReparameterization(
        3, kernel_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p)
    ),
    "variational": variational,
}
MODES = {
    "eager": {"run_eagerly": True},
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
}


def posterior_of(layer):
    if isinstance(layer, layers.DenseVariational):
        return layer.posterior(tf.zeros([1, *layer.posterior.input_shape[1:]]))
    return layer.kernel_posterior


def cases(*seldom):
    """All uses in a graph, and what another of these repeats in one more shape or mode."""
    often = {("shared", "eager"), *((use, "graph") for use in USES)}
    for use in USES:
        for mode in MODES:
            marks = () if (use, mode) in often - set(seldom) else (pytest.mark.again,)
            yield pytest.param(use, mode, marks=marks)


def kinds():
    for kind in LAYERS:
        marks = () if kind in ("flipout", "variational") else (pytest.mark.again,)
        yield pytest.param(kind, marks=marks)


@pytest.mark.one
@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize(("use", "mode"), cases())
def test_the_kl_is_counted_once(use, kind, mode):
    """Both its value, and its gradient: that of a unit Normal's KL by loc is loc."""
    layer = LAYERS[kind]()
    model = USES[use](layer)
    model(X)
    model.compile(keras.optimizers.SGD(1.0), NOTHING, **MODES[mode])
    expected = normal_kl(posterior_of(layer))
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.fit(X, Y, verbose=0).history["loss"], [expected], rtol=1e-5)
    np.testing.assert_allclose(
        posterior_of(layer).mean(), tf.zeros_like(posterior_of(layer).mean()), atol=1e-5
    )


@pytest.mark.parametrize("use", ["shared", pytest.param("rnn", marks=pytest.mark.again)])
def test_monte_carlo_is_the_mean_over_the_draws(use):
    """It is within the spread of one draw, not T of them; several calls are less noisy."""
    layer = layers.DenseReparameterization(3, kernel_divergence_fn=monte_carlo)
    model = USES[use](layer)
    model.compile("sgd", NOTHING, jit_compile=False)
    values = [model.evaluate(X, Y, verbose=0) for _ in range(30)]
    expected = normal_kl(layer.kernel_posterior)
    assert abs(np.mean(values) - expected) < 5 * np.std(values) / np.sqrt(30) + 1e-3


def test_eager_draws_are_those_that_were_computed_with():
    seen = []

    def divergence(q, p, w):
        seen.append(w)
        return tf.reduce_sum(w)

    layer = layers.DenseReparameterization(3, kernel_divergence_fn=divergence)
    keras.Sequential([layer, layer])(X)
    assert len(seen) == 2
    np.testing.assert_allclose(
        layer.losses, [(tf.reduce_sum(seen[0]) + tf.reduce_sum(seen[1])) / 2], rtol=1e-5
    )
    layer(X)  # the losses of the pass before are gone
    np.testing.assert_allclose(layer.losses, [tf.reduce_sum(seen[2])], rtol=1e-5)


def test_a_loss_outside_of_the_tape_keeps_its_gradient():
    layer = layers.DenseReparameterization(3)
    layer.build((None, 3))
    with tf.GradientTape() as tape:
        layer(X)
    loc = layer.trainable_weights[0]
    np.testing.assert_allclose(tape.gradient(layer.losses[0], loc.value), loc, rtol=1e-5)


def test_stateless_calls_give_the_losses():
    layer = layers.DenseReparameterization(3)
    layer.build((None, 3))
    values = (
        [v.value for v in layer.trainable_variables],
        [v.value for v in layer.non_trainable_variables],
    )
    *_, losses = layer.stateless_call(*values, X, return_losses=True)
    np.testing.assert_allclose(losses, [normal_kl(layer.kernel_posterior)], rtol=1e-5)


SCHEDULED = {
    "regularizer": lambda w: (
        layers.DistributionLambda(
            lambda t: tfd.Normal(t, 1.0),
            "mean",
            activity_regularizer=layers.KLDivergenceRegularizer(
                lambda: tfd.Normal(0.0, 1.0), weight=w
            ),
        ),
        lambda layer: layer.kl_regularizer.step,
    ),
    "add loss": lambda w: (
        layers.KLDivergenceAddLoss(priors.unit_normal(()), weight=w),
        lambda layer: layer.regularizer.step,
    ),
    "variational": lambda w: (variational(kl_weight=w), lambda layer: layer._step),
}


@pytest.mark.one
@pytest.mark.parametrize(("use", "mode"), cases(("rnn unrolled", "graph")))
@pytest.mark.parametrize("kind", SCHEDULED)
def test_a_schedule_counts_training_steps(kind, use, mode):
    if kind == "add loss" and use != "once":
        pytest.skip("takes a distribution")
    if kind == "regularizer" and ("rnn" in use or use == "map_fn") and "unroll" not in use:
        pytest.skip(
            "the KL of a distribution within a loop is of each step: nothing outside sees it"
        )
    layer, count = SCHEDULED[kind](schedules.warm_up(10))
    model = (
        USES[use](layer)
        if kind != "add loss"
        else keras.Sequential(
            [keras.Input((T, 3)), layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0)), layer]
        )
    )
    model(X)
    model.compile(keras.optimizers.SGD(0.0), NOTHING, **MODES[mode])
    history = model.fit(X, Y, batch_size=2, epochs=2, verbose=0, shuffle=False).history["loss"]
    assert int(count(layer).count) == 6
    model.evaluate(X, Y, verbose=0)
    assert int(count(layer).count) == 6
    if kind == "variational":  # the weights 0, .1, .2 and .3, .4, .5
        kl = normal_kl(posterior_of(layer))
        np.testing.assert_allclose(history, [0.1 * kl, 0.4 * kl], rtol=1e-5)


WEIGHTS = {
    "number": lambda: 0.25,
    "numpy": lambda: np.float32(0.25),
    "keras variable": lambda: keras.Variable(0.25),
    "tf variable": lambda: tf.Variable(0.25, trainable=False),
    "trainable tf variable": lambda: tf.Variable(0.25),
    "tensor": lambda: tf.constant(0.25),
    "schedule": lambda: keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.25, 1.0]),
    "function": lambda: lambda step: 0.25,
}


@pytest.mark.one
@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_the_weight_of_dense_variational(make, tmp_path):
    given = make()
    layer = variational(kl_weight=given)
    model = keras.Sequential([keras.Input((3,)), layer])
    assert len(model.trainable_weights) == 1  # the weight is not trained
    model.compile(keras.optimizers.SGD(0.0), NOTHING, jit_compile=False)
    kl, x = normal_kl(posterior_of(layer)), X[:, 0]
    np.testing.assert_allclose(model.fit(x, Y, verbose=0).history["loss"], [kl / 4], rtol=1e-5)
    if hasattr(given, "assign"):
        given.assign(0.5)
        np.testing.assert_allclose(model.fit(x, Y, verbose=0).history["loss"], [kl / 2], rtol=1e-5)


@pytest.mark.parametrize("make", [v for k, v in WEIGHTS.items() if k != "function"])
def test_the_weight_is_saved(make, tmp_path):
    layer = layers.DenseVariational(3, plain, plain, kl_weight=make())
    model = keras.Sequential([keras.Input((3,)), layer])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras").layers[0].kl_weight
    assert float(again(0) if callable(again) else again) == 0.25


@pytest.mark.parametrize(
    "weight", ["1", [1.0], tf.ones([2]), object(), np.ones(3), tf.constant("a")]
)
@pytest.mark.parametrize(
    "use",
    [lambda w: variational(kl_weight=w), lambda w: layers.KLDivergenceRegularizer(plain, weight=w)],
)
def test_what_is_no_weight_is_refused(weight, use):
    with pytest.raises(InputError, match=r"[Ee]xpected .*weight to be a number.*Received"):
        use(weight)


@pytest.mark.parametrize("kind", ["variational", "flipout"])
def test_looking_at_the_losses_draws_nothing(kind):
    layer = LAYERS[kind]()
    model = keras.Sequential([keras.Input((3,)), layer])
    tf.function(model)(X[:, 0])  # the losses that are left are of this function's graph
    before = [v.numpy() for v in model.variables]
    expected = normal_kl(posterior_of(layer)) if kind == "flipout" else None
    for v, value in zip(model.variables, before, strict=True):
        v.assign(value)
    assert len(model.losses) == 1
    assert expected is None or np.isclose(model.losses[0], expected, rtol=1e-5)
    for v, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v, value)
