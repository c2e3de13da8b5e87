"""One of several categories, as a one-hot vector."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.distribution_lambda import ConvertToTensor
from tfp_vae.layers.multivariate import VectorLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class OneHotCategorical(VectorLayer):
    """`prod_k p_k^x_k` with `p = softmax(t)`; x a one-hot vector of `event_size`.

    Shapes: input `[..., d]`, the logits; batch `[...]`, event `[d]`; as a tensor a draw (which has
    no gradient), unless `convert_to_tensor_fn` says otherwise.

    Args:
      event_size: the number of categories d.
      convert_to_tensor_fn: see `DistributionLambda`.
      sample_dtype: the dtype of draws; None: that of the parameters.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `event_size`.

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
        self.sample_dtype = None if sample_dtype is None else tf.as_dtype(sample_dtype).name

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_size, self.sample_dtype, self.validate_args)

    @classmethod
    def new(  # type: ignore[override]  # tfp.layers has dtype before validate_args
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
    def params_size(event_size: int, name: str | None = None) -> int:
        """One for each category: its logit."""
        del name
        return int(event_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sample_dtype": self.sample_dtype}
