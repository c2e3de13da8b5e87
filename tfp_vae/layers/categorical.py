"""One of several categories: as a one-hot vector, or as its number for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.categorical import Categories
from tfp_vae.layers.base.distribution_lambda import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, independent, to_event_shape
from tfp_vae.layers.multivariate import VectorLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class OneHotCategorical(VectorLayer):
    """`prod_k p_k^x_k` with `p = softmax(t)`; x a one-hot vector of `event_size`.

    Shapes: input `[..., d]`, the logits; batch `[...]`, event `[d]`; as a tensor a draw (which has
    no gradient), unless `convert_to_tensor_fn` says otherwise. As a posterior, its prior where none
    is given has equal probabilities, with the KL in closed form; its mode stands for it.

    Args:
      event_size: the number of categories d.
      convert_to_tensor_fn: see `DistributionLambda`.
      sample_dtype: the dtype of draws; None: that of the parameters.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `event_size`.

    Source: `tfp.layers.OneHotCategorical`.

    Example:
      >>> p = OneHotCategorical(4, "mean")(tf.zeros([1, 4]))
      >>> p.numpy().tolist()
      [[0.25, 0.25, 0.25, 0.25]]
    """

    support = (0.0, 1.0)

    @checked
    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        sample_dtype: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.sample_dtype = None if sample_dtype is None else tf.as_dtype(sample_dtype).name

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_size, self.sample_dtype, self.validate_args)

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        return tfd.OneHotCategorical(
            np.zeros(event_shape, full_precision()), dtype=self.sample_dtype or full_precision()
        )

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.mode()  # one-hot, as z is

    def all_values(self) -> np.ndarray:
        """Returns each value that there is, `[event_size, event_size]`."""
        return np.eye(self.event_size)

    @classmethod
    def new(  # tfp.layers has dtype before validate_args
        cls,
        params: Any,
        event_size: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.OneHotCategorical:
        """The distribution of a tensor of logits `[..., event_size]`."""
        del event_size
        with tf.name_scope(name or cls.__name__):
            params = tf.convert_to_tensor(params)
            dtype = params.dtype if dtype is None else tf.as_dtype(dtype)
            return tfd.OneHotCategorical(params, dtype=dtype, validate_args=validate_args)

    @staticmethod
    @checked
    def params_size(event_size: int, name: str | None = None) -> int:
        """One for each category: its logit."""
        del name
        return int(event_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sample_dtype": self.sample_dtype}


@keras.saving.register_keras_serializable(package="tfp_vae")
class Categorical(IndependentLayer):
    """`prod_i p_i[x_i]` with `p_i = softmax(t_i)`; x_i in 0, ..., k - 1: pixels of k levels.

    The k logits of a value stand together: t is `[...] + event_shape + [k]`, its axes after the
    batch's made one. It knows no order of the categories (`QuantizedLogisticMixture` does), so it
    can be of any shape. `mean()` and `variance()` are those of the number x_i; a value that is none
    of 0, ..., k - 1 has probability 0.

    Shapes: input `[..., n k]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a
    tensor a draw (which has no gradient), unless `convert_to_tensor_fn` says "mean", "mode",
    "logits" or otherwise.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      num_categories: k.
      convert_to_tensor_fn: see `DistributionLambda`.
      sample_dtype: the dtype of draws; None: that of the parameters.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape, num_categories)`.

    Source: van den Oord et al. (PixelRNN), arXiv:1601.06759, section 2.2.

    Example:
      >>> p = Categorical((2, 2), 256, "mean")(tf.zeros([1, Categorical.params_size((2, 2), 256)]))
      >>> p.numpy().round(2).tolist()
      [[[127.5, 127.5], [127.5, 127.5]]]
    """

    parameters_together = True
    is_of_integers = True

    @checked
    def __init__(
        self,
        event_shape: int | Sequence[int],
        num_categories: int,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        sample_dtype: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.num_categories = int(num_categories)
        self.sample_dtype = None if sample_dtype is None else tf.as_dtype(sample_dtype).name
        self.support = (0.0, float(self.num_categories - 1))

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        own = (self.event_shape, self.num_categories, self.sample_dtype, self.validate_args)
        return self.new(inputs, *own)

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any,
        num_categories: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """The distribution of a tensor of logits `[..., params_size(event_shape, k)]`."""
        with tf.name_scope(name or cls.__name__):
            params = tf.convert_to_tensor(params)
            each = Categories(
                to_event_shape(params, event_shape, own=[num_categories]),
                dtype=params.dtype if dtype is None else tf.as_dtype(dtype),
                force_probs_to_zero_outside_support=True,
                validate_args=validate_args,
            )
            return independent(each, event_shape, validate_args=validate_args)

    @classmethod
    @checked
    def params_size(  # type: ignore[override]
        cls, event_shape: int | Sequence[int], num_categories: int, name: str | None = None
    ) -> int:
        """A logit for each category of each value."""
        return super().params_size(event_shape, name) * int(num_categories)

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.event_shape, self.num_categories)

    def get_config(self) -> dict[str, Any]:
        own = {"num_categories": self.num_categories, "sample_dtype": self.sample_dtype}
        return {**super().get_config(), **own}
