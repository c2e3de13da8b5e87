"""One of several categories: as a one-hot vector, or as its number for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.precision import full_precision
from tfp_vae.distributions.categorical import Categories
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer
from tfp_vae.layers.multivariate import VectorLayer


def dtype_name(dtype: Any) -> str | None:
    """Returns the name of a dtype, as a config has it; None: that of the parameters."""
    return None if dtype is None else tf.as_dtype(dtype).name


@keras.saving.register_keras_serializable(package="tfp_vae")
class OneHotCategorical(VectorLayer):
    """`prod_k p_k^x_k` with `p = softmax(t)`; x a one-hot vector of `event_size`.

    Shapes: input `[..., d]`, the logits; batch `[...]`, event `[d]`; as a tensor a draw (without a
    gradient). A posterior's default prior has equal probabilities, with the KL in closed form; the
    mode stands for the posterior.

    Args:
      event_size: the number of categories d.

    Source: `tfp.layers.OneHotCategorical`.

    Example:
      >>> p = OneHotCategorical(4, "mean")(tf.zeros([1, 4]))
      >>> p.numpy().tolist()
      [[0.25, 0.25, 0.25, 0.25]]
    """

    support = (0.0, 1.0)

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
        self.sample_dtype = dtype_name(sample_dtype)

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        zeros = tf.zeros(event_shape, full_precision())  # of an array TFP makes float32
        return tfd.OneHotCategorical(zeros, dtype=self.sample_dtype or full_precision())

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.mode()  # one-hot, as z is

    def all_values(self) -> np.ndarray:
        """Returns each value that there is, `[event_size, event_size]`."""
        return np.eye(self.event_size)

    @classmethod
    def new(  # type: ignore[override]  # tfp.layers has dtype before validate_args
        cls,
        params: Any,
        event_size: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.OneHotCategorical:
        """Returns the distribution of a tensor of logits `[..., event_size]`."""
        return super().new(params, event_size, validate_args, name, dtype=dtype)

    @classmethod
    def each(
        cls, params: tf.Tensor, event_size: int, validate_args: bool, dtype: Any = None
    ) -> tfd.Distribution:
        return tfd.OneHotCategorical(
            params, dtype=tf.as_dtype(dtype or params.dtype), validate_args=validate_args
        )

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        return int(event_size)


@keras.saving.register_keras_serializable(package="tfp_vae")
class Categorical(IndependentLayer):
    """`prod_i p_i[x_i]` with `p_i = softmax(t_i)`; x_i in 0, ..., k - 1: pixels of k levels.

    The k logits of a value stand together: t is `[...] + event_shape + [k]`, flattened after the
    batch. The categories have no order (those of `QuantizedLogisticMixture` do), so p may have any
    shape. `mean()` and `variance()` are those of the number x_i; a value outside 0, ..., k - 1 has
    probability 0.

    Shapes: input `[..., n k]`, n = prod(event_shape); batch `[...]`, event `event_shape`; as a
    tensor a draw (without a gradient), unless `convert_to_tensor_fn` says "mean", "mode", "logits"
    or otherwise.

    Args:
      num_categories: k.

    Source: van den Oord et al. (PixelRNN), arXiv:1601.06759, section 2.2.

    Example:
      >>> p = Categorical((2, 2), 256, "mean")(tf.zeros([1, Categorical.params_size((2, 2), 256)]))
      >>> p.numpy().round(2).tolist()
      [[[127.5, 127.5], [127.5, 127.5]]]
    """

    parameters_together = True
    is_of_integers = True

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
        self.sample_dtype = dtype_name(sample_dtype)
        self.support = (0.0, float(self.num_categories - 1))

    @classmethod
    def new(  # type: ignore[override]
        cls,
        params: Any,
        event_shape: Any,
        num_categories: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> tfd.Independent:
        """Returns the distribution of logits `[..., params_size(event_shape, k)]`."""
        return cls._new(params, event_shape, validate_args, name, [num_categories], dtype=dtype)

    @classmethod
    def each(cls, logits: tf.Tensor, validate_args: bool, dtype: Any) -> tfd.Distribution:
        return Categories(
            logits,
            dtype=tf.as_dtype(dtype or logits.dtype),
            force_probs_to_zero_outside_support=True,
            validate_args=validate_args,
        )

    @classmethod
    def params_size(  # type: ignore[override]
        cls, event_shape: int | Sequence[int], num_categories: int, name: str | None = None
    ) -> int:
        return super().params_size(event_shape) * int(num_categories)
