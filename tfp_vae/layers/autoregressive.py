"""A masked autoregressive flow as a layer from one distribution to another."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.layers.base.distribution_layer import DistributionLayer
from tfp_vae.layers.base.symbolic import DistributionTensor


@keras.saving.register_keras_serializable(package="tfp_vae")
class AutoregressiveTransform(DistributionLayer):
    """`x = f(u)`, u from the distribution that is the layer's input: a masked autoregressive flow.

    `log p(x) = log p_u((x - shift(x)) exp(-s(x))) - sum_i s_i(x)` with `shift, s = made(x)`, each a
    function of the entries of x before its own. Input: a distribution layer's output of event
    `[d]`; batch and event are those of the input; as a tensor a draw, which takes d passes through
    the network.

    Args:
      made: an `AutoregressiveNetwork` of 2 parameters, or another layer from `[..., d]` to
        `[..., d, 2]`.

    Raises:
      InputError: `made` has another number of parameters, or the input is no distribution.

    Source: Papamakarios et al., arXiv:1705.07057.

    Example:
      >>> from tfp_vae.layers import AutoregressiveNetwork, IndependentNormal
      >>> flow = AutoregressiveTransform(AutoregressiveNetwork(2, 2, hidden_units=[8]))
      >>> p = flow(IndependentNormal(2)(tf.zeros([5, 4])))
      >>> p.event_shape.as_list(), p.log_prob(tf.zeros([5, 2])).shape.as_list()
      ([2], [5])
    """

    def __init__(self, made: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if getattr(made, "params", 2) != 2:
            raise InputError(
                "Expected a network of 2 parameters for each input, shift and log-scale.",
                made.params,
            )
        self.made = made

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if not self.made.built:
            self.made.build(input_shape)

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        if not isinstance(inputs, tfd.Distribution):
            raise InputError(
                f"{self.name}: expected the output of a distribution layer to transform.", inputs
            )
        flow = tfb.MaskedAutoregressiveFlow(lambda x: tf.unstack(self.made(x), axis=-1))
        return tfd.TransformedDistribution(
            getattr(inputs, "tensor_distribution", inputs), bijector=flow
        )

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        # `call` cannot be traced with a placeholder, which is no distribution.
        given = (inputs,), {"training": training}
        return DistributionTensor(inputs.shape, self.compute_dtype, self, *given)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
