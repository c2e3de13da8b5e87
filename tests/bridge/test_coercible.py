import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from matplotlib.figure import Figure

from tfp_vae import layers
from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.errors import InputError

tfd = tfp.distributions
LOC = np.array([[0.5, -1.0], [2.0, 0.0]], "float32")


def coercible(convert=tfd.Distribution.sample, **kwargs):
    return TensorCoercible(tfd.Independent(tfd.Normal(LOC, 2.0), 1), convert, **kwargs)


def plain():
    return tfd.Independent(tfd.Normal(LOC, 2.0), 1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda d: d.log_prob(LOC + 1),
        lambda d: d.prob(LOC),
        lambda d: d.entropy(),
        lambda d: d.mean(),
        lambda d: d.mode(),
        lambda d: d.variance(),
        lambda d: d.stddev(),
        lambda d: tfd.Distribution.mean(d),
        lambda d: d.sample(3, seed=(1, 2)),
        lambda d: d.experimental_sample_and_log_prob(seed=(1, 2))[1],
        lambda d: d.batch_shape_tensor(),
        lambda d: d.event_shape_tensor(),
        lambda d: d.distribution.loc,
        lambda d: getattr(d, "at", d)[:1].mean(),
        lambda d: d.copy(validate_args=True).mean(),
        lambda d: d.kl_divergence(tfd.Independent(tfd.Normal(tf.zeros(2), 1.0), 1)),
        lambda d: tfd.kl_divergence(tfd.Independent(tfd.Normal(tf.zeros(2), 1.0), 1), d),
        lambda d: d.cross_entropy(d),
        lambda d: d.experimental_default_event_space_bijector().forward(LOC),
    ],
)
def test_answers_as_the_distribution_it_wraps(ask):
    np.testing.assert_array_equal(ask(coercible()), ask(plain()))


@pytest.mark.parametrize("method", ["cdf", "log_cdf", "survival_function", "quantile"])
def test_scalar_functions_answer_as_the_distribution_it_wraps(method):
    value = np.array([0.2, 0.7], "float32")
    wrapped = TensorCoercible(tfd.Normal(LOC, 2.0))
    expected = getattr(tfd.Normal(LOC, 2.0), method)(value)
    np.testing.assert_array_equal(getattr(wrapped, method)(value), expected)


def test_two_coercibles_have_a_kl():
    np.testing.assert_allclose(tfd.kl_divergence(coercible(), coercible()), 0.0)


def test_is_a_distribution_with_shapes_and_a_text():
    d = coercible()
    assert isinstance(d, tfd.Distribution)
    assert d.batch_shape == [2]
    assert d.event_shape == [2]
    assert str(d) == str(plain())


def test_is_plotted_as_the_tensor_that_it_is():
    d = coercible()
    first, second = Figure().add_subplot().plot(d)
    np.testing.assert_array_equal(first.get_ydata(), d.numpy()[:, 0])
    np.testing.assert_array_equal(second.get_ydata(), d.numpy()[:, 1])


def test_is_a_tensor_that_is_drawn_once():
    d = coercible()
    assert tf.is_tensor(d)
    assert d.ndim == 2
    assert d.shape == d.get_shape() == [2, 2]
    first = tf.convert_to_tensor(d)
    np.testing.assert_array_equal(first, tf.identity(d))
    np.testing.assert_array_equal(first, np.asarray(d))
    np.testing.assert_array_equal(first, d.numpy())
    assert np.asarray(d, dtype="float64").dtype == "float64"


@pytest.mark.parametrize(
    "operate",
    [
        lambda t: t + 1.0,
        lambda t: 1.0 - t,
        lambda t: t * t,
        lambda t: -t,
        lambda t: abs(t),
        lambda t: t @ tf.ones([2, 1]),
        lambda t: t > 0.0,
        lambda t: 2.0 / t,
        lambda t: t**2,
    ],
)
def test_operators_are_those_of_the_tensor(operate):
    np.testing.assert_array_equal(operate(coercible(lambda d: d.mean())), operate(tf.constant(LOC)))


def test_conversion_to_another_dtype_is_refused_in_words():
    with pytest.raises(ValueError, match=r"float64.*Received.*float32"):
        tf.convert_to_tensor(coercible(), tf.float64)


