import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers, priors, schedules
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.errors import InputError

tfd = tfp.distributions
UNIT = priors.unit_normal(3)


def parameters(n=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 6)).astype("float32")


def formula(t):
    """-1/2 sum(1 + log s^2 - s^2 - m^2) for each example."""
    m, s = t[:, :3].astype("float64"), np.logaddexp(0, t[:, 3:].astype("float64"))
    return -0.5 * np.sum(1 + np.log(s**2) - s**2 - m**2, axis=1)


def regularized(*args, convert="sample", **kwargs):
    regularizer = layers.KLDivergenceRegularizer(*args, **kwargs)
    return layers.IndependentNormal(3, convert, activity_regularizer=regularizer, seed=0)


def added(*args, convert="sample", **kwargs):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.IndependentNormal(3, convert, seed=0),
            layers.KLDivergenceAddLoss(*args, **kwargs),
        ]
    )


BOTH = pytest.mark.parametrize("carrier", [regularized, added])


@pytest.mark.one
@BOTH
@pytest.mark.parametrize("n", [1, 7, 64])
def test_one_entry_the_batch_mean_of_the_formula(carrier, n):
    layer, t = carrier(UNIT), parameters(n)
    layer(t)
    assert len(layer.losses) == 1
    np.testing.assert_allclose(layer.losses[0], formula(t).mean(), rtol=1e-6)


@BOTH
def test_monte_carlo_is_at_the_very_draw_of_the_output(carrier):
    layer, t = carrier(UNIT, use_exact_kl=False), parameters()
    q = layer(t)
    z = tf.convert_to_tensor(q)
    expected = tf.reduce_mean(q.log_prob(z) - UNIT.log_prob(z))
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-6)


@BOTH
def test_monte_carlo_with_many_draws_comes_to_the_closed_form(carrier):
    layer, t = carrier(UNIT, use_exact_kl=False, convert=lambda d: d.sample(20_000)), parameters()
    layer(t)
    assert len(layer.losses) == 1
    np.testing.assert_allclose(layer.losses[0], formula(t).mean(), rtol=0.01)


@BOTH
@pytest.mark.parametrize("draws", [1, 5])
def test_several_draws_leave_the_closed_form_alone(carrier, draws):
    layer, t = carrier(UNIT, convert=lambda d: d.sample(draws)), parameters()
    layer(t)
    np.testing.assert_allclose(layer.losses[0], formula(t).mean(), rtol=1e-6)


@BOTH
def test_a_pair_without_closed_form_falls_back_to_the_same_draw(carrier):
    prior = tfd.Independent(tfd.Laplace(tf.zeros(3), 1.0), 1)
    layer, t = carrier(prior), parameters()
    q = layer(t)
    z = tf.convert_to_tensor(q)
    expected = tf.reduce_mean(q.log_prob(z) - prior.log_prob(z))
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-5)


@BOTH
def test_exact_where_there_is_none_names_the_pair(carrier):
    layer = carrier(tfd.Independent(tfd.Laplace(tf.zeros(3), 1.0), 1), use_exact_kl=True)
    with pytest.raises(ValueError, match=r"Independent\(Normal\).*Independent\(Laplace\)"):
        layer(parameters())


@BOTH
def test_points_of_your_own_mean_monte_carlo(carrier):
    layer = carrier(UNIT, test_points_fn=lambda d: d.mean(), test_points_reduce_axis=0)
    t = parameters()
    q = layer(t)
    expected = tf.reduce_mean(q.log_prob(q.mean()) - UNIT.log_prob(q.mean()))
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-6)


@BOTH
def test_weight_as_number_and_as_variable(carrier):
    variable, t = keras.Variable(0.25), parameters()
    for weight in (0.25, variable, tf.Variable(0.25)):
        layer = carrier(UNIT, weight=weight)
        layer(t)
        np.testing.assert_allclose(layer.losses[0], 0.25 * formula(t).mean(), rtol=1e-6)
    variable.assign(3.0)
    layer = carrier(UNIT, weight=variable)
    layer(t)
    np.testing.assert_allclose(layer.losses[0], 3 * formula(t).mean(), rtol=1e-6)


@BOTH
def test_a_scheduled_weight_counts_training_steps_only(carrier):
    layer, t = carrier(UNIT, weight=schedules.warm_up(4)), parameters()
    seen = []
    for training in (True, False, True, True, True, True):
        layer(t, training=training)
        seen.append(float(layer.losses[0]) / formula(t).mean())
    # Evaluation (the second) has the weight of the last training step.
    np.testing.assert_allclose(seen, [0, 0, 0.25, 0.5, 0.75, 1.0], atol=1e-5)


def test_a_scheduled_weight_goes_on_after_reload(tmp_path):
    model = keras.Sequential([keras.Input((6,)), regularized(UNIT, weight=schedules.warm_up(10))])
    for _ in range(3):
        model(parameters(), training=True)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for m in (model, again):
        m(parameters())
    np.testing.assert_array_equal(again.losses[0], model.losses[0])


