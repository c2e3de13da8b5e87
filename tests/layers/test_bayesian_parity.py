"""Where tf_keras is installed: signatures, and numbers at the same weights, are `tfp.layers`'s."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers

tf_keras = pytest.importorskip("tf_keras", reason="tfp.layers needs tf_keras")
tfpl, tfd = tfp.layers, tfp.distributions

CASES = {
    "DenseReparameterization": ((3,), {}, (4,)),
    "DenseLocalReparameterization": ((3, "relu"), {}, (4,)),
    "DenseFlipout": ((3,), {}, (4,)),
    "Convolution1DReparameterization": ((3, 2), {"strides": 2, "padding": "same"}, (6, 2)),
    "Convolution1DFlipout": ((3, 2), {"dilation_rate": 2}, (6, 2)),
    "Convolution2DReparameterization": ((3, (2, 3)), {"activation": "tanh"}, (4, 5, 2)),
    "Convolution2DFlipout": ((3, 2, 2, "SAME"), {}, (4, 5, 2)),
    "Convolution3DReparameterization": ((3, 2), {}, (3, 4, 3, 2)),
    "Convolution3DFlipout": ((3, 2), {"padding": "same"}, (3, 4, 3, 2)),
}
pytestmark = pytest.mark.again  # tests/layers/test_bayesian_moments.py has the exact moments
EVERY = pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES.keys())


def pair(name, case, **kwargs):
    """Our layer and theirs at the same random weights, with their x."""
    arguments, options, shape = case
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    made = []
    for module in (layers, tfpl):
        fn = module.default_mean_field_normal_fn()
        prior = module.default_multivariate_normal_fn
        both = {"bias_posterior_fn": fn, "bias_prior_fn": prior}
        made.append(getattr(module, name)(*arguments, **options, **both, **kwargs))
    ours, theirs = made
    theirs(tf.constant(x))
    ours.build(x.shape)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=w.shape) * 0.5 for w in theirs.get_weights()]
    assert [w.name for w in ours.weights] == [
        w.name.split("/")[-1].split(":")[0] for w in theirs.weights
    ]
    for layer in made:
        layer.set_weights(weights)
    return ours, theirs, x


@EVERY
def test_posteriors_and_divergences_are_those_of_tfp_layers(name, case):
    ours, theirs, x = pair(name, case)
    for which in ("kernel_posterior", "kernel_prior", "bias_posterior", "bias_prior"):
        mine, other = getattr(ours, which), getattr(theirs, which)
        np.testing.assert_allclose(mine.mean(), other.mean(), rtol=1e-6)
        np.testing.assert_allclose(mine.stddev(), other.stddev(), rtol=1e-6)
    ours(x)
    theirs(tf.constant(x))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)


@EVERY
def test_outputs_at_the_mean_are_those_of_tfp_layers(name, case):
    mean = {"kernel_posterior_tensor_fn": lambda d: d.mean()}
    ours, theirs, x = pair(name, case, bias_posterior_tensor_fn=lambda d: d.mean(), **mean)
    np.testing.assert_allclose(ours(x), theirs(tf.constant(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *CASES,
        *[name.replace("olution", "") for name in CASES if "Conv" in name],
        "DenseVariational",
        "VariableLayer",
        "BlockwiseInitializer",
        "default_loc_scale_fn",
        "default_mean_field_normal_fn",
        "default_multivariate_normal_fn",
    ],
)
def test_arguments_come_in_the_order_of_tfp_layers(name):
    theirs = getattr(tfpl, name, None) or getattr(tfpl, name.replace("Conv", "Convolution"))
    ours = getattr(layers, name)
    expected = [key for key in inspect.signature(theirs).parameters if key != "kwargs"]
    got = [key for key in inspect.signature(ours).parameters if key != "kwargs"]
    assert got[: len(expected)] == expected
    assert set(got) - set(expected) <= {"seed"}


def test_a_variational_layer_at_the_same_weights():
    def functions(keras_, module):
        def posterior(kernel_size, bias_size, dtype):
            n = kernel_size + bias_size
            return keras_.Sequential(
                [
                    module.VariableLayer(2 * n, dtype=dtype),
                    module.IndependentNormal(n, convert_to_tensor_fn=tfd.Distribution.mean),
                ]
            )

        def prior(kernel_size, bias_size, dtype):
            n = kernel_size + bias_size
            return lambda t: tfd.Independent(tfd.Normal(tf.zeros(n, dtype), 1.0), 1)

        return posterior, prior

    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    values = np.random.default_rng(1).normal(size=30)
    results = []
    for keras_, module in ((keras, layers), (tf_keras, tfpl)):
        layer = module.DenseVariational(3, *functions(keras_, module), 0.1, True, "relu")
        layer(tf.constant(x))
        layer.trainable_weights[0].assign(values)
        results.append([layer(tf.constant(x)), *layer.losses])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("data_init", [True, False])
def test_weight_norm_initializes_as_in_tfp_layers(data_init):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    start = {"kernel_initializer": lambda shape, dtype=None: tf.constant(kernel)}
    ours = layers.WeightNorm(keras.layers.Dense(3, "relu", **start), data_init)
    from tensorflow_probability.python.layers import weight_norm  # not among tfp.layers' exports

    theirs = weight_norm.WeightNorm(tf_keras.layers.Dense(3, "relu", **start), data_init)
    np.testing.assert_allclose(ours(x), theirs(tf.constant(x)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.g, theirs.g, rtol=1e-5)
