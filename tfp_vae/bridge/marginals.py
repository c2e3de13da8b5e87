"""Priors: layers that give a distribution."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.closures import Holding
from tfp_vae.bridge.precision import full_precision
from tfp_vae.bridge.serialization import distribution_from_config, distribution_to_config
from tfp_vae.bridge.signatures import ConfigFromSignature, has_parameter
from tfp_vae.bridge.tracking import Held
from tfp_vae.errors import InputTypeError


class Prior(keras.layers.Layer, abc.ABC):
    """A prior that a model holds, trains and saves: a layer with `distribution()`.

    The layer has no input, and is not called. A learnable prior makes its variables in `__init__`,
    and builds the distribution anew at each `distribution()`, so that gradients reach the
    variables. A prior whose layers have a training mode, such as Dropout, takes
    `distribution(training=None)`.

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
        """Returns p(z), built from the current values of the variables."""

    def at_step(self, training: bool | None) -> tfd.Distribution:
        """Returns `distribution()`, with `training` if it takes that."""
        if training is None or not has_parameter(self.distribution, "training"):
            return self.distribution()
        return self.distribution(training=training)  # type: ignore[call-arg]

    def bind(self, encoder: keras.Model) -> None:
        """Tells the prior of the encoder of its `VAE`, before training."""
        del encoder


@keras.saving.register_keras_serializable(package="tfp_vae")
class DistributionPrior(Prior):
    """A `tfd.Distribution` as a prior: its variables are trained, its parameters saved.

    Variables are `tf.Variable`s, `tfp.util.TransformedVariable`s, and those of Keras layers within
    bijectors (a masked autoregressive flow).

    Raises:
      InputError: it was constructed from a `keras.Variable`, see `tfp_vae.bridge.tracking.Held`.
    """

    def __init__(self, given: tfd.Distribution, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Not an attribute: TensorFlow's export refuses dicts with numbers for keys, as those of a
        # tfd.Blockwise.
        self._given = lambda: given
        held = Held(given)
        self.held_variables, self.held_layers = held.variables, held.layers

    @property
    def given(self) -> tfd.Distribution:
        """The distribution."""
        return self._given()

    def distribution(self) -> tfd.Distribution:
        return self.given

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "given": distribution_to_config(self.given)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DistributionPrior:
        return cls(**{**config, "given": distribution_from_config(config["given"])})


class CallablePrior(ConfigFromSignature, Prior):
    """A prior by a call of `make`; a subclass says how."""

    def __init__(self, make: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.make = make


@keras.saving.register_keras_serializable(package="tfp_vae")
class DeferredPrior(Holding, CallablePrior):
    """A function that returns the distribution, called at each use.

    The function takes no arguments, or `training`. The variables and layers that it closes over, or
    reads as globals, are trained and saved.
    """

    def __init__(self, make: Callable[[], tfd.Distribution], **kwargs: Any) -> None:
        super().__init__(make, **kwargs)
        self.hold(make)

    def distribution(self, training: bool | None = None) -> tfd.Distribution:
        with self.reading():
            if has_parameter(self.make, "training"):
                return self.make(training=training)
            return self.make()


@keras.saving.register_keras_serializable(package="tfp_vae")
class LayerPrior(CallablePrior):
    """A Keras layer or model whose output is the distribution, whatever it is called with.

    For example `keras.Sequential([VariableLayer(...), IndependentNormal(2)])`.
    """

    def __init__(self, make: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(make, **kwargs)
        if not make.built:
            self.distribution()  # makes its variables now, while they can be tracked

    def distribution(self, training: bool | None = None) -> tfd.Distribution:
        # Keras would take None for the mode that its caller wants.
        given = {} if training is None else {"training": training}
        return self.make(tf.zeros([]), **given)


def unit_normal(event_shape: int | Sequence[int]) -> tfd.Independent:
    """Returns N(0, I) over `event_shape`, to which TFP has the KL of an `IndependentNormal`.

    The dtype is that of Keras' variables under the present dtype policy, as a posterior's.

    Example:
      >>> unit_normal(16).event_shape.as_list()
      [16]
    """
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    normal = tfd.Normal(tf.zeros(shape, full_precision()), 1.0)
    return tfd.Independent(normal, reinterpreted_batch_ndims=len(shape))


def as_prior(value: Any) -> Prior:
    """Returns a distribution, or a layer, model or function that gives one, as a `Prior`."""
    if isinstance(value, Prior):
        return value
    if isinstance(value, tfd.Distribution):
        return DistributionPrior(value)
    if isinstance(value, keras.layers.Layer):
        return LayerPrior(value)
    if callable(value):
        return DeferredPrior(value)
    raise InputTypeError(
        "Expected a prior: a tfd.Distribution, a tfp_vae.priors.Prior, a Keras model whose output "
        "is a distribution, or a function without arguments that returns a distribution.",
        repr(value),
    )
