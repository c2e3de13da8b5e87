"""The network of a coupling flow (RealNVP)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class CouplingNetwork(ConfigFromSignature, keras.layers.Layer):
    """Shift and log-scale of some entries, as functions of the others: a network for `tfb.RealNVP`.

    `x0 [..., input_size] -> (shift, log_scale)`, each `[..., output_size]`, by a dense network. In
    `tfb.RealNVP(num_masked=m, shift_and_log_scale_fn=CouplingNetwork(m, d - m, [64]))` the first m
    entries of d stay and give the shift and scale of the others.

    Args:
      input_size: the number of entries of x0.
      output_size: the number of entries to transform.
      hidden_units: the sizes of the hidden layers.
      activation: of the hidden layers.
      conditional_size: the size of a `conditional_input` beside x0; None: there is none.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the bijector asks for another number of entries than `output_size`.

    Source: Dinh et al., arXiv:1605.08803.

    Example:
      >>> network = CouplingNetwork(1, 2, hidden_units=[16])
      >>> flow = tfp.bijectors.RealNVP(num_masked=1, shift_and_log_scale_fn=network)
      >>> x = tf.constant([[1., 2., 3.]])
      >>> bool(tf.reduce_all(tf.abs(flow.inverse(flow.forward(x) + 0.) - x) < 1e-5))
      True
    """

    @checked
    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_units: Sequence[int] = (),
        activation: Any = "relu",
        conditional_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_size = int(input_size)
        self.output_size = int(output_size)
        self.hidden_units = [int(units) for units in hidden_units]
        self.activation = keras.activations.get(activation)
        self.conditional_size = conditional_size
        dense = functools.partial(keras.layers.Dense, dtype=self.dtype_policy)
        # Not a Sequential model: from an input of another rank than said Keras drops the last axis.
        self.network = [dense(units, self.activation) for units in self.hidden_units]
        self.network.append(dense(2 * self.output_size))
        size = self.input_size + (conditional_size or 0)
        for layer in self.network:
            layer.build((None, size))
            size = layer.units
        self.built = True

    def __call__(self, x0: Any, output_units: int | None = None, **kwargs: Any) -> Any:
        # The bijector gives the number by position, where Keras takes tensors alone.
        return super().__call__(x0, output_units=output_units, **kwargs)

    def call(
        self, x0: Any, output_units: int | None = None, conditional_input: Any = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the shift and the log-scale; the bijector expects `output_units` of each."""
        if output_units not in (None, self.output_size):
            raise InputError(
                f"{self.name}: expected to transform {self.output_size} entries, its output_size.",
                output_units,
            )
        if (self.conditional_size is None) != (conditional_input is None):
            raise InputError(
                f"{self.name}: expected conditional_input where there is a conditional_size, only.",
                f"conditional_size={self.conditional_size}, conditional_input={conditional_input}",
            )
        if conditional_input is not None:
            x0 = tf.concat([x0, conditional_input], axis=-1)
        one = x0.shape.rank == 1  # TFP may pass a single event; Keras' Dense wants a batch
        y = x0[tf.newaxis] if one else x0
        for layer in self.network:
            y = layer(y)
        shift, log_scale = tf.split(y[0] if one else y, 2, axis=-1)
        return shift, log_scale
