"""A Normal for each value: the posterior of most VAEs, and a likelihood for real-valued data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.distribution_lambda import ConvertToTensor
from tfp_vae.layers.parametric import IndependentLayer, event_size, independent, to_event_shape


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentNormal(IndependentLayer):
    """`prod_i N(x_i; loc_i, scale_i^2)` with `loc, scale = t[..., :n], softplus(t[..., n:])`.

    Shapes: input `[..., 2 n]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a
    tensor a draw `loc + scale * eps` of shape `[...] + event_shape`, unless `convert_to_tensor_fn`
    says otherwise. Kingma and Welling, arXiv:1312.6114.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_scale: scales below it are raised to it: softplus(-90) is 0, where `log_prob` is NaN.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.

    Example:
      >>> q = IndependentNormal(2)(tf.constant([[1., -1., .5413, .5413]]))
      >>> q.mean().numpy().tolist(), q.stddev().numpy().round(3).tolist()
      ([[1.0, -1.0]], [[1.0, 1.0]])
    """

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_scale: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.min_scale = min_scale

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_shape, self.validate_args, min_scale=self.min_scale)

    @staticmethod
    def new(
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        min_scale: float = 1e-6,
    ) -> tfd.Independent:
        """The distribution of a parameter tensor `[..., params_size(event_shape)]`."""
        with tf.name_scope(name or "IndependentNormal"):
            loc, scale = tf.split(tf.convert_to_tensor(params), 2, axis=-1)
            scale = tf.maximum(tf.math.softplus(scale), min_scale)
            normal = tfd.Normal(
                to_event_shape(loc, event_shape),
                to_event_shape(scale, event_shape),
                validate_args=validate_args,
            )
            return independent(normal, event_shape, validate_args=validate_args)

    @staticmethod
    def params_size(event_shape: int | Sequence[int] = (), name: str | None = None) -> int:
        """Two for each value: locations, then scales."""
        del name
        return 2 * event_size(event_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "min_scale": self.min_scale}
