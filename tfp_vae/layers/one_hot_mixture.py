"""A mixture of categoricals, as one-hot vectors."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.categorical import OneHotCategorical, dtype_name
from tfp_vae.layers.mixture import MixtureSameFamily
from tfp_vae.layers.multivariate import VectorLayer


class OneHotMixture(tfd.MixtureSameFamily):
    """A mixture of `tfd.OneHotCategorical` that also has `log_mean()`."""

    def log_mean(self) -> tf.Tensor:
        """Returns the log-probability of each one-hot vector, `log sum_k w_k p_kj`."""
        log_w = tf.math.log_softmax(self.mixture_distribution.logits_parameter())
        log_p = tf.math.log_softmax(self.components_distribution.logits_parameter())
        return tf.reduce_logsumexp(log_w[..., tf.newaxis] + log_p, axis=-2)


@keras.saving.register_keras_serializable(package="tfp_vae")
class CategoricalMixtureOfOneHotCategorical(VectorLayer):
    """`sum_k w_k prod_j p_kj^x_j`; x a one-hot vector of `event_size`.

    k logits of the weights w, then the d logits of each component's p. Of x alone it is one
    categorical, of the probabilities `mean()`, whose logarithms are `log_mean()`.

    Shapes: input `[..., k (1 + d)]`; batch `[...]`, event `[d]`; as a tensor a draw (without a
    gradient), unless `convert_to_tensor_fn` says "mean", "log_mean" or otherwise.

    Args:
      event_size: the number of categories d.
      num_components: k.

    Source: `tfp.layers.CategoricalMixtureOfOneHotCategorical`; Bishop, "Mixture Density Networks"
    (1994).

    Example:
      >>> p = CategoricalMixtureOfOneHotCategorical(4, 2, "mean")(tf.zeros([1, 10]))
      >>> p.numpy().tolist(), round(float(p.log_mean()[0, 0]), 3)
      ([[0.25, 0.25, 0.25, 0.25]], -1.386)
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_size: int,
        num_components: int,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        sample_dtype: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.num_components = int(num_components)
        self.sample_dtype = dtype_name(sample_dtype)

    @classmethod
    def new(  # type: ignore[override]  # as tfp.layers has it
        cls,
        params: Any,
        event_size: int,
        num_components: int,
        dtype: Any = None,
        validate_args: bool = False,
        name: str | None = None,
    ) -> OneHotMixture:
        """Returns the mixture of a tensor `[..., params_size(event_size, num_components)]`."""
        mixture = MixtureSameFamily.new(
            params,
            num_components,
            lambda own: OneHotCategorical.new(own, event_size, dtype, validate_args),
            name=name or cls.__name__,
        )
        return OneHotMixture(
            mixture.mixture_distribution,
            mixture.components_distribution,
            validate_args=validate_args,
        )

    @staticmethod
    def params_size(event_size: int, num_components: int, name: str | None = None) -> int:
        return MixtureSameFamily.params_size(num_components, event_size, name)
