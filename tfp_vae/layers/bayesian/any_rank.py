"""A convolution with random weights, of any number of dimensions."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfp_vae.errors import InputError
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


class BayesianConvolution(BayesianLayer, abc.ABC):
    """`activation(conv(x, W) + b)` with random W, b, over `rank` dimensions.

    Input `[batch, *space, in]`, output `[batch, *space, filters]`, W `[*kernel_size, in, filters]`;
    with "channels_first" the channels are axis 1.

    Args:
      filters: the number of output channels.
      kernel_size: an int, or one for each dimension.
      strides: likewise.
      padding: "valid" or "same".
      data_format: "channels_last" or "channels_first".
      dilation_rate: as `strides`; one of the two must be 1.

    Raises:
      InputError: the number of input channels is unknown, or an argument cannot be used.
    """

    rank: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        activity_regularizer: Any = None,
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
            **kwargs,
        )
        (self.filters,) = self._sizes("filters", filters, 1)
        self.kernel_size = self._sizes("kernel_size", kernel_size, self.rank)
        self.strides = self._sizes("strides", strides, self.rank)
        self.dilation_rate = self._sizes("dilation_rate", dilation_rate, self.rank)
        self.padding = self._one_of("padding", padding, "valid", "same")
        self.data_format = self._one_of(
            "data_format", data_format, "channels_last", "channels_first"
        )
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise InputError(
                f"{self.name}: expected strides or dilation_rate to be 1.",
                f"strides {self.strides}, dilation_rate {self.dilation_rate}",
            )
        self.channel_axis = -1 if self.data_format == "channels_last" else 1
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def _sizes(self, argument: str, value: Any, length: int) -> tuple[int, ...]:
        sizes = tuple(value) if isinstance(value, Sequence) else (value,) * length
        if len(sizes) != length or any(int(size) != size or size < 1 for size in sizes):
            raise InputError(
                f"{self.name}: expected {argument} to be a positive integer"
                f"{f' or {length} of them' if length > 1 else ''}.",
                repr(value),
            )
        return tuple(int(size) for size in sizes)

    def _one_of(self, argument: str, value: Any, *known: str) -> str:
        if str(value).lower() not in known:
            raise InputError(f"{self.name}: expected {argument} to be one of {known}.", repr(value))
        return str(value).lower()

    @property
    def num_outputs(self) -> int:
        return self.filters

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, self.filters)

    def affine(self, inputs: Any, kernel: Any) -> Any:
        # TensorFlow convolves channels_first on some devices and in some dtypes only.
        outputs = keras.ops.conv(
            keras.ops.moveaxis(inputs, self.channel_axis, -1),
            kernel,
            self.strides,
            self.padding,
            "channels_last",
            self.dilation_rate,
        )
        return keras.ops.moveaxis(outputs, -1, self.channel_axis)

    def sign_shape(self, tensor: tf.Tensor) -> Any:
        shape = [1] * (self.rank + 2)
        shape[self.channel_axis] = tensor.shape[self.channel_axis]
        return [tf.shape(tensor)[0], *shape[1:]]
