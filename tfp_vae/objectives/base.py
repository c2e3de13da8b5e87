"""What every objective is: the terms of a pass make a loss for each example."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.bridge.replicas import global_batch, of_replica
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import Forward, Term


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
    """How a model turns a forward pass into a loss. A new one is a subclass with `__call__`.

    Attributes:
      num_samples: how many values of each latent variable are drawn for each example.
      needs_gradient: whether it needs draws that carry a gradient.
      weighs_gradients: whether draws go through a `Gate` while training.
      takes_several: whether it is defined for several latent variables.
      sees_whole_batch: whether an example's loss depends on the others of its batch, and so the
        loss on the size of batches, or at least its noise.
      metric_names: of the values that it reports beside `nll` and `kl`.
    """

    num_samples: int = 1
    needs_gradient: bool = True
    weighs_gradients: bool = False
    takes_several: bool = False
    sees_whole_batch: bool = False
    metric_names: Sequence[str] = ()

    @property
    def needs_density(self) -> bool:
        """Whether it needs `log q(z|x)`, which a point mass (`layers.Deterministic`) has not."""
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

        The model tracks, trains and saves these; each is a player whose weights the objective's
        loss of it alone may reach (`tfp_vae.objectives.players`).
        """
        return {}

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        """Tells the objective of the latent variables, by name with the shape of a value.

        Raises:
          InputError: the objective is not defined for these.
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
        """The terms for one batch."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in JSON's types."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Objective:
        """The inverse of `get_config`."""
        return cls(**{key: schedules.from_config(value) for key, value in config.items()})


def nll_and_kl(forward: Forward) -> tuple[tf.Tensor, tf.Tensor | None]:
    """`-E_q[log p(x|z)]` and `KL[q || p]` of each example, in nats."""
    return forward.nll, forward.kl


def draws_of_its_own(forward: Forward, term: Term, number: int) -> tf.Tensor:
    """Draws from q like its value, and independent of it: other ones for each step and number."""
    return term.draws(seed_of_step(forward, number))


def seed_of_step(forward: Forward, number: int, of_all: bool = False) -> tf.Tensor:
    """Other draws at each step and on each replica, the same when a run is repeated or resumed.

    `of_all`: the same on all replicas.
    """
    seed = tf.stack([tf.cast(forward.step, tf.int32), number])
    return seed if of_all else of_replica(seed)


def share_of_unknown(forward: Forward, term: Term) -> tuple[tf.Tensor, tf.Tensor]:
    """The share of the examples whose value is not known, and `[batch]`, 1 for each of these.

    Both are 1 where no value is known.
    """
    if term.known is None:
        one = tf.ones_like(forward.nll)
        return tf.ones([], one.dtype), one
    unknown = tf.cast(~term.known, forward.nll.dtype)
    return batch_mean(unknown, forward), unknown


def batch_mean(values: tf.Tensor, forward: Forward) -> tf.Tensor:
    """The mean over the examples of all replicas, weighed as the loss is: 0 counts nothing."""
    values = global_batch(values)
    if forward.weights is None:
        return tf.reduce_mean(values, axis=0)
    weights = tf.cast(global_batch(forward.weights), values.dtype)
    total = tf.tensordot(weights, values, [[0], [0]])
    return tf.math.divide_no_nan(total, tf.reduce_sum(weights))


def weighted(kl: tf.Tensor | None, weight: Any, step: Any) -> tf.Tensor | float:
    """`weight * kl` at a step, where there is a KL."""
    return 0.0 if kl is None else now(weight, step, kl.dtype) * kl


def now(value: Any, step: Any, dtype: Any) -> tf.Tensor:
    """A number or schedule at a step."""
    return tf.cast(schedules.value_at(value, step), dtype)


def is_zero(value: Any) -> bool:
    """Whether it is the number 0, at each step."""
    return isinstance(value, (int, float)) and value == 0


def of_variable(value: Any, name: str) -> Any:
    """What a setting is for one latent variable: its own where the setting is a dict of these."""
    return value[name] if isinstance(value, dict) else value
