"""What every objective is: the terms of a pass make a loss for each example."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from tfp_vae import schedules
from tfp_vae.bridge.signatures import first_of_ours, parameters_of
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import Forward


class Terms(NamedTuple):
    """What an objective makes of one batch, each of shape `[batch]`, in nats.

    Attributes:
      loss: what is minimized.
      nll: `-E_q[log p(x|z)]`.
      kl: `KL[q(z|x) || p(z)]`, of all latent variables together, without any weight; None where no
        posterior has a density.
      more: further values by the names of their metrics, `metric_names` of the objective.
    """

    loss: tf.Tensor
    nll: tf.Tensor
    kl: tf.Tensor | None
    more: Mapping[str, tf.Tensor] = {}


class Objective(abc.ABC):
    """A function from a forward pass to a loss. A new objective is a subclass with `__call__`.

    Attributes:
      num_samples: how many values of each latent variable are drawn for each example.
      needs_gradient: whether draws have to carry a gradient.
      weighs_gradients: whether draws go through a `Gate` while training.
      enumerates: the latent variables that take each of their values in turn, and are not drawn:
        draw s has value s. `num_samples` is a multiple of the number of values.
      takes_several: whether the objective is defined for several latent variables.
      sees_whole_batch: whether an example's loss depends on the others of its batch, and so the
        loss on the size of batches, or at least its noise.
      metric_names: of the values that are reported beside `nll` and `kl`.
    """

    num_samples: int = 1
    needs_gradient: bool = True
    weighs_gradients: bool = False
    takes_several: bool = False
    enumerates: Sequence[str] = ()
    sees_whole_batch: bool = False
    metric_names: Sequence[str] = ()

    @property
    def needs_density(self) -> bool:
        """Whether `log q(z|x)` is needed: a point mass (`layers.Deterministic`) has none."""
        return True

    def needs_density_of(self, name: str) -> bool:
        """Tells whether it needs `log q` of this latent variable."""
        return self.needs_density

    @property
    def no_likelihood(self) -> str:
        """Why a model that it trained has no log p(x), in words; "": it has one."""
        return ""

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        """The networks that the objective owns, by the names of their players.

        The model tracks, trains and saves these networks. The loss of a player is to reach the
        weights of that player alone (`tfp_vae.objectives.players`).
        """
        return {}

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        """Tells the objective of the latent variables, by name with the shape of a value.

        Raises:
          InputError: the objective is not defined for these variables.
        """
        if len(latents) > 1 and not self.takes_several:
            raise InputError(
                f"{type(self).__name__} is of one latent variable: expected another objective for "
                "several, such as ELBO or IWAE.",
                ", ".join(latents),
            )

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        """Tells the objective of the observed variables, by name with the shape of a value.

        Raises:
          InputError: the objective is not defined for these.
        """
        del observed

    @abc.abstractmethod
    def __call__(self, forward: Forward) -> Terms:
        """Returns the terms of one batch."""

    _constructed: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made._constructed = (args, kwargs)
        return made

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, as JSON.

        Those of a class of this package are its attributes by the same names. A subclass adds its
        own to them, or leaves `get_config` out: then they are what its constructor was given.
        """
        cls: Any = type(self)
        ours: Any = first_of_ours(cls)
        if cls.__init__ is ours.__init__ or cls.get_config is not ours.get_config:
            taken = parameters_of(ours)
            given = {name: getattr(self, name) for name in taken if hasattr(self, name)}
        else:
            given = self._given()
        return {name: self._as_json(name, value) for name, value in given.items()}

    def _given(self) -> dict[str, Any]:
        """Returns what the constructor was given, by name."""
        args, kwargs = self._constructed
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        given = dict(bound.arguments)
        for parameter in bound.signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
            elif parameter.kind is parameter.VAR_POSITIONAL and parameter.name in given:
                raise InputError(
                    f"Expected {type(self).__name__} to have a get_config, since its constructor "
                    f"takes *{parameter.name}.",
                    given[parameter.name],
                )
        return given

    def _as_json(self, name: str, value: Any) -> Any:
        if callable(value) and not isinstance(value, (LearningRateSchedule, keras.layers.Layer)):
            raise InputError(
                f"Expected {name} of {type(self).__name__} to be something that a file can hold: a "
                "number, a word, a network or a keras.optimizers.schedules.LearningRateSchedule "
                "of a registered class; or a get_config that says it otherwise.",
                value,
            )
        return schedules.to_config(value)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        """Returns an objective by what `get_config` gave."""
        return cls(**{key: schedules.from_config(value) for key, value in config.items()})
