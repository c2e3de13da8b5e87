"""Reconstructions held to x by what a network sees in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.feature_networks import application, random_features
from tfp_vae.objectives.perceptual import Perceptual
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class DeepFeatures(Perceptual):
    """`weight sum_l mean((f_l(x) - f_l(E[x|z]))^2) / 2 + beta KL`, f_l layers of a fixed network.

    The network is not trained, and is saved with the model. There is no log p(x): the measure is no
    density.

    Args:
      network: any functional or Sequential network of x, such as a classifier of the same data
        (`feature_networks.trained_features` makes one), or the name of one of `keras.applications`,
        which is taken with its ImageNet weights; None: `random_features`.
      names: of the network's layers whose outputs are compared; None: all that have weights, of
        "VGG16" and "VGG19" those that the paper compares.
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
        network: keras.Model | str | None = None,
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
        return {"features": self.network} if isinstance(self.network, keras.Model) else {}

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        shape = tuple(next(iter(observed.values())))
        network = random_features(shape) if self.network is None else self.network
        if isinstance(network, str):
            network, self.names = application(network, shape, self.names)
        self.network = network
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
