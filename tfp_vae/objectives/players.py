"""Several players in one loss, each with an optimizer.

Losses add up where each reaches the weights of one player alone (`frozen`): the gradient of the sum
is the gradient of each player's own loss. So a critic needs no training loop of its own.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.kinds import is_integer
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.replicas import replica
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class ByPlayer(keras.optimizers.Optimizer):
    """An optimizer for each player: the model, and each network that its objective owns.

    `ByPlayer(model="adam", critic=keras.optimizers.Adam(1e-4), every={"model": 5})` trains the
    weights of the objective's `state["critic"]` at each step, and all others at each fifth: five
    steps of the critic for one of the model, each of another batch. `iterations` counts batches.

    Args:
      model: the optimizer of all weights that are no other player's.
      every: n by the name of a player, who takes every n-th step; n is 1 for the others.
      **players: the optimizers of the other players, by their names in the objective's `state`;
        a player without an optimizer is trained with the model.

    Raises:
      InputError: a number of steps is not a whole number from 1 on, or of no player; a learning
        rate or another number of an optimizer is not finite; or (in `compile`) the objective has no
        player of a name.

    Example:
      >>> optimizer = ByPlayer(model="sgd", critic="adam", every={"model": 5})
      >>> {name: type(one).__name__ for name, one in optimizer.players.items()}
      {'model': 'SGD', 'critic': 'Adam'}
    """

    def __init__(
        self,
        model: Any = "adam",
        every: Mapping[str, int] | None = None,
        name: str = "by_player",
        **players: Any,
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        given = {"model": model, **players}
        self.players = {who: keras.optimizers.get(one) for who, one in given.items()}
        self.every = dict(every or {})
        wrong = [n for n, k in self.every.items() if n not in self.players or not is_integer(k)]
        if wrong:
            raise InputError(
                "Expected every to say for players, which are "
                f"{', '.join(self.players)}, how many steps are between theirs, such as "
                "{'model': 5}.",
                self.every,
            )
        for who, one in self.players.items():
            with contextlib.suppress(NotImplementedError):  # of a user's schedule
                _check_finite(who, one.get_config())
        self._owners: dict[int, str] = {}

    def bind(self, state: Mapping[str, keras.layers.Layer]) -> None:
        """Tells the optimizer of the players of an objective, by their names with their layers."""
        unknown = set(self.players) - {"model", *state}
        if unknown:
            raise InputError(
                f"Expected players that the objective has: {', '.join(['model', *state])}.",
                ", ".join(unknown),
            )
        self._owners = {
            id(variable): name
            for name, layer in state.items()
            if name in self.players
            for variable in layer.trainable_variables
        }

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        for name, optimizer in self.players.items():
            optimizer.build([v for v in variables if self._owner(v) == name])
            for variable in optimizer.variables:
                self._track_variable(variable)

    def _owner(self, variable: keras.Variable) -> str:
        return self._owners.get(id(variable), "model")

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        variables = (
            self._trainable_variables if trainable_variables is None else trainable_variables
        )
        if not self.built:
            self.build(list(variables))
        pairs = list(zip(grads, variables, strict=True))
        for name, optimizer in self.players.items():
            part = [(g, v) for g, v in pairs if self._owner(v) == name]
            if part:
                self._apply_to(optimizer, part, self.every.get(name, 1))
        self._iterations.assign_add(1)

    def _apply_to(self, optimizer: Any, pairs: list[Any], every: int) -> None:
        gradients, variables = (list(each) for each in zip(*pairs, strict=True))
        if every == 1:
            optimizer.apply(gradients, variables)
            return

        def run() -> tf.Tensor:
            optimizer.apply(gradients, variables)
            return tf.constant(True)

        if replica() is not None:
            raise InputError(
                "On several replicas all players take each step: expected ByPlayer without every.",
                self.every,
            )
        due = tf.equal((self._iterations.value + 1) % every, 0)
        tf.cond(due, run, lambda: tf.constant(False))

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Puts in the moving averages of each player's optimizer, where there are any."""
        for name, optimizer in self.players.items():
            optimizer.finalize_variable_values([v for v in var_list if self._owner(v) == name])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Does nothing: each player's optimizer has its own."""
        del gradient, variable, learning_rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the model's optimizer."""
        return self.players["model"].learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        _check_finite("model", {"learning_rate": value})
        self.players["model"].learning_rate = value

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        players = {name: serialize(one) for name, one in self.players.items()}
        return {"name": self.name, "every": self.every, **players}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ByPlayer:
        own = ("name", "every")
        made = {n: v if n in own else loaded(v, custom_objects) for n, v in config.items()}
        return cls(**made)


def _check_finite(player: str, config: Mapping[str, Any]) -> None:
    wrong = [
        f"{'.'.join(map(str, path))}={value}"
        for path, value in keras.tree.flatten_with_path(dict(config))
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if wrong:
        raise InputError(
            f"Expected the numbers of the optimizer of {player} to be finite.", ", ".join(wrong)
        )
