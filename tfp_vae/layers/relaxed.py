"""Nearly one-hot vectors with a gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.bridge.origins import known_to_tfp, log_floor, log_of, moved, positive
from tfp_vae.bridge.precision import full_precision
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import WholeDraws, to_event_shape
from tfp_vae.layers.kl_divergence import TrainingStep
from tfp_vae.layers.multivariate import VectorLayer


class _PositiveExp(tfb.Exp):
    """exp, without zeros; the inverse at a draw is the draw's logarithm."""

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return known_to_tfp(positive(x))

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        log = log_of(y)
        if log is None:
            return tf.math.log(tf.maximum(y, math.exp(log_floor(y.dtype))))
        return tf.identity(log)  # TFP's cache would keep y as long as this tensor


class _OfDraws(tfd.TransformedDistribution):
    """A transformed distribution whose draws keep their origin; the bijector has no batch."""

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        x = self.distribution.sample(sample_shape, seed=seed, **kwargs)
        return moved(self.bijector.forward, x)


@keras.saving.register_keras_serializable(package="tfp_vae")
class RelaxedOneHotCategorical(VectorLayer):
    """`softmax((t + Gumbel noise) / temperature)`: a one-hot vector as the temperature goes to 0.

    With `p = softmax(t)`, d categories and temperature T the density on the simplex is
    `(d - 1)! T^(d - 1) prod_k (p_k x_k^(-T - 1)) / (sum_k p_k x_k^-T)^d`. The largest entry is k
    with probability p_k at any temperature. Draws are reparameterized, unlike those of
    `OneHotCategorical`; there is no closed form of the mean. The one-hot vector of the largest
    logit stands for the distribution.

    Shapes: input `[..., d]`, the logits; batch `[...]`, event `[d]`; as a tensor a draw. With n =
    `num_variables` independent ones, d logits after the other: input `[..., n d]`, event `[n d]`,
    one vector for a dense decoder.

    Entries that underflow, as most do at a temperature of 0.1, are raised to 2.4e-38 (in float32).
    The draw, as a tensor, carries the logarithms of its entries: `log_prob` is the density there.
    Entries of 0 in a vector from elsewhere, or in a copy of a draw, are taken as 2.4e-38.

    The default prior of a `VAE` is the relaxed distribution of equal probabilities; the KL is that
    of densities on the simplex, by Monte Carlo.

    Args:
      event_size: the number of categories d.
      temperature: T, a positive number, a `keras.Variable` that is not trainable, or a schedule
        over training steps (`keras.optimizers.schedules`). The layer keeps a number as a variable:
        `layer.temperature.assign(.2)` changes the number between steps, and the model is saved with
        its value. For a schedule the layer counts the calls in training, and saves the count.
      num_variables: n; None: one variable.
      prior_temperature: that of the prior; None: the temperature (the first of a schedule) when the
        `VAE` is made.

    Raises:
      InputError: a temperature is not positive or is another kind of variable, or there is not at
        least one variable.

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
        num_variables: int | None = None,
        prior_temperature: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.num_variables = None if num_variables is None else int(num_variables)
        self.prior_temperature = prior_temperature
        self.tells_training = isinstance(temperature, LearningRateSchedule)
        self.temperature = _checked(temperature)
        self.step = TrainingStep() if self.tells_training else None

    def make_distribution(
        self, inputs: Any, *args: Any, training: bool | None = None, **kwargs: Any
    ) -> tfd.Distribution:
        if training and self.step is not None:
            self.step.count.assign_add(1)
        own = {"temperature": self._now(), "num_variables": self.num_variables}
        return self.new(inputs, self.event_size, self.validate_args, **own)

    def _now(self) -> Any:
        if self.step is None:
            return self.temperature
        # The count includes the present call; schedules count finished steps.
        return self.temperature(tf.maximum(tf.convert_to_tensor(self.step.count) - 1, 0))

    @classmethod
    def each(
        cls,
        params: tf.Tensor,
        event_size: int,
        validate_args: bool,
        temperature: Any = 0.5,
        num_variables: int | None = None,
    ) -> tfd.Distribution:
        temperature = tf.cast(tf.convert_to_tensor(temperature), params.dtype)
        if num_variables is not None:
            params = to_event_shape(params, [num_variables, event_size])
        logs = tfd.ExpRelaxedOneHotCategorical(temperature, params, validate_args=validate_args)
        each = _OfDraws(logs, _PositiveExp(), validate_args=validate_args)
        if num_variables is None:
            return each
        return _OfDraws(WholeDraws(each, 1), _in_a_row(num_variables, event_size))

    def default_prior(self, event_shape: Sequence[int]) -> tfd.Distribution:
        n, d = self.num_variables, self.event_size
        temperature = self.prior_temperature
        if temperature is None:
            temperature = _at_first(self.temperature)
        zeros = np.zeros([d] if n is None else [n, d], full_precision())
        each = tfd.RelaxedOneHotCategorical(temperature, logits=zeros)
        if n is None:
            return each
        return tfd.TransformedDistribution(tfd.Independent(each, 1), _in_a_row(n, d))

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        given, n = getattr(distribution, "tensor_distribution", distribution), self.num_variables
        each = given if n is None else given.distribution.distribution
        logits = each.distribution.logits
        hard = tf.one_hot(tf.argmax(logits, axis=-1), self.event_size, dtype=logits.dtype)
        return hard if n is None else given.bijector.forward(hard)

    @staticmethod
    def params_size(
        event_size: int, num_variables: int | None = None, name: str | None = None
    ) -> int:
        return int(event_size) * (1 if num_variables is None else int(num_variables))

    def config_of(self, name: str) -> Any:
        if name != "temperature":
            return super().config_of(name)
        given = self.temperature
        return schedules.to_config(given) if self.tells_training else _at_first(given)


def _at_first(temperature: Any) -> float:
    """Returns the temperature before the first step."""
    if isinstance(temperature, keras.Variable):  # which may have a value for each replica
        temperature = tf.convert_to_tensor(temperature.value)
    return float(temperature(0) if callable(temperature) else temperature)


def _checked(temperature: Any) -> Any:
    """Returns a schedule or variable as it is, a number as a variable."""
    scheduled = isinstance(temperature, LearningRateSchedule)
    ours = isinstance(temperature, keras.Variable)
    # A tf.Variable would be read once and then go its own way: Keras does not save it.
    wrong = temperature.trainable if ours else isinstance(temperature, tf.Variable)
    if wrong or not _at_first(temperature) > 0:
        raise InputError(
            "Expected a positive temperature, a number, a keras.Variable that is not trainable, or "
            "a schedule.",
            temperature,
        )
    if ours or scheduled:
        return temperature
    # Of an initializer: a file that is only looked at gives no variable its memory.
    value = keras.initializers.Constant(float(temperature))
    return keras.Variable(value, shape=(), trainable=False)


def _in_a_row(n: int, d: int) -> tfb.Bijector:
    """Returns the bijector from n vectors of d to one of n d."""
    return tfb.Reshape([n * d], [n, d])
