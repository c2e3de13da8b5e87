"""Columns of any unit: a likelihood that is standardized inside, and an encoder's first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer, independent

_WITHIN = (1e-30, 1e30)  # scales that float32 can divide by


class Scale(NamedTuple):
    """The location and the width of the columns of some data.

    Attributes:
      loc: the mean of each column.
      scale: the standard deviation of each; 1 for a column that is constant.

    Example:
      >>> Scale.of(np.array([[0., 5.], [200., 5.]]))
      Scale(loc=[100.0, 5.0], scale=[100.0, 1.0])
    """

    loc: list[float]
    scale: list[float]

    @classmethod
    def of(cls, x: np.ndarray) -> Scale:
        """Returns the scale of data `[n, columns]`, of the entries that are not NaN."""
        x = np.asarray(x, np.float64)
        loc, scale = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
        constant = scale <= 1e-7 * np.abs(loc)  # float32 tells its values no finer apart
        scale = np.where(constant, 1.0, np.clip(scale, *_WITHIN))
        return cls([float(each) for each in loc], [float(each) for each in scale])

    @property
    def is_usual(self) -> bool:
        """Whether a network takes the data as they are: means near 0, deviations near 1."""
        return bool(
            np.max(np.abs(self.loc)) <= 1 and 0.5 <= min(self.scale) <= max(self.scale) <= 2
        )

    def to_standard(self) -> keras.layers.Layer:
        """Returns the layer that gives each column mean 0 and standard deviation 1."""
        scale, loc = np.asarray(self.scale), np.asarray(self.loc)
        return keras.layers.Rescaling((1 / scale).tolist(), (-loc / scale).tolist())


@keras.saving.register_keras_serializable(package="tfp_vae")
class Rescaled(IndependentLayer, checks=False):  # one scale for each entry
    """`p(x) = prod_i f((x_i - loc_i) / scale_i) / scale_i`, f the density of another layer.

    The network before this layer works on columns of mean 0 and standard deviation 1; densities,
    means and draws are in the unit of x. The layer maps the location and the scale of the other
    layer's distribution, which stays of its family. Input: that of the other layer; batch `[...]`,
    event `event_shape`; as a tensor a draw.

    Args:
      likelihood: a layer whose distributions have a location and a scale, such as
        `IndependentNormal(3)`.
      loc: one number for each entry of x.
      scale: likewise, above 0.

    Raises:
      InputError: a scale is not above 0, or the other layer's distributions have none.

    Source: the change of variables, `log p(x) = log f(u) - sum_i log scale_i`.

    Example:
      >>> from tfp_vae import layers
      >>> p = Rescaled(layers.SharedScale(1), [100.], [10.])(tf.constant([[0.5]]))
      >>> p.mean().numpy().tolist(), p.stddev().numpy().tolist()
      ([[105.0]], [[10.0]])
    """

    def __init__(
        self,
        likelihood: IndependentLayer,
        loc: Sequence[float],
        scale: Sequence[float],
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            likelihood.event_shape, convert_to_tensor_fn, likelihood.validate_args, seed, **kwargs
        )
        self.likelihood = likelihood
        self.loc = np.reshape(np.asarray(loc, np.float64), likelihood.event_shape)
        self.scale = np.reshape(np.asarray(scale, np.float64), likelihood.event_shape)
        if not (self.scale > 0).all():
            raise InputError("Expected scales above 0.", self.scale.min())
        self.parameters_together = likelihood.parameters_together  # type: ignore[misc]

    @property
    def num_parameters(self) -> int:
        return self.likelihood.num_parameters

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        each = self.likelihood.make_distribution(inputs).distribution
        if not {"loc", "scale"} <= set(each.parameters):
            raise InputError(
                f"{self.name}: expected a likelihood with a location and a scale, such as "
                "IndependentNormal.",
                type(self.likelihood).__name__,
            )
        loc, scale = tf.constant(self.loc, each.dtype), tf.constant(self.scale, each.dtype)
        each = each.copy(loc=loc + scale * each.loc, scale=scale * each.scale)
        return independent(each, self.event_shape, validate_args=self.validate_args)

    def saved_arguments(self) -> list[str]:
        return [n for n in super().saved_arguments() if n not in ("event_shape", "validate_args")]
