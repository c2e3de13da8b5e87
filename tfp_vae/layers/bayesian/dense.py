"""Dense layers with random weights."""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.bayesian.base import (
    NORMAL,
    POINT,
    UNIT_NORMAL,
    BayesianLayer,
    Divergence,
    MakeDistribution,
)
from tfp_vae.layers.bayesian.default_divergence import exact_kl
from tfp_vae.layers.bayesian.draws import Flipout, LocalReparameterization, Reparameterization


class BayesianDense(BayesianLayer, abc.ABC):
    """`activation(x W + b)` with random W, b: input `[..., in]`, output `[..., units]`.

    Args:
      units: the size of the output's last axis.
      trainable: False freezes the weights.

    Raises:
      InputError: the size of the input's last axis is unknown, or an argument cannot be used.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        kernel_posterior_fn: MakeDistribution = NORMAL,
        kernel_posterior_tensor_fn: ConvertToTensor = "sample",
        kernel_prior_fn: MakeDistribution | None = UNIT_NORMAL,
        kernel_divergence_fn: Divergence | None = exact_kl,
        bias_posterior_fn: MakeDistribution | None = POINT,
        bias_posterior_tensor_fn: ConvertToTensor = "sample",
        bias_prior_fn: MakeDistribution | None = None,
        bias_divergence_fn: Divergence | None = exact_kl,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        of_kernel = kernel_posterior_fn, kernel_posterior_tensor_fn
        of_bias = bias_posterior_fn, bias_posterior_tensor_fn
        super().__init__(
            activation,
            (*of_kernel, kernel_prior_fn, kernel_divergence_fn),
            (*of_bias, bias_prior_fn, bias_divergence_fn),
            seed,
            activity_regularizer=activity_regularizer,
            trainable=trainable,
            **kwargs,
        )
        self.units = int(units)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    @property
    def num_outputs(self) -> int:
        return self.units

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.units)

    def affine(self, inputs: Any, kernel: Any) -> Any:
        return keras.ops.matmul(inputs, kernel)

    def sign_shape(self, tensor: tf.Tensor) -> Any:
        return tf.shape(tensor)


@keras.saving.register_keras_serializable(package="tfp_vae")
class DenseReparameterization(Reparameterization, BayesianDense):
    """`activation(x W + b)`, W ~ q(W), b ~ q(b): one draw for the whole batch.

    Input `[..., in]`, output `[..., units]`.
    Kingma and Welling, arXiv:1312.6114; Blundell et al., arXiv:1505.05424.

    Example:
      >>> n = 1000  # training examples
      >>> layer = DenseReparameterization(
      ...     3, kernel_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p) / n)
      >>> layer(tf.ones([8, 4])).shape.as_list(), len(layer.losses)
      ([8, 3], 1)
      >>> layer.kernel_posterior.stddev().shape.as_list()
      [4, 3]
    """


@keras.saving.register_keras_serializable(package="tfp_vae")
class DenseLocalReparameterization(LocalReparameterization, BayesianDense):
    """`activation(x W + b)`, each output drawn: `N(x loc, x^2 scale^2)`, for q(W) a Normal.

    Examples share no noise, so the variance of the gradients falls with the batch size.
    Input `[..., in]`, output `[..., units]`.
    Kingma, Salimans and Welling, arXiv:1506.02557.

    Example:
      >>> layer = DenseLocalReparameterization(3, bias_posterior_fn=None)
      >>> y = layer(tf.ones([8, 4]))
      >>> bool(tf.reduce_all(y[0] != y[1])), len(layer.trainable_weights)
      (True, 2)
    """


@keras.saving.register_keras_serializable(package="tfp_vae")
class DenseFlipout(Flipout, BayesianDense):
    """`activation(x loc + s_out * ((s_in * x) D) + b)`: `D ~ N(0, scale^2)`, signs by example.

    Each vector of a sequence is an example, as in `tfp.layers`. Twice the work of
    `DenseReparameterization`, and gradients of lower variance. Input `[..., in]`, output
    `[..., units]`. Wen et al., arXiv:1803.04386.

    Example:
      >>> layer = DenseFlipout(3, activation="relu", seed=1)
      >>> y = layer(tf.ones([8, 4]))
      >>> y.shape.as_list(), bool(tf.reduce_all(layer(tf.ones([8, 4])) == y))
      ([8, 3], False)
    """
