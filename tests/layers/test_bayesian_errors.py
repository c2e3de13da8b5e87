"""What cannot be used as a layer with random weights is refused in words."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from bayesian_table import laplace

from tfp_vae import layers
from tfp_vae.errors import InputError

tfd = tfp.distributions


def with_posterior(fn, kind=layers.DenseReparameterization):
    return lambda: kind(3, kernel_posterior_fn=fn)(np.ones([2, 4], "float32"))


def foreign(dtype, shape, name, trainable, add_variable_fn):
    return tfd.Independent(tfd.Normal(tf.Variable(tf.zeros(shape)), 1.0), len(shape))


def of_another_shape(dtype, shape, *_):
    return tfd.Independent(tfd.Normal(tf.zeros([7]), 1.0), 1)


ERRORS = {
    "not a function": (lambda: layers.DenseFlipout(3, kernel_posterior_fn=None), InputError),
    "not a divergence": (lambda: layers.DenseFlipout(3, kernel_divergence_fn=2), InputError),
    "not a conversion": (
        lambda: layers.DenseFlipout(3, kernel_posterior_tensor_fn=2),
        TypeError,
    ),
    "no units": (lambda: layers.DenseFlipout(0), InputError),
    "no distribution": (with_posterior(lambda *_: 3), TypeError),
    "another shape": (with_posterior(of_another_shape), InputError),
    "untracked variables": (with_posterior(foreign), InputError),
    "no Normal, flipout": (with_posterior(laplace, layers.DenseFlipout), TypeError),
    "no Normal, local": (with_posterior(laplace, layers.DenseLocalReparameterization), TypeError),
    "no closed form": (with_posterior(laplace), InputError),
    "unknown channels": (
        lambda: layers.DenseFlipout(3)(keras.Input((None,))),
        InputError,
    ),
    "unknown channels, conv": (
        lambda: layers.Convolution1DFlipout(3, 2)(keras.Input((8, None))),
        InputError,
    ),
    "kernel sizes": (lambda: layers.Convolution2DFlipout(3, (2, 2, 2)), InputError),
    "no stride": (lambda: layers.Convolution2DFlipout(3, 2, strides=0), InputError),
    "padding": (lambda: layers.Convolution2DFlipout(3, 2, padding="causal"), InputError),
    "data format": (lambda: layers.Convolution2DFlipout(3, 2, data_format="NHWC"), InputError),
    "strides and dilation": (
        lambda: layers.Convolution1DFlipout(3, 2, strides=2, dilation_rate=2),
        InputError,
    ),
}


@pytest.mark.parametrize(("make", "error"), ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_used_is_refused_in_words(make, error):
    with pytest.raises(error, match=r"(?s)[Ee]xpected .*Received: |has no closed form") as caught:
        make()
    assert isinstance(caught.value, error)
