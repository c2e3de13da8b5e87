"""Nearly one-hot vectors with a gradient."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.layers.distribution_lambda import ConvertToTensor
from tfp_vae.layers.multivariate import RealVectorLayer


def _log_floor(dtype: Any) -> float:
    """The logarithm of (twice) the smallest normal number: XLA takes smaller ones as 0."""
    return math.log(2 * float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny))


class _FlooredLogits(tfd.ExpRelaxedOneHotCategorical):
    """Draws whose exponential does not underflow."""

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return tf.maximum(super()._sample_n(n, seed), _log_floor(self.dtype))


class _FlooredExp(tfb.Exp):
    """exp, whose inverse takes a 0 as the smallest number that draws have."""

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return tf.math.log(tf.maximum(y, math.exp(_log_floor(y.dtype))))


@keras.saving.register_keras_serializable(package="tfp_vae")
class RelaxedOneHotCategorical(RealVectorLayer):
    """`softmax((t + Gumbel noise) / temperature)`: a one-hot vector as the temperature goes to 0.

    With `p = softmax(t)`, d categories and temperature T the density on the simplex is
    `(d - 1)! T^(d - 1) prod_k (p_k x_k^(-T - 1)) / (sum_k p_k x_k^-T)^d`. The largest entry is k
    with probability p_k at any temperature. Draws are reparameterized, unlike
    `OneHotCategorical`'s; there is no closed form of the mean.

    Shapes: input `[..., d]`, the logits; batch `[...]`, event `[d]`; as a tensor a draw, unless
    `convert_to_tensor_fn` says otherwise. Entries that underflow, which most do at a temperature
    of 0.1, are raised to 2.4e-38 (in float32), so that each draw has a finite `log_prob`; entries
    of 0 are taken as that.

    Args:
      event_size: the number of categories d.
      temperature: T, a positive number, or a `keras.Variable` that is not trainable. The layer
        keeps a number as a variable too: `layer.temperature.assign(.2)` changes it between steps,
        and the model is saved with its value.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer; `activity_regularizer=KLDivergenceRegularizer(...)`, by
        Monte Carlo.

    Raises:
      InputError: the temperature is not positive or is another kind of variable, or the last axis
        of the input is not `event_size`.

    Source: Maddison et al., arXiv:1611.00712; Jang et al., arXiv:1611.01144.

    Example:
      >>> q = RelaxedOneHotCategorical(3, temperature=.1, seed=1)(tf.zeros([1, 3]))
      >>> q.numpy().sum().round(3).tolist(), bool(tf.math.is_finite(q.log_prob(q.value())))
      (1.0, True)
    """

    support = (0.0, 1.0)

    def __init__(
        self,
        event_size: int,
        temperature: Any = 0.5,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        ours = isinstance(temperature, keras.Variable)
        # A tf.Variable would be read once and then go its own way: Keras does not save it.
        wrong = temperature.trainable if ours else isinstance(temperature, tf.Variable)
        if wrong or not float(temperature) > 0:
            raise InputError(
                "Expected a positive temperature, a number or a keras.Variable that is not "
                "trainable.",
                temperature,
            )
        self.temperature = (
            temperature if ours else keras.Variable(float(temperature), trainable=False)
        )

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, self.event_size, self.validate_args, temperature=self.temperature)

    @classmethod
    def of(
        cls, params: tf.Tensor, event_size: int, validate_args: bool, temperature: Any = 0.5
    ) -> tfd.Distribution:
        del event_size
        temperature = tf.cast(tf.convert_to_tensor(temperature), params.dtype)
        logs = _FlooredLogits(temperature, params, validate_args=validate_args)
        return tfd.TransformedDistribution(logs, _FlooredExp(), validate_args=validate_args)

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        """One for each category: its logit."""
        del name
        return int(event_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": float(self.temperature)}
