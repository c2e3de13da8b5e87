"""What layers with random weights compute: moments, divergences, variances of gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import DRAWS, EVERY, ROWS, built, draws_of, inputs, moments, normal_kl

from tfp_vae import layers

tfd = tfp.distributions


@EVERY
@pytest.mark.one
def test_outputs_have_the_exact_mean_and_variance(row):
    layer = built(
        row,
        bias_posterior_fn=layers.default_mean_field_normal_fn(),
        bias_prior_fn=layers.default_multivariate_normal_fn,
    )
    x = inputs(row, 2)
    mean, variance = moments(row, layer, x)
    y = draws_of(layer, x)
    error = (y.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)
    assert np.abs(error).max() < 5
    np.testing.assert_allclose(y.var(axis=0), variance, rtol=6 * np.sqrt(2 / DRAWS))


@EVERY
def test_the_mean_of_the_weights_gives_the_affine_map(row):
    x, layer = inputs(row), built(row, kernel_posterior_tensor_fn="mean", activation="relu")
    mean, _ = moments(row, layer, x)
    np.testing.assert_allclose(layer(x), np.maximum(mean, 0), rtol=1e-5, atol=1e-5)


@EVERY
def test_the_losses_are_the_kl_divergences_in_nats(row):
    layer = built(
        row,
        bias_posterior_fn=layers.default_mean_field_normal_fn(),
        bias_prior_fn=layers.default_multivariate_normal_fn,
        bias_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p) / 10,
    )
    layer(inputs(row))
    assert [loss.shape for loss in layer.losses] == [(), ()]
    expected = [normal_kl(layer.kernel_posterior), normal_kl(layer.bias_posterior) / 10]
    np.testing.assert_allclose(layer.losses, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "count"),
    [({}, 1), ({"kernel_divergence_fn": None}, 0), ({"kernel_prior_fn": None}, 0)],
)
def test_a_loss_for_each_prior_with_a_divergence(kwargs, count):
    layer = built(ROWS["dense"], **kwargs)
    for _ in range(2):
        layer(inputs(ROWS["dense"]))
        assert len(layer.losses) == count


def test_a_divergence_for_each_weight_is_summed():
    layer = built(ROWS["dense"], kernel_divergence_fn=lambda q, p, _: tf.ones([4, 3]))
    layer(inputs(ROWS["dense"]))
    assert [float(loss) for loss in layer.losses] == [12.0]


@EVERY
def test_examples_of_a_batch_share_noise_or_do_not(row):
    layer = built(row, n=2)
    x = np.repeat(inputs(row, 1), 2, axis=0)
    y = draws_of(layer, x)
    a, b = y[:, 0], y[:, 1]
    if row.shares_noise:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    else:
        a, b = (part - part.mean(axis=0) for part in (a, b))
        correlation = (a * b).mean(axis=0) / (a.std(axis=0) * b.std(axis=0))
        assert np.abs(correlation).max() < 6 / np.sqrt(DRAWS)
        assert np.corrcoef(np.ravel(a**2), np.ravel(b**2))[0, 1] < 0.9  # nor up to its sign
        a, b = (
            part.take(0, layer.channel_axis) * part.take(1, layer.channel_axis) for part in (a, b)
        )
        assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 0.15  # nor of two outputs


@pytest.mark.one
@pytest.mark.parametrize(
    "name", [name for name in ROWS if name not in ("dense-local", "dense-flipout-sequence")]
)
def test_outputs_of_one_example_have_the_covariance_of_one_kernel(name):
    """By the matrix of the map from the kernel to the output, a column for each of its entries."""
    row = ROWS[name]
    layer, x = built(row, n=1), inputs(row, 1)
    variance = layer.kernel_posterior.variance().numpy().astype("float64")
    units = np.eye(variance.size).reshape(-1, *variance.shape)
    matrix = np.stack([row.affine(x, unit).ravel() for unit in units], axis=1)
    expected = matrix * variance.ravel() @ matrix.T
    got = np.cov(draws_of(layer, x).reshape(DRAWS, -1).T)
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / DRAWS)
    assert (np.abs(got - expected) / spread).max() < 6


def gradient_variance(row, **kwargs):
    """The variance of d(mean squared output)/d(loc), summed, for a batch of 64."""
    layer, x = built(row, n=64, seed=3, **kwargs), inputs(row, 64)

    @tf.function
    def gradients():
        def gradient(_):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(layer(x)))
            return tape.gradient(loss, layer.trainable_weights[0].value)

        return tf.map_fn(gradient, tf.range(300), tf.float32)

    return gradients().numpy().var(axis=0).sum()


@pytest.mark.one
@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("dense-flipout", "dense"),
        ("dense-local", "dense"),
        ("conv2d-flipout", layers.Convolution2DReparameterization),
        ("conv1d-flipout", layers.Convolution1DReparameterization),
    ],
)
def test_gradients_vary_less_than_with_shared_noise(name, plain):
    row = ROWS[name]
    if isinstance(plain, str):
        shared = ROWS[plain]
    else:
        arguments, options = row.build.args, row.build.keywords
        shared = row._replace(build=lambda **kw: plain(*arguments, **options, **kw))
    assert gradient_variance(row) < 0.5 * gradient_variance(shared)


@pytest.mark.parametrize("name", ["dense", "dense-local", "dense-flipout", "conv2d-flipout"])
def test_the_divergence_gets_the_draw(name):
    got = {}

    def divergence(q, p, w):
        got.update(q=q, p=p, w=w)
        return 0.0

    row = ROWS[name]
    layer = built(row, kernel_divergence_fn=divergence)
    x = inputs(row)
    y = layer(x)
    assert got["p"] is layer.kernel_prior
    np.testing.assert_array_equal(got["q"].mean(), layer.kernel_posterior.mean())
    if name == "dense-local":
        assert got["w"] is None
        return
    assert got["w"].shape == layer.kernel_posterior.event_shape
    if name == "dense":
        bias = layer.bias_posterior.mean().numpy()
        np.testing.assert_allclose(y, row.affine(x, got["w"].numpy()) + bias, rtol=1e-5, atol=1e-6)
    else:
        many = []
        for _ in range(100):
            layer(x)
            many.append(got["w"].numpy())
        q = layer.kernel_posterior
        np.testing.assert_allclose(np.std(many, axis=0), q.stddev(), rtol=0.4)
        error = (np.mean(many, axis=0) - q.mean()) / (q.stddev() / 10)
        assert np.abs(error).max() < 5