@BOTH
def test_a_function_as_the_prior(carrier):
    layer, t = carrier(lambda: priors.unit_normal(3)), parameters()
    layer(t)
    np.testing.assert_allclose(layer.losses[0], formula(t).mean(), rtol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class LearnedNormal(priors.Prior):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.loc = self.add_weight(shape=(3,), name="loc")

    def distribution(self):
        return tfd.Independent(tfd.Normal(tf.convert_to_tensor(self.loc), 1.0), 1)


@pytest.mark.again
@BOTH
def test_a_learned_prior_is_trained_and_saved(carrier, tmp_path):
    prior, t = LearnedNormal(), parameters(64) + 2.0
    model = keras.Sequential([keras.Input((6,)), carrier(prior)])
    assert [w.path for w in model.trainable_weights] == [prior.loc.path]
    model.compile(
        keras.optimizers.Adam(0.1), loss=lambda y, rv: 0.0 * rv.log_prob(y), jit_compile=False
    )
    model.fit(t, t[:, :3], epochs=100, batch_size=64, verbose=0)
    # KL[q || N(loc, 1)] is least where loc is the mean of q's means
    np.testing.assert_allclose(prior.loc, t[:, :3].mean(axis=0), atol=0.02)
    model.compile("adam", jit_compile=False)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.trainable_weights[0], prior.loc)


def test_by_hand_a_regularizer_gives_the_batch_mean():
    t = parameters()
    mean = layers.KLDivergenceRegularizer(UNIT)(layers.IndependentNormal(3)(t))
    np.testing.assert_allclose(mean, formula(t).mean(), rtol=1e-6)


def test_a_tensor_is_refused_in_words():
    with pytest.raises(TypeError, match="distribution layer"):
        layers.KLDivergenceRegularizer(UNIT)(tf.zeros([2, 3]))


@pytest.mark.parametrize("weight", [None, 0.5, schedules.warm_up(5), schedules.Cyclical(5)])
def test_the_config_gives_the_regularizer_again(weight):
    regularizer = layers.KLDivergenceRegularizer(UNIT, True, (0,), weight=weight)
    config = keras.saving.serialize_keras_object(regularizer)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert again.test_points_reduce_axis == (0,)
    assert again.use_exact_kl is True


def test_add_loss_in_a_functional_model():
    inputs = keras.Input((6,))
    q = layers.KLDivergenceAddLoss(UNIT)(layers.IndependentNormal(3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(q))
    t = parameters()
    model(t)
    np.testing.assert_allclose(model.losses, [formula(t).mean()], rtol=1e-6)


def test_an_ordinary_activity_regularizer_is_as_keras_has_it():
    layer = layers.IndependentNormal(3, "mean", activity_regularizer=keras.regularizers.L2(0.1))
    t = parameters()
    layer(t)
    reference = keras.layers.Identity(activity_regularizer=keras.regularizers.L2(0.1))
    reference(t[:, :3])
    np.testing.assert_allclose(layer.losses, reference.losses, rtol=1e-6)


def test_another_regularizer_may_be_set_when_the_layer_is_built():
    layer, t = regularized(UNIT), parameters()
    losses = []
    for weight in (1.0, None, 3.0):
        kl = None if weight is None else layers.KLDivergenceRegularizer(UNIT, weight=weight)
        layer.activity_regularizer = kl
        layer(t)
        losses.append(sum(layer.losses))
    np.testing.assert_allclose(losses, formula(t).mean() * np.array([1, 0, 3]), rtol=1e-6)


def test_divergence_takes_points_only_where_it_needs_them():
    def never():
        raise AssertionError

    q = tfd.Normal(1.0, 1.0)
    assert float(kl_divergence(q, tfd.Normal(0.0, 1.0), points=never)) == pytest.approx(0.5)


class Step(keras.layers.Layer):
    """An RNN's cell whose state is drawn."""

    state_size = output_size = 2

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)
        regularizer = layers.KLDivergenceRegularizer(priors.unit_normal(2))
        self.draw = layers.IndependentNormal(2, "mean", activity_regularizer=regularizer)

    def build(self, input_shape):
        self.dense.build((None, input_shape[-1] + 2))

    def call(self, x, states):
        z = self.draw(self.dense(tf.concat([x, states[0]], axis=1)))
        return z, [z]


def recurrent(**kwargs):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, keras.layers.RNN(Step(), **kwargs)(inputs))
    return model, np.random.default_rng(0).normal(size=(6, 3, 4)).astype("float32")


def test_the_kl_of_each_step_of_an_unrolled_rnn_counts():
    model, x = recurrent(unroll=True)
    cell, state, expected = model.layers[1].cell, np.zeros([6, 2], "float32"), []
    for step in range(3):
        d = layers.IndependentNormal(2)(cell.dense(np.concatenate([x[:, step], state], axis=1)))
        mean, variance, state = d.mean(), d.variance(), d.mean().numpy()
        expected.append(np.mean(np.sum(mean**2 + variance - 1 - np.log(variance), axis=1)) / 2)
    actual = tf.function(lambda x: (model(x), model.losses)[1])(x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_the_kl_within_the_loop_of_an_rnn_is_refused_in_words():
    model, x = recurrent()
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(InputError, match="unroll=True"):
        model.fit(x, x[:, 0, :2], verbose=0)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(x, x[:, 0, :2], verbose=0)
