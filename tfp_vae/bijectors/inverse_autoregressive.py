"""One inverse autoregressive map: parallel forward, one entry after the other back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.floors import at_least

_LEAST = -15.0


class InverseAutoregressive(tfb.Bijector):
    """`f(z)_i = s_i z_i + (1 - s_i) m_i`: m_i and s_i depend on the entries before z_i alone.

    `m, t = network(z, conditional_input=context)` gives the gate `s = sigmoid(t + 2)`, which
    starts near 1, where f is the identity; t + 2 is at least -15. `log |det f'| =
    sum_i log s_i`. Forward takes one pass through the network, the inverse d. Kingma et al.,
    arXiv:1606.04934, algorithm 1.

    Args:
      network: an `AutoregressiveNetwork` of 2 parameters that is conditional.
      context: `[..., c]`.

    Example:
      >>> from tfp_vae.layers import AutoregressiveNetwork
      >>> made = AutoregressiveNetwork(2, 3, conditional=True, conditional_event_shape=1)
      >>> f = InverseAutoregressive(made, context=tf.ones([1]))
      >>> z = tf.constant([0.3, -1.2, 2.])
      >>> bool(tf.reduce_all(abs(f.inverse(tf.identity(f.forward(z))) - z) < 1e-5))
      True
    """

    def __init__(
        self,
        network: Any,
        context: Any,
        validate_args: bool = False,
        name: str = "inverse_autoregressive",
    ) -> None:
        parameters = dict(locals())
        self.network = network
        self.context = context
        self._last = _Last()
        super().__init__(
            forward_min_event_ndims=1,
            dtype=context.dtype,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"context": tfp_util.ParameterProperties(event_ndims=1)}

    def _shift_and_gate(self, z: tf.Tensor, context: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns m and t."""
        out = self.network(z, conditional_input=context)
        # The inverse has exp(-t), which would overflow.
        return out[..., 0], at_least(out[..., 1] + 2, _LEAST)

    def _known(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns m and t, cached for the last z: f and the determinant both need them."""
        if self._last.z is not z:
            self._last.z, self._last.value = z, self._shift_and_gate(z, self.context)
        return self._last.value

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        m, t = self._known(z)
        return tf.sigmoid(t) * z + tf.sigmoid(-t) * m

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        y = y + tf.zeros_like(self.context[..., :1])
        context = self.context + tf.zeros_like(y[..., :1])
        # Of more axes than two, the gradient of the loop does not compile under XLA.
        rows = tf.reshape(y, [-1, y.shape[-1]])
        context = tf.reshape(context, [-1, context.shape[-1]])

        def once_more(z: tf.Tensor) -> tuple[tf.Tensor]:
            # After n passes the first n entries, in the network's order, are right.
            m, t = self._shift_and_gate(z, context)
            return (tf.ensure_shape(rows + tf.exp(-t) * (rows - m), rows.shape),)

        start, size = (tf.zeros_like(rows),), y.shape[-1]
        (z,) = tf.while_loop(lambda z: True, once_more, start, maximum_iterations=size)
        return tf.ensure_shape(tf.reshape(z, tf.shape(y)), y.shape)

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        _, t = self._known(z)
        return tf.reduce_sum(tf.math.log_sigmoid(t), axis=-1)


class _Last:
    """The last z and the network's output, untracked by TensorFlow."""

    z: Any = None
    value: Any = None