def test_unnamed_draws_take_their_seed_from_next_seed():
    seeds = iter([(1, 1), (2, 2), (3, 3)])
    d = coercible(next_seed=lambda: next(seeds))
    np.testing.assert_array_equal(d.sample(), plain().sample(seed=(1, 1)))
    np.testing.assert_array_equal(tf.convert_to_tensor(d), plain().sample(seed=(2, 2)))
    np.testing.assert_array_equal(d.sample(4, seed=(9, 9)), plain().sample(4, seed=(9, 9)))
    sampled, _ = d.experimental_sample_and_log_prob()
    np.testing.assert_array_equal(sampled, plain().sample(seed=(3, 3)))


CASTS = {
    "cast": (lambda t: tf.cast(t, tf.float64), LOC),
    "expand first": (lambda t: tf.expand_dims(t, 0), LOC[None]),
    "expand between": (lambda t: tf.expand_dims(t, axis=1), LOC[:, None]),
    "squeeze": (lambda t: tf.squeeze(tf.expand_dims(t, 1), [1]), LOC),
    "as Keras": (lambda t: keras.ops.expand_dims(keras.ops.cast(t, "float64"), 1), LOC[:, None]),
}


@pytest.mark.parametrize(("change", "loc"), CASTS.values(), ids=CASTS.keys())
@pytest.mark.parametrize("graph", [False, True])
def test_cast_or_of_another_rank_it_is_a_distribution_still(change, loc, graph):
    d = coercible()

    drawn = d.value()

    def run():
        changed = change(d)
        changed.set_shape(changed.shape)  # as of any tensor
        return changed, changed.log_prob(loc + 1)

    tensor, log_prob = tf.function(run)() if graph else run()
    np.testing.assert_array_equal(tensor, change(drawn))
    np.testing.assert_allclose(
        log_prob, tfd.Independent(tfd.Normal(loc, 2.0), 1).log_prob(loc + 1), rtol=1e-6
    )


def test_the_last_axis_of_an_event_is_squeezed():
    d = TensorCoercible(tfd.Independent(tfd.Normal(LOC[..., None], 2.0), 2))
    squeezed = tf.squeeze(d, -1)
    np.testing.assert_array_equal(squeezed, tf.convert_to_tensor(d)[..., 0])
    np.testing.assert_allclose(squeezed.log_prob(LOC + 1), plain().log_prob(LOC + 1), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [lambda t: tf.expand_dims(t, -1), lambda t: tf.squeeze(t), lambda t: tf.squeeze(t, [0, 1])],
)
def test_of_a_shape_that_no_distribution_has_it_is_a_tensor(change):
    d = TensorCoercible(tfd.Independent(tfd.Normal(np.zeros([1, 1], "float32"), 2.0), 1))
    assert isinstance(change(d), tf.Tensor)


def test_a_process_over_all_rows_is_one_still_where_keras_makes_its_draw_a_column():
    d = TensorCoercible(tfd.MultivariateNormalDiag(np.zeros(3, "float32"), np.ones(3, "float32")))
    column = tf.expand_dims(d, -1)
    assert column.shape == (3, 1)
    np.testing.assert_array_equal(column.log_prob([1.0, 2, 3]), d.log_prob([1.0, 2, 3]))
    with pytest.raises(InputError, match="all pairs"):
        column.log_prob(np.ones([3, 1], "float32"))


def test_a_mask_stays_with_what_is_cast():
    d = coercible()
    keras.src.backend.set_keras_mask(d, tf.constant([True, False]))
    np.testing.assert_array_equal(tf.cast(d, tf.float64)._keras_mask, [True, False])


class Unsliced(tfd.Normal):
    def __getitem__(self, index):
        raise KeyError(index)


def test_a_distribution_that_cannot_be_sliced_gives_a_tensor():
    assert isinstance(tf.expand_dims(TensorCoercible(Unsliced(LOC, 1.0)), 0), tf.Tensor)


def test_a_distribution_within_another_is_asked_for_all_pairs():
    """A mixture's components, however many values there are: TFP pads these itself."""
    parameters = tf.constant([[0.0, 1.0], [1.0, 2.0], [-1.0, 0.5]])
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros([3])), layers.IndependentNormal([])(parameters)
    )
    x = tf.constant([0.3, -1.0, 2.0, 0.0, 1.0])
    np.testing.assert_allclose(mixture.log_prob(x[:3]), mixture.log_prob(x)[:3], rtol=1e-6)
