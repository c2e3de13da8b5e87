"""Pixels as integers: mixtures of logistics, discretized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.distributions.quantized_logistic import QuantizedLogistic
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class QuantizedLogisticMixture(IndependentLayer):
    """`prod_i sum_k w_ik (F_ik(x_i + 1/2) - F_ik(x_i - 1/2))`; x in low, low + 1, ..., high.

    F is the cdf of Logistic(loc, scale); `low` has the tail below it too, `high` the tail above:
    bytes, without added noise. Each value has a mixture of its own, and its 3 k parameters stand
    together: k logits of the weights w, k of `loc = (low + high) / 2 + h t`, k of
    `scale = h max(softplus(t), min_scale)`, with `h = (high - low) / 2`, so that parameters of
    order 1 suit the data. `mean()` and `variance()` are exact sums over the levels.

    Shapes: input `[..., n 3 k]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a
    tensor a draw (without a gradient).

    Args:
      num_components: k.
      low: the least value, an integer.
      high: the largest.
      min_scale: the least scale, as a part of h.

    Raises:
      InputError: low is not below high, or either is not an integer.

    Source: Salimans et al. (PixelCNN++), arXiv:1701.05517, section 2.1.

    Example:
      >>> layer = QuantizedLogisticMixture((2, 2), 5)
      >>> p = layer(tf.zeros([1, QuantizedLogisticMixture.params_size((2, 2), 5)]))
      >>> p.mean().numpy().round(2).tolist(), p.sample().shape.as_list()
      ([[[127.5, 127.5], [127.5, 127.5]]], [1, 2, 2])
    """

    parameters_together = True
    is_of_integers = True

    def __init__(
        self,
        event_shape: int | Sequence[int],
        num_components: int,
        low: int = 0,
        high: int = 255,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_scale: float = 1e-3,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        if int(low) != low or int(high) != high or low >= high:
            raise InputError("Expected integers with low < high.", f"low={low}, high={high}")
        self.num_components = int(num_components)
        self.low, self.high = int(low), int(high)
        self.min_scale = min_scale
        self.support = (float(low), float(high))

    @classmethod
    def new(  # type: ignore[override]
        cls,
        params: Any,
        event_shape: Any,
        num_components: int,
        low: int = 0,
        high: int = 255,
        validate_args: bool = False,
        name: str | None = None,
        min_scale: float = 1e-3,
    ) -> tfd.Independent:
        """Returns the distribution of `[..., params_size(event_shape, num_components)]`."""
        own, options = [3 * num_components], {"low": low, "high": high, "min_scale": min_scale}
        return cls._new(params, event_shape, validate_args, name, own, **options)

    @classmethod
    def each(
        cls, params: tf.Tensor, validate_args: bool, low: int, high: int, min_scale: float
    ) -> tfd.Distribution:
        logits, loc, scale = tf.split(params, 3, axis=-1)
        half = (high - low) / 2
        components = QuantizedLogistic(
            (low + high) / 2 + half * loc,
            half * softplus_at_least(scale, min_scale),
            low,
            high,
            validate_args=validate_args,
        )
        weights = Categories(logits=logits)
        return tfd.MixtureSameFamily(weights, components, validate_args=validate_args)

    @classmethod
    def params_size(  # type: ignore[override]
        cls, event_shape: int | Sequence[int], num_components: int, name: str | None = None
    ) -> int:
        return super().params_size(event_shape) * 3 * int(num_components)
