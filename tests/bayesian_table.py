"""The table of layers with random weights: a new layer is one more row."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers

tfd = tfp.distributions
DRAWS = 2000


class Row(NamedTuple):
    """A layer, and what it ought to be.

    Attributes:
      build: the layer, given further keyword arguments.
      input_shape: of one example.
      affine: (x, kernel) -> x W in float64, by loops over numpy arrays.
      shares_noise: whether all examples of a batch have the same weights.
    """

    build: Callable[..., Any]
    input_shape: tuple[int, ...]
    affine: Callable[[np.ndarray, np.ndarray], np.ndarray]
    shares_noise: bool


def convolve(x, kernel, strides=1, padding="valid", dilation_rate=1, channels_first=False):
    """A cross-correlation, one entry of the kernel at a time."""
    if channels_first:
        x = np.moveaxis(x, 1, -1)
    *size, _, filters = kernel.shape
    reach = [dilation_rate * (k - 1) + 1 for k in size]
    space = x.shape[1:-1]
    if padding == "same":
        out = [-(-n // strides) for n in space]
        total = [
            max((o - 1) * strides + r - n, 0) for o, r, n in zip(out, reach, space, strict=True)
        ]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    else:
        out = [(n - r) // strides + 1 for n, r in zip(space, reach, strict=True)]
    y = np.zeros((len(x), *out, filters))
    for entry in itertools.product(*map(range, size)):
        window = tuple(
            slice(e * dilation_rate, e * dilation_rate + (o - 1) * strides + 1, strides)
            for e, o in zip(entry, out, strict=True)
        )
        y += x[(slice(None), *window)].astype("float64") @ kernel[entry].astype("float64")
    return np.moveaxis(y, -1, 1) if channels_first else y


def _matmul(x, kernel):
    return x.astype("float64") @ kernel.astype("float64")


def _dense(layer, input_shape=(4,)):
    return Row(functools.partial(layer, 3), input_shape, _matmul, "DenseRep" in layer.__name__)


def _conv(layer, input_shape, kernel_size=2, **kwargs):
    oracle = {key: value for key, value in kwargs.items() if key != "data_format"}
    oracle["channels_first"] = kwargs.get("data_format") == "channels_first"
    build = functools.partial(layer, 3, kernel_size, **kwargs)
    return Row(build, input_shape, functools.partial(convolve, **oracle), "Rep" in layer.__name__)


ROWS = {
    "dense": _dense(layers.DenseReparameterization),
    "dense-local": _dense(layers.DenseLocalReparameterization),
    "dense-flipout": _dense(layers.DenseFlipout),
    "dense-flipout-sequence": _dense(layers.DenseFlipout, (2, 4)),
    "conv1d": _conv(layers.Convolution1DReparameterization, (5, 2), dilation_rate=2),
    "conv1d-flipout": _conv(layers.Convolution1DFlipout, (5, 2), strides=2, padding="same"),
    "conv2d": _conv(layers.Convolution2DReparameterization, (4, 3, 2), (3, 2), padding="SAME"),
    "conv2d-flipout": _conv(layers.Convolution2DFlipout, (4, 3, 2), (3, 2)),
    "conv2d-first": _conv(
        layers.Convolution2DFlipout, (2, 4, 3), (3, 2), data_format="channels_first"
    ),
    "conv3d": _conv(layers.Convolution3DReparameterization, (3, 2, 3, 2)),
    "conv3d-flipout": _conv(layers.Convolution3DFlipout, (3, 2, 3, 2), 2, padding="same"),
}
ROWS["conv2d"] = ROWS["conv2d"]._replace(affine=functools.partial(convolve, padding="same"))


# The functions of TFP's tutorial on probabilistic regression, with the imports changed.


@keras.saving.register_keras_serializable(package="tests")
def posterior_mean_field(kernel_size, bias_size=0, dtype=None):
    n = kernel_size + bias_size
    c = np.log(np.expm1(1.0))
    return keras.Sequential(
        [
            layers.VariableLayer(2 * n, dtype=dtype),
            layers.DistributionLambda(
                lambda t: tfd.Independent(
                    tfd.Normal(loc=t[..., :n], scale=1e-5 + tf.nn.softplus(c + t[..., n:])),
                    reinterpreted_batch_ndims=1,
                )
            ),
        ]
    )


@keras.saving.register_keras_serializable(package="tests")
def prior_trainable(kernel_size, bias_size=0, dtype=None):
    n = kernel_size + bias_size
    return keras.Sequential(
        [
            layers.VariableLayer(n, dtype=dtype),
            layers.DistributionLambda(
                lambda t: tfd.Independent(tfd.Normal(loc=t, scale=1), reinterpreted_batch_ndims=1)
            ),
        ]
    )


@keras.saving.register_keras_serializable(package="tests")
def plain(kernel_size, bias_size, dtype):
    return tfd.Independent(tfd.Normal(tf.zeros(kernel_size + bias_size, dtype), 1.0), 1)


def _variational(**kwargs):
    return layers.DenseVariational(3, posterior_mean_field, prior_trainable, **kwargs)


WITH_VARIATIONAL = {
    **ROWS,
    "dense-variational": Row(_variational, (4,), _matmul, True),
}


def inputs(row, n=4, seed=1, dtype="float32"):
    return np.random.default_rng(seed).normal(size=(n, *row.input_shape)).astype(dtype)


def set_weights(layer, seed=2):
    """Weights of order 1, so that noise is a large part of the output."""
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
    return layer


def built(row, n=4, **kwargs):
    layer = row.build(**kwargs)
    layer.build((n, *row.input_shape))
    return set_weights(layer)


def model_of(row, **kwargs):
    return keras.Sequential([keras.Input(row.input_shape), row.build(**kwargs)])


def draws_of(layer, x, n=DRAWS):
    """n outputs for the same x, `[n, *output]`."""
    draw = tf.function(lambda x: tf.map_fn(lambda _: layer(x), tf.range(n), tf.float32))
    return draw(x).numpy().astype("float64")


def normal_kl(q):
    """KL of a factorized Normal from a unit Normal, by the formula."""
    m, s = (np.asarray(part, "float64") for part in (q.mean(), q.stddev()))
    return (0.5 * (s**2 + m**2 - 1) - np.log(s)).sum()


EVERY = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
ALL = pytest.mark.parametrize("row", WITH_VARIATIONAL.values(), ids=WITH_VARIATIONAL.keys())
UNDER_XLA = ["dense-local", "conv1d-flipout", "conv2d-first", "dense-variational"]  # it is slow


def moments(row, layer, x):
    """The exact mean and variance of each output, in float64."""
    q, bias = layer.kernel_posterior, layer.bias_posterior
    shape = [1] * (len(x.shape))
    shape[layer.channel_axis] = -1
    mean = row.affine(x, q.mean().numpy()) + bias.mean().numpy().reshape(shape)
    variance = row.affine(x.astype("float64") ** 2, q.stddev().numpy().astype("float64") ** 2)
    return mean, variance + bias.stddev().numpy().reshape(shape).astype("float64") ** 2


def laplace(dtype, shape, name, trainable, add_variable_fn):
    loc = add_variable_fn(
        name=name + "_loc",
        shape=shape,
        initializer=keras.initializers.RandomNormal(),
        regularizer=keras.regularizers.L2(0.5),
        constraint=None,
        dtype=dtype,
        trainable=trainable,
    )
    scale = add_variable_fn(
        name=name + "_scale", shape=shape, initializer="zeros", dtype=dtype, trainable=False
    )
    return tfd.Independent(
        tfd.Laplace(loc, tfp.util.DeferredTensor(scale, tf.math.softplus)), len(shape)
    )
