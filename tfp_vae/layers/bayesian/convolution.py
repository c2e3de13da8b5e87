"""Convolutions with random weights, in one, two and three dimensions."""

from __future__ import annotations

import keras

from tfp_vae.layers.bayesian.any_rank import BayesianConvolution
from tfp_vae.layers.bayesian.draws import Flipout, Reparameterization


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution1DReparameterization(Reparameterization, BayesianConvolution):
    """A convolution over sequences, `[batch, steps, in]`, one draw of W and b for the batch.

    Also named `Conv1DReparameterization`. Kingma and Welling, arXiv:1312.6114.

    Example:
      >>> layer = Convolution1DReparameterization(3, kernel_size=5, strides=2, padding="same")
      >>> layer(tf.ones([2, 8, 4])).shape.as_list(), layer.kernel_posterior.event_shape.as_list()
      ([2, 4, 3], [5, 4, 3])
    """

    rank = 1


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution2DReparameterization(Reparameterization, BayesianConvolution):
    """A convolution over images, `[batch, height, width, in]`, one draw of W and b for the batch.

    Also named `Conv2DReparameterization`. Kingma and Welling, arXiv:1312.6114.

    Example:
      >>> layer = Convolution2DReparameterization(3, (5, 3), padding="same", activation="relu")
      >>> layer(tf.ones([2, 8, 8, 1])).shape.as_list(), len(layer.losses)
      ([2, 8, 8, 3], 1)
    """

    rank = 2


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution3DReparameterization(Reparameterization, BayesianConvolution):
    """A convolution over volumes, `[batch, *three axes, in]`, one draw of W and b for the batch.

    Also named `Conv3DReparameterization`. Kingma and Welling, arXiv:1312.6114.

    Example:
      >>> layer = Convolution3DReparameterization(3, 2)
      >>> layer(tf.ones([2, 4, 4, 4, 1])).shape.as_list()
      [2, 3, 3, 3, 3]
    """

    rank = 3


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution1DFlipout(Flipout, BayesianConvolution):
    """A convolution over sequences with Flipout's signs for each example and channel.

    `conv(x, loc) + s_out * conv(s_in * x, D) + b` with `D ~ N(0, scale^2)`. Input
    `[batch, steps, in]`. Also named `Conv1DFlipout`. Wen et al., arXiv:1803.04386.

    Example:
      >>> y = Convolution1DFlipout(3, 5, dilation_rate=2)(tf.ones([2, 12, 4]))
      >>> y.shape.as_list(), bool(tf.reduce_all(y[0] != y[1]))
      ([2, 4, 3], True)
    """

    rank = 1


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution2DFlipout(Flipout, BayesianConvolution):
    """A convolution over images with Flipout's signs for each example and channel.

    `conv(x, loc) + s_out * conv(s_in * x, D) + b` with `D ~ N(0, scale^2)`. Input
    `[batch, height, width, in]`. Also named `Conv2DFlipout`. Wen et al., arXiv:1803.04386.

    Example:
      >>> model = keras.Sequential([keras.Input((8, 8, 1)), Convolution2DFlipout(3, 3)])
      >>> model.output_shape
      (None, 6, 6, 3)
    """

    rank = 2


@keras.saving.register_keras_serializable(package="tfp_vae")
class Convolution3DFlipout(Flipout, BayesianConvolution):
    """A convolution over volumes with Flipout's signs for each example and channel.

    `conv(x, loc) + s_out * conv(s_in * x, D) + b` with `D ~ N(0, scale^2)`. Input
    `[batch, *three axes, in]`. Also named `Conv3DFlipout`. Wen et al., arXiv:1803.04386.

    Example:
      >>> layer = Convolution3DFlipout(3, 2, strides=2)
      >>> layer(tf.ones([2, 4, 4, 4, 1])).shape.as_list()
      [2, 2, 2, 2, 3]
    """

    rank = 3


Conv1DReparameterization = Convolution1DReparameterization
Conv2DReparameterization = Convolution2DReparameterization
Conv3DReparameterization = Convolution3DReparameterization
Conv1DFlipout = Convolution1DFlipout
Conv2DFlipout = Convolution2DFlipout
Conv3DFlipout = Convolution3DFlipout
