"""A discrete distribution for each value: Bernoulli and Poisson."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.distributions.fast import Bernoulli
from tfp_vae.layers.base.distribution_lambda import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, independent, to_event_shape


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

    @checked
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

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any = (),
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """The distribution of a tensor of logits `[..., params_size(event_shape)]`."""
        with tf.name_scope(name or cls.__name__):
            params = tf.convert_to_tensor(params)
            each = Bernoulli(
                logits=to_event_shape(params, event_shape),
                dtype=params.dtype if dtype is None else tf.as_dtype(dtype),
                validate_args=validate_args,
            )
            return independent(each, event_shape, validate_args=validate_args)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sample_dtype": self.sample_dtype}


class OneParameterLayer(IndependentLayer):
    """Independent distributions with one parameter for each value; a subclass makes `each`."""

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_shape, self.validate_args)

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """The distribution of a parameter tensor `[..., params_size(event_shape)]`."""
        with tf.name_scope(name or cls.__name__):
            parameter = to_event_shape(tf.convert_to_tensor(params), event_shape)
            each = cls.each(parameter, validate_args)
            return independent(each, event_shape, validate_args=validate_args)

    @staticmethod
    @abc.abstractmethod
    def each(parameter: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        """The scalar distributions of the parameters."""


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentPoisson(OneParameterLayer):
    """`prod_i rate_i^x_i exp(-rate_i) / x_i!` with `rate = exp(t)`; x in 0, 1, 2, ...: counts.

    Shapes: input `[..., n]`, n = prod(event_shape), the logarithms of the rates; batch `[...]`,
    event `event_shape`; as a tensor a draw (which has no gradient), unless `convert_to_tensor_fn`
    says otherwise. Source: `tfp.layers.IndependentPoisson`.

    Example:
      >>> p = IndependentPoisson(2, "mean")(tf.constant([[0., 1.0986]]))
      >>> p.numpy().round(3).tolist()
      [[1.0, 3.0]]
    """

    support = (0.0, float("inf"))
    is_of_integers = True

    @staticmethod
    def each(parameter: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        return tfd.Poisson(log_rate=parameter, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class ContinuousBernoulli(OneParameterLayer):
    """`prod_i C(p_i) p_i^x_i (1 - p_i)^(1 - x_i)`, p = sigmoid(t); x in [0, 1]: grey pixels.

    What a Bernoulli is not: a density over the interval, with its normalizing constant C. Loaiza-
    Ganem and Cunningham, arXiv:1907.06845.

    Shapes: input `[..., n]`, n = prod(event_shape), the logits; batch `[...]`, event `event_shape`;
    as a tensor a draw, unless `convert_to_tensor_fn` says otherwise.

    Example:
      >>> p = ContinuousBernoulli(1)(tf.constant([[0.]]))  # uniform
      >>> round(abs(float(p.log_prob([[0.3]])[0])), 4)
      0.0
    """

    support = (0.0, 1.0)

    @staticmethod
    def each(parameter: tf.Tensor, validate_args: bool) -> tfd.Distribution:
        return tfd.ContinuousBernoulli(
            logits=parameter, dtype=parameter.dtype, validate_args=validate_args
        )
