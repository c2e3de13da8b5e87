"""Priors p(z): what the posterior is held against, and what new z are drawn from."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.precision import full_precision
from tfp_vae.serialization import distribution_from_config, distribution_to_config


class Prior(keras.layers.Layer, abc.ABC):
    """A prior that a model holds, trains and saves: a layer with `distribution()`.

    It is a layer so that Keras tracks its variables; it is not called, since it has no input. A
    learnable prior makes its variables in `__init__` and builds the distribution from them anew at
    each `distribution()`, so that gradients reach them.

    Example:
      >>> class Learned(Prior):
      ...     def __init__(self, **kwargs):
      ...         super().__init__(**kwargs)
      ...         self.loc = self.add_weight(shape=(2,), name="loc")
      ...     def distribution(self):
      ...         return tfd.MultivariateNormalDiag(loc=tf.convert_to_tensor(self.loc))
      >>> Learned().distribution().event_shape.as_list()
      [2]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    @abc.abstractmethod
    def distribution(self) -> tfd.Distribution:
        """p(z), built from the current values of the variables."""


@keras.saving.register_keras_serializable(package="tfp_vae")
class FixedPrior(Prior):
    """A `tfd.Distribution` with constant parameters, as a prior that is saved by its parameters.

    Raises:
      ValueError: where the distribution has variables: Keras would neither train nor save them.
    """

    def __init__(self, fixed: tfd.Distribution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if fixed.variables:
            raise ValueError(
                "Expected a distribution with constant parameters; one with variables is a "
                f"subclass of tfp_vae.priors.Prior. Received: {fixed} with {fixed.variables}"
            )
        self.fixed = fixed

    def distribution(self) -> tfd.Distribution:
        return self.fixed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fixed": distribution_to_config(self.fixed)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FixedPrior:
        return cls(**{**config, "fixed": distribution_from_config(config["fixed"])})


@keras.saving.register_keras_serializable(package="tfp_vae")
class DeferredPrior(Prior):
    """A function without arguments that returns the distribution, called at each use."""

    def __init__(self, make: Callable[[], tfd.Distribution], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.make = make

    def distribution(self) -> tfd.Distribution:
        return self.make()

    def get_config(self) -> dict[str, Any]:
        make = keras.saving.serialize_keras_object(self.make)
        return {**super().get_config(), "make": make}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DeferredPrior:
        return cls(**{**config, "make": keras.saving.deserialize_keras_object(config["make"])})


def unit_normal(event_shape: int | Sequence[int]) -> tfd.Independent:
    """N(0, I) over `event_shape`, in the form for which TFP has the KL of an `IndependentNormal`.

    Its dtype is that of Keras' variables under the present dtype policy, as the posterior's is.

    Example:
      >>> unit_normal(16).event_shape.as_list()
      [16]
    """
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    normal = tfd.Normal(tf.zeros(shape, full_precision()), 1.0)
    return tfd.Independent(normal, reinterpreted_batch_ndims=len(shape))


def as_prior(value: Any) -> Prior:
    """`value` as a `Prior`: one already, a `tfd.Distribution`, or a function that returns one."""
    if isinstance(value, Prior):
        return value
    if isinstance(value, tfd.Distribution):
        return FixedPrior(value)
    if callable(value):
        return DeferredPrior(value)
    raise TypeError(
        "Expected a prior: a tfd.Distribution, a tfp_vae.priors.Prior, or a function without "
        f"arguments that returns a tfd.Distribution. Received: {value!r}"
    )
