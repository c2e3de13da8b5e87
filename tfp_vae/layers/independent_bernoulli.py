"""A Bernoulli for each value: the likelihood of binary pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.distribution_lambda import ConvertToTensor
from tfp_vae.layers.parametric import IndependentLayer, event_size, independent, to_event_shape


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentBernoulli(IndependentLayer):
    """`prod_i p_i^x_i (1 - p_i)^(1 - x_i)` with `p = sigmoid(t)`; x in {0, 1}.

    Shapes: input `[..., n]`, n = prod(event_shape), the logits; batch `[...]`, event `event_shape`;
    as a tensor a draw of zeros and ones (which has no gradient), unless `convert_to_tensor_fn` says
    "mean", "logits" or otherwise.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      sample_dtype: the dtype of draws; None: that of the parameters.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.

    Source: Kingma and Welling, arXiv:1312.6114, appendix C.1.

    Example:
      >>> p = IndependentBernoulli((2, 2), "mean")(tf.zeros([1, 4]))
      >>> p.event_shape.as_list(), round(float(p.log_prob(tf.ones([1, 2, 2]))[0]), 4)
      ([2, 2], -2.7726)
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        sample_dtype: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.sample_dtype = None if sample_dtype is None else tf.as_dtype(sample_dtype).name

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_shape, self.sample_dtype, self.validate_args)

    @staticmethod
    def new(
        params: Any,
        event_shape: Any = (),
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """The distribution of a tensor of logits `[..., params_size(event_shape)]`."""
        with tf.name_scope(name or "IndependentBernoulli"):
            params = tf.convert_to_tensor(params)
            bernoulli = tfd.Bernoulli(
                logits=to_event_shape(params, event_shape),
                dtype=params.dtype if dtype is None else tf.as_dtype(dtype),
                validate_args=validate_args,
            )
            return independent(bernoulli, event_shape, validate_args=validate_args)

    @staticmethod
    def params_size(event_shape: int | Sequence[int] = (), name: str | None = None) -> int:
        """One for each value: its logit."""
        del name
        return event_size(event_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sample_dtype": self.sample_dtype}
