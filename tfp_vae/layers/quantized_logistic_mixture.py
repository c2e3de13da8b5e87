"""Pixels as integers: mixtures of logistics, discretized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.distributions.quantized_logistic import QuantizedLogistic
from tfp_vae.errors import InputError
from tfp_vae.layers.base.distribution_lambda import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, independent, to_event_shape


@keras.saving.register_keras_serializable(package="tfp_vae")
class QuantizedLogisticMixture(IndependentLayer):
    """`prod_i sum_k w_ik (F_ik(x_i + 1/2) - F_ik(x_i - 1/2))`; x in low, low + 1, ..., high.

    F is the cdf of Logistic(loc, scale); `low` has the tail below it too, `high` that above: bytes,
    without noise added to them. Each value has a mixture of its own, and its 3 k parameters stand
    together: k logits of the weights w, k of `loc = (low + high) / 2 + h t`, k of
    `scale = h max(softplus(t), min_scale)`, with `h = (high - low) / 2`. So parameters of order 1,
    as a Dense layer puts out, are of the order of the data. `mean()` and `variance()` are exact
    sums over the levels.

    Shapes: input `[..., n 3 k]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a
    tensor a draw (which has no gradient), unless `convert_to_tensor_fn` says otherwise.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      num_components: k.
      low: the least value, an integer.
      high: the largest.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_scale: the least scale, as a part of h.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: low is not below high, either is not an integer, or the last axis of the input is
        not `params_size(event_shape, num_components)`.

    Source: Salimans et al. (PixelCNN++), arXiv:1701.05517, section 2.1.

    Example:
      >>> layer = QuantizedLogisticMixture((2, 2), 5)
      >>> p = layer(tf.zeros([1, QuantizedLogisticMixture.params_size((2, 2), 5)]))
      >>> p.mean().numpy().round(2).tolist(), p.sample().shape.as_list()
      ([[[127.5, 127.5], [127.5, 127.5]]], [1, 2, 2])
    """

    parameters_together = True
    is_of_integers = True

    @checked
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

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        own = (self.event_shape, self.num_components, self.low, self.high, self.validate_args)
        return self.new(inputs, *own, min_scale=self.min_scale)

    @classmethod
    def new(
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
        """The distribution of a tensor `[..., params_size(event_shape, num_components)]`."""
        with tf.name_scope(name or cls.__name__):
            params = to_event_shape(
                tf.convert_to_tensor(params), event_shape, own=[3 * num_components]
            )
            logits, loc, scale = tf.split(params, 3, axis=-1)
            half = (high - low) / 2
            components = QuantizedLogistic(
                (low + high) / 2 + half * loc,
                half * softplus_at_least(scale, min_scale),
                low,
                high,
                validate_args=validate_args,
            )
            each = tfd.MixtureSameFamily(
                Categories(logits=logits), components, validate_args=validate_args
            )
            return independent(each, event_shape, validate_args=validate_args)

    @classmethod
    @checked
    def params_size(  # type: ignore[override]
        cls, event_shape: int | Sequence[int], num_components: int, name: str | None = None
    ) -> int:
        """A weight, a location and a scale for each component of each value."""
        return super().params_size(event_shape, name) * 3 * int(num_components)

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.event_shape, self.num_components)

    def get_config(self) -> dict[str, Any]:
        own = {"num_components": self.num_components, "low": self.low, "high": self.high}
        return {**super().get_config(), **own, "min_scale": self.min_scale}
