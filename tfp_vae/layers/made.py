"""An autoregressive network (MADE) of Keras 3 weights."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError
from tfp_vae.layers.base.parametric import as_shape


@keras.saving.register_keras_serializable(package="tfp_vae")
class AutoregressiveNetwork(ConfigFromSignature, keras.layers.Layer):
    """MADE: a masked dense network, in which output i depends on the inputs before i alone.

    `x [..., d] -> [..., d, params]`. Each unit has a degree, and takes from units of lower or,
    among hidden ones, equal degree. Arguments and values are those of
    `tfp.bijectors.AutoregressiveNetwork`, for Keras 2. For `AutoregressiveTransform`, and for
    `tfb.MaskedAutoregressiveFlow(made)`; `tfb.Invert` of that is an inverse autoregressive flow.

    Args:
      params: the number of outputs for each input: 2 for shift and log-scale.
      event_shape: d; None: the last axis of the first input.
      conditional: whether the network is also given `conditional_input [..., c]`, on which all
        outputs depend.
      conditional_event_shape: c.
      conditional_input_layers: "all_layers" or "first_layer": where that input goes in.
      hidden_units: the sizes of the hidden layers.
      input_order: "left-to-right", "right-to-left", "random", or the degrees 1 to d in some order.
      hidden_degrees: "equal" (as many units for each degree) or "random".
      activation: of the hidden layers.
      use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
        kernel_constraint, bias_constraint: as in `keras.layers.Dense`.
      validate_args: as in `tfp.bijectors`; the layer always checks.
      seed: for random orders and degrees; saved, so that the masks come back.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: an argument is not one of the above, or the input has another last axis than d.

    Source: Germain et al., arXiv:1502.03509.

    Example:
      >>> made = AutoregressiveNetwork(2, event_shape=3, hidden_units=[16], activation="relu")
      >>> with tf.GradientTape() as tape:
      ...     tape.watch(x := tf.ones([3]))
      ...     y = made(x)[:, 0]
      >>> bool(tf.reduce_all(tf.linalg.band_part(tape.jacobian(y, x), 0, -1) == 0.))
      True
    """

    @checked
    def __init__(
        self,
        params: int,
        event_shape: Any = None,
        conditional: bool = False,
        conditional_event_shape: Any = None,
        conditional_input_layers: str = "all_layers",
        hidden_units: Sequence[int] | None = None,
        input_order: str | Sequence[int] = "left-to-right",
        hidden_degrees: str = "equal",
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.params = int(params)
        self.event_shape = None if event_shape is None else _vector_size("event_shape", event_shape)
        self.conditional = conditional
        if conditional != (conditional_event_shape is not None):
            raise InputError(
                "Expected conditional=True and conditional_event_shape together, or neither.",
                f"conditional={conditional}, conditional_event_shape={conditional_event_shape}",
            )
        self.conditional_event_shape = (
            _vector_size("conditional_event_shape", conditional_event_shape)
            if conditional
            else None
        )
        self.conditional_input_layers = _one_of(
            "conditional_input_layers", conditional_input_layers, ("all_layers", "first_layer")
        )
        self.hidden_units = [int(units) for units in hidden_units or ()]
        self.input_order = (
            _one_of("input_order", input_order, ("left-to-right", "right-to-left", "random"))
            if isinstance(input_order, str)
            else [int(degree) for degree in input_order]
        )
        self.hidden_degrees = _one_of("hidden_degrees", hidden_degrees, ("equal", "random"))
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.validate_args = validate_args
        self.seed = random.randint(1, 10**9) if seed is None else seed
        self.kernels: list[keras.Variable] = []
        self.biases: list[keras.Variable] = []
        self.conditional_kernels: list[keras.Variable] = []
        if self.event_shape is not None:  # there at once, wherever the network is first called
            self.build((None, *self.event_shape))

    def build(self, x_shape: Any, conditional_input_shape: Any = None) -> None:
        if self.kernels:
            return
        if self.event_shape is None:
            self.event_shape = (int(x_shape[-1]),)
        degrees = self._degrees(self.event_shape[0])
        self._input_order = degrees[0]  # as tfp.bijectors names it
        self.masks = _masks(degrees, self.params)
        for number, mask in enumerate(self.masks):
            self.kernels.append(self._weight("kernel", f"kernel_{number}", mask.shape))
            if self.use_bias:
                self.biases.append(self._weight("bias", f"bias_{number}", mask.shape[1:]))
            if self.conditional and (number == 0 or self.conditional_input_layers == "all_layers"):
                shape = (*self.conditional_event_shape, mask.shape[1])  # type: ignore[misc]
                made = self._weight("kernel", f"conditional_kernel_{number}", shape)
                self.conditional_kernels.append(made)
        self.built = True

    def _weight(self, part: str, name: str, shape: tuple[int, ...]) -> keras.Variable:
        kinds = ("initializer", "regularizer", "constraint")
        options = {kind: getattr(self, f"{part}_{kind}") for kind in kinds}
        return self.add_weight(name=name, shape=shape, **options)

    def _degrees(self, size: int) -> list[np.ndarray]:
        """Returns the degrees of the inputs, then of each hidden layer's units."""
        rng = np.random.default_rng(self.seed)
        order = np.arange(1, size + 1)
        if self.input_order == "right-to-left":
            order = order[::-1]
        elif self.input_order == "random":
            order = rng.permutation(order)
        elif not isinstance(self.input_order, str):
            if sorted(self.input_order) != order.tolist():
                raise InputError(f"Expected input_order to have 1 to {size}.", self.input_order)
            order = np.array(self.input_order)
        degrees = [order]
        for units in self.hidden_units:
            lowest = min(degrees[-1].min(), size - 1)
            if self.hidden_degrees == "random":
                degrees.append(rng.integers(lowest, size, units))
            else:
                evenly = np.ceil(np.arange(1, units + 1) * (size - 1) / (units + 1))
                degrees.append(np.maximum(lowest, evenly.astype(int)))
        return degrees

    def call(self, x: Any, conditional_input: Any = None) -> tf.Tensor:
        """Maps `[..., d]`, and `[..., c]` where conditional, to `[..., d, params]`."""
        (size,) = self.event_shape or (None,)
        if x.shape[-1] != size:
            raise InputError(f"{self.name}: expected a last axis of {size}.", x.shape)
        if self.conditional != (conditional_input is not None):
            raise InputError(
                f"{self.name}: expected conditional_input with conditional=True, and only then.",
                f"conditional={self.conditional}, conditional_input={conditional_input}",
            )
        for number, (kernel, mask) in enumerate(zip(self.kernels, self.masks, strict=True)):
            y = keras.ops.matmul(x, kernel * keras.ops.cast(mask, kernel.dtype))
            if self.use_bias:
                y += self.biases[number]
            if number < len(self.conditional_kernels):
                y += keras.ops.matmul(conditional_input, self.conditional_kernels[number])
            x = self.activation(y) if number + 1 < len(self.masks) else y
        last = [size, self.params]
        y = tf.reshape(x, tf.concat([tf.shape(x)[:-1], last], axis=0))
        return tf.ensure_shape(y, [*x.shape[:-1], *last])


def _masks(degrees: list[np.ndarray], params: int) -> list[np.ndarray]:
    """Returns for each layer which inputs each output takes: `[inputs, outputs]`."""
    hidden = [a[:, None] <= b for a, b in itertools.pairwise(degrees)]
    return [*hidden, np.repeat(degrees[-1][:, None] < degrees[0], params, axis=1)]


def _vector_size(name: str, shape: Any) -> tuple[int, ...]:
    shape = as_shape(shape)
    if len(shape) != 1:
        raise InputError(f"Expected {name} to be the size of a vector.", shape)
    return shape


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(f"Expected {name} to be one of {choices}.", repr(value))
    return value
