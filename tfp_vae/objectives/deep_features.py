"""Reconstructions held to x by what a network sees in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.loading import loaded
from tfp_vae.errors import InputError
from tfp_vae.objectives.perceptual import Perceptual
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class DeepFeatures(Perceptual):
    """`weight sum_l mean((f_l(x) - f_l(E[x|z]))^2) / 2 + beta KL`, f_l layers of a fixed network.

    The network is not trained, and is saved with the model. There is no log p(x): the measure is no
    density.

    Args:
      network: any functional or Sequential network of x, such as one of `keras.applications` behind
        its preprocessing, or a classifier of the same data; None: `random_features`.
      names: of the network's layers whose outputs are compared; None: all that have weights.
      weight: of the distance: a number, a variable or a schedule.
      beta: of the KL, likewise.

    Raises:
      InputError: the network has no such layer, or takes another x.

    Source: Hou et al., arXiv:1610.00291; of random features: He et al., arXiv:1606.04801.

    Example:
      >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="seen")])
      >>> objective = DeepFeatures(network, names=["seen"])
      >>> objective.bind_data({"x": (3,)})
      >>> objective.distance(tf.ones([2, 3]), tf.ones([2, 3])).numpy().tolist()
      [0.0, 0.0]
    """

    takes_several = True

    @checked
    def __init__(
        self,
        network: keras.Model | None = None,
        names: Sequence[str] | None = None,
        weight: Scheduled = 100.0,
        beta: Scheduled = 1.0,
    ) -> None:
        super().__init__(weight, beta)
        self.network = network
        self.names = None if names is None else list(names)
        self._features: Any = None

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        return {} if self.network is None else {"features": self.network}

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        shape = tuple(next(iter(observed.values())))
        if self.network is None:
            self.network = random_features(shape)
        network = self.network
        if network.input_shape[1:] != shape:
            raise InputError(f"Expected a network of x of shape {shape}.", network.input_shape)
        network.trainable = False
        of = {layer.name: layer for layer in network.layers}
        names = self.names or [name for name, layer in of.items() if layer.weights]
        lacking = [name for name in names if name not in of]
        if lacking or not names:
            raise InputError(
                f"Expected names of layers of the network: {', '.join(of)}.", ", ".join(lacking)
            )
        self._features = keras.Model(network.inputs, [of[name].output for name in names])

    def distance(self, x: tf.Tensor, again: tf.Tensor) -> tf.Tensor:
        seen = (keras.tree.flatten(self._features(one, training=False)) for one in (x, again))
        each = [keras.layers.Flatten()(ours - theirs) for ours, theirs in zip(*seen, strict=True)]
        return tf.add_n([tf.reduce_mean(tf.square(one), axis=-1) / 2 for one in each])

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        weights = {name: schedules.to_config(getattr(self, name)) for name in ("weight", "beta")}
        return {"network": network, "names": self.names, **weights}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DeepFeatures:
        network = config["network"] and loaded(config["network"])
        own = {name: schedules.from_config(config[name]) for name in ("weight", "beta")}
        return cls(network, config["names"], **own)


def random_features(shape: Sequence[int | None]) -> keras.Model:
    """Returns a network of x with random weights, whose layers compare textures at three scales.

    Example:
      >>> [layer.name for layer in random_features((8, 8, 1)).layers]
      ['features_1', 'features_2', 'features_3']
    """
    kwargs = {"activation": "relu", "kernel_initializer": "he_normal"}
    chain: list[keras.layers.Layer] = []
    for number, width in enumerate((16, 32, 64), start=1):
        name = f"features_{number}"
        if len(shape) == 3:
            layer = keras.layers.Conv2D(width, 3, 2, padding="same", name=name, **kwargs)
        else:
            layer = keras.layers.Dense(width, name=name, **kwargs)
        chain.append(layer)
    return keras.Sequential([keras.Input(tuple(shape)), *chain], name="features")
