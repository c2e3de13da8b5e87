"""A location for each value, one scale for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.floors import exp_at_least
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, independent, to_event_shape

_FAMILIES = {"normal": tfd.Normal, "logistic": tfd.Logistic, "laplace": tfd.Laplace}


@keras.saving.register_keras_serializable(package="tfp_vae")
class SharedScale(IndependentLayer):
    """`prod_i f((x_i - t_i) / s) / s`: locations from the input, one scale s for all values.

    As a likelihood with s = 1, "normal" is half the squared error and a constant; a trained s is
    the noise of the data, and with it the weight between reconstruction and KL (sigma-VAE). Input
    `[..., n]`, n = prod(event_shape), the locations; batch `[...]`, event `event_shape`; as a
    tensor a draw.

    Args:
      family: "normal", "logistic" or "laplace", whose f is that of `tfd.Normal` and so on.
      scale: s, a positive number, or where it starts.
      trainable_scale: whether s is trained with the model, as the exponential of a weight.
      min_scale: a trained scale below it is raised to it, and trained from there.

    Raises:
      InputError: the family is no such word, or the scale is not positive.

    Source: Rybkin et al. (sigma-VAE), arXiv:2006.13202.

    Example:
      >>> p = SharedScale(2, scale=2.)(tf.constant([[1., -1.]]))
      >>> p.mean().numpy().tolist(), p.stddev().numpy().tolist()
      ([[1.0, -1.0]], [[2.0, 2.0]])
    """

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        family: str = "normal",
        scale: float = 1.0,
        trainable_scale: bool = False,
        min_scale: float = 1e-3,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        if family not in _FAMILIES:
            raise InputError(f"Expected family to be one of {tuple(_FAMILIES)}.", repr(family))
        self.family = family
        self.scale = float(scale)
        self.trainable_scale = trainable_scale
        self.min_scale = min_scale
        self.log_scale = None
        if trainable_scale:
            start = keras.initializers.Constant(math.log(scale))
            self.log_scale = self.add_weight(shape=(), initializer=start, name="log_scale")

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        loc = to_event_shape(tf.convert_to_tensor(inputs), self.event_shape)
        scale = tf.constant(self.scale, loc.dtype)
        if self.log_scale is not None:
            log_scale = tf.cast(tf.convert_to_tensor(self.log_scale), loc.dtype)
            scale = exp_at_least(log_scale, self.min_scale)
        each = _FAMILIES[self.family](loc, scale, validate_args=self.validate_args)
        return independent(each, self.event_shape, validate_args=self.validate_args)
