"""A posterior of inverse autoregressive maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_vae.bijectors.inverse_autoregressive import InverseAutoregressive
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import as_shape
from tfp_vae.layers.flow import FlowLayer
from tfp_vae.layers.made import AutoregressiveNetwork


@keras.saving.register_keras_serializable(package="tfp_vae")
class InverseAutoregressiveFlow(FlowLayer):
    """`z = f_K(... f_1(loc + scale * eps))` with `f(z)_i = s_i z_i + (1 - s_i) m_i`.

    An autoregressive network for each map gives m_i and the gates s_i in (0, 1), from the entries
    of z before i and a context, which is a part of the input; the order of the entries reverses
    from map to map. The networks are weights of this layer.
    `log q(z) = log N(z_0; loc, scale^2) - sum_k sum_i log s_ki`. A draw and its `log_prob` take one
    pass through each network, `log_prob` of any other z takes d. Draws are reparameterized. There
    is no closed form of mean or KL: the image of the base's mean stands for the posterior.

    Shapes: input `[..., 2 d + c]`: d locations, d scales before their softplus, c numbers of
    context; batch `[...]`, event `[d]`; as a tensor a draw.

    Args:
      hidden_units: the sizes of the hidden layers of each network.
      context_size: c, at least 1.
      activation: of the hidden layers; a bounded one keeps the inverse finite far out.
      kernel_initializer: of the networks' kernels.

    Source: Kingma et al., arXiv:1606.04934.

    Example:
      >>> q = InverseAutoregressiveFlow(2, 2, [8], 3, seed=1)(tf.ones([1, 7]))
      >>> z = q.sample(3)
      >>> bool(tf.reduce_all(abs(q.log_prob(z) - q.log_prob(z.numpy())) < 1e-4))
      True
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int = 2,
        hidden_units: Sequence[int] = (64,),
        context_size: int = 16,
        activation: Any = "tanh",
        kernel_initializer: Any = "glorot_uniform",
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_scale: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            event_size, num_flows, convert_to_tensor_fn, validate_args, min_scale, seed, **kwargs
        )
        self.hidden_units = list(as_shape(hidden_units))
        self.context_size = int(context_size)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        orders = ("left-to-right", "right-to-left")
        self.networks = [
            AutoregressiveNetwork(
                2,
                self.event_size,
                conditional=True,
                conditional_event_shape=self.context_size,
                hidden_units=self.hidden_units,
                input_order=orders[number % 2],
                activation=self.activation,
                kernel_initializer=self.kernel_initializer,
                dtype=self.dtype_policy,
            )
            for number in range(self.num_flows)
        ]

    def maps(self, params: tf.Tensor) -> list[tfb.Bijector]:
        checked = self.validate_args
        return [InverseAutoregressive(each, params, checked) for each in self.networks]

    @staticmethod
    def params_size(event_size: int, context_size: int, name: str | None = None) -> int:
        return 2 * int(event_size) + int(context_size)
