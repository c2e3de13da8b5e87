"""A mixture of Normals as a prior."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.marginals import Prior
from tfp_vae.bridge.precision import full_precision
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.distributions.floors import softplus_at_least


@keras.saving.register_keras_serializable(package="tfp_vae")
class MixturePrior(ConfigFromSignature, Prior):
    """`p(z) = sum_k w_k N(z; mu_k, diag(s_k)^2)` with trained w, mu and s.

    `w = softmax(logits)` starts equal, mu is drawn from a unit normal, and `s = max(softplus(.),
    1e-3)` starts at 1. The KL has no closed form, and is estimated at the decoder's z.
    Dilokthanakul et al., arXiv:1611.02648, section 2; beside `VampPrior` in Tomczak and Welling,
    arXiv:1705.07120.

    Args:
      event_size: the size of z.
      num_components: the number of Normals.
      seed: of the first mu; None takes one from Keras' global seed.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: either number is below 1.

    Example:
      >>> p = MixturePrior(2, num_components=3, seed=0).distribution()
      >>> p.event_shape.as_list(), p.components_distribution.stddev()[0].numpy().round(3).tolist()
      ([2], [1.0, 1.0])
    """

    @checked
    def __init__(
        self, event_size: int, num_components: int = 10, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": full_precision(), **kwargs})
        self.event_size, self.num_components = int(event_size), int(num_components)
        self.seed = seed
        shape = (self.num_components, self.event_size)
        unit_normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        one = keras.initializers.Constant(0.5413248546)  # whose softplus is 1
        self.logits = self.add_weight(name="logits", shape=shape[:1], initializer="zeros")
        self.loc = self.add_weight(name="loc", shape=shape, initializer=unit_normal)
        self.scale = self.add_weight(name="scale", shape=shape, initializer=one)

    def distribution(self) -> tfd.MixtureSameFamily:
        scale = softplus_at_least(self.scale, 1e-3)
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.convert_to_tensor(self.logits)),
            tfd.MultivariateNormalDiag(tf.convert_to_tensor(self.loc), scale),
        )
