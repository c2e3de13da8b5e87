"""What objectives with a critic have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.bridge.loading import loaded
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.frozen import frozen


class WithCritic(Objective):
    """An objective that owns a critic, which tells two kinds of values apart.

    Attributes:
      critic: a network to one number, a logit; None until the model says what it takes.
    """

    metric_names: Sequence[str] = ("critic",)
    sees_whole_batch = True
    critic: keras.Model | None = None

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        return {} if self.critic is None else {"critic": self.critic}

    def judges(self, forward: Forward, network: Any = None) -> tuple[Callable, Callable]:
        """Returns the critic as two functions: of values for a player, and of constants for itself.

        The gradient of the first reaches what made the values and not the critic's weights; that of
        the second reaches these alone. `network`: one of the critic's layers, in its place.
        """
        critic, training = network or self.critic, forward.training
        assert critic is not None
        return (
            frozen(critic, training=training),
            lambda values: critic(tf.stop_gradient(values), training=training),
        )

    def get_config(self) -> dict[str, Any]:
        config = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        serialize = keras.saving.serialize_keras_object
        return {
            name: serialize(one) if isinstance(one, keras.Model) else schedules.to_config(one)
            for name, one in config.items()
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WithCritic:
        config = dict(config)
        critic = config.pop("critic")
        config = {name: schedules.from_config(value) for name, value in config.items()}
        return cast(Any, cls)(critic=None if critic is None else loaded(critic), **config)


def critic_of_vectors(shape: Sequence[int | None], critic: keras.Model | None) -> keras.Model:
    """Returns the critic of z, by default of two dense layers of 64.

    Raises:
      InputError: z is of no one size, or the critic does not take z or give one number.
    """
    if None in shape:
        raise InputError("Expected z of one size, for a critic; sequences have none.", shape)
    if critic is None:
        hidden = [keras.layers.Dense(64, activation="silu") for _ in range(2)]
        start = [keras.Input(shape), keras.layers.Flatten()]
        critic = keras.Sequential([*start, *hidden, keras.layers.Dense(1)], name="critic")
    if critic.input_shape != (None, *shape) or critic.output_shape != (None, 1):
        raise InputError(
            f"Expected a critic from z of shape {tuple(shape)} to one number.",
            f"from {critic.input_shape} to {critic.output_shape}",
        )
    return critic


def mean_over_draws(forward: Forward, values: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` of values `[samples * batch, 1]`."""
    return tf.reduce_mean(tf.reshape(values, tf.shape(forward.z)[:2]), axis=0)
