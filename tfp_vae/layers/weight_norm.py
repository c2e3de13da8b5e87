"""Weight normalization: a layer's kernel as a direction and a length for each output unit."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge.eager_variables import stateless
from tfp_vae.bridge.replicas import replica
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class WeightNorm(keras.layers.Wrapper):
    """Computes with `kernel = g v / ||v||`, one length g for each output unit, and trains g and v.

    v is the wrapped layer's own kernel; the norm is over all axes but that of the output units.
    Salimans and Kingma, arXiv:1602.07868.

    Args:
      layer: `keras.layers.Dense`, `Conv1D` to `Conv3D`, `Conv1DTranspose` to `Conv3DTranspose`, or
        another layer whose `kernel` has its output units on the last axis.
      data_init: True: the first call sets g and the bias so that the layer's output for this batch,
        before the activation, has mean 0 and variance 1 in each unit (a unit that is constant over
        the batch keeps length 1). False: g starts as ||v||.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the layer has no such kernel.

    Example:
      >>> layer = WeightNorm(keras.layers.Dense(3, activation="relu"))
      >>> y = layer(keras.random.normal([100, 4]))
      >>> bool(layer.initialized.numpy()), [w.name for w in layer.trainable_weights]
      (True, ['g', 'kernel', 'bias'])
    """

    def __init__(self, layer: keras.layers.Layer, data_init: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", getattr(layer, "dtype_policy", None))
        super().__init__(layer, **kwargs)
        self.data_init = data_init
        if layer.activity_regularizer is not None:  # `stateless_call` leaves it to the caller
            self.activity_regularizer = layer.activity_regularizer

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.input_spec = self.layer.input_spec
        kernel = getattr(self.layer, "kernel", None)
        if not isinstance(kernel, keras.Variable):
            raise InputError(
                f"{self.name}: expected a layer with a `kernel`, such as keras.layers.Dense.",
                f"{self.layer.name} ({type(self.layer).__name__})",
            )
        transposed = (
            keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose
        )  # fmt: skip
        self._filter_axis = len(kernel.shape) - (2 if isinstance(self.layer, transposed) else 1)
        first = getattr(self.layer, "data_format", None) == "channels_first"
        self._channel_axis = 1 if first else len(input_shape) - 1
        units = kernel.shape[self._filter_axis]
        outputs = self.layer.compute_output_shape(input_shape)
        if len(outputs) != len(input_shape) or outputs[self._channel_axis] != units:
            raise InputError(
                f"{self.name}: expected a layer with one output unit for each entry of its "
                f"kernel's axis {self._filter_axis}, of size {units}.",
                f"{self.layer.name} ({type(self.layer).__name__}) with outputs {outputs}",
            )
        self.g = self.add_weight(
            name="g",
            shape=(units,),
            initializer="ones" if self.data_init else self._norm,
            dtype=kernel.dtype,
        )
        self.initialized = self.add_weight(
            name="initialized",
            shape=(),
            initializer="zeros" if self.data_init else "ones",
            dtype="bool",
            trainable=False,
        )

    @property
    def v(self) -> keras.Variable:
        """The wrapped layer's own kernel; its direction counts."""
        return self.layer.kernel

    @property
    def kernel_norm_axes(self) -> list[int]:
        """The axes of the kernel for the norm of one unit."""
        rank = len(self.layer.kernel.shape)
        return [axis for axis in range(rank) if axis != self._filter_axis]

    def _norm(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        del shape
        squares = tf.square(tf.convert_to_tensor(self.layer.kernel.value))
        return tf.cast(tf.sqrt(tf.reduce_sum(squares, axis=self.kernel_norm_axes)), dtype)

    def call(self, inputs: Any) -> tf.Tensor:
        if self.data_init and not stateless():
            self._one_start()
            tf.cond(self.initialized.value, lambda: None, lambda: self._initialize(inputs))
        return self._apply(self.layer, inputs, self.g.value)

    def _one_start(self) -> None:
        if replica() is None:
            return
        with tf.init_scope():
            if not keras.ops.convert_to_numpy(self.initialized):
                raise InputError(
                    f"{self.name}: replicas would start from different rows. Expected the model to "
                    "be called on a batch before `fit`, or data_init=False.",
                    "a first call within a replica",
                )

    def _initialize(self, inputs: Any) -> None:
        linear = object.__new__(type(self.layer))  # copy.copy would copy the weights
        vars(linear).update({**vars(self.layer), "activation": None})
        bias = getattr(self.layer, "bias", None)
        unit = tf.ones_like(self.g.value)
        outputs = self._apply(linear, inputs, unit, without=bias)
        axes = [axis for axis in range(len(outputs.shape)) if axis != self._channel_axis]
        mean, variance = tf.nn.moments(tf.cast(outputs, self._exact(outputs)), axes)
        constant = variance <= 1e-12 * tf.square(mean) + 1e-20
        scale = tf.where(constant, tf.ones_like(variance), tf.math.rsqrt(variance))
        self.g.assign(scale)
        if bias is not None:
            bias.assign(-mean * scale)
        self.initialized.assign(True)

    def _apply(
        self, layer: keras.layers.Layer, inputs: Any, g: Any, without: Any = None
    ) -> tf.Tensor:
        """Returns the output of `layer` with a normalized kernel and `without` at zero."""
        v = tf.convert_to_tensor(self.layer.kernel.value)
        v = tf.cast(v, self._exact(v))
        shape = [1] * len(v.shape)
        shape[self._filter_axis] = -1
        g = tf.reshape(tf.cast(g, v.dtype), shape)
        direction = tf.math.l2_normalize(v, axis=self.kernel_norm_axes)
        kernel = tf.cast(g * direction, self.compute_dtype)

        def value(variable: Any) -> Any:
            if variable is self.layer.kernel:
                return kernel
            current = variable.value
            return tf.zeros_like(current) if variable is without else current

        outputs, _ = layer.stateless_call(
            [value(variable) for variable in layer.trainable_variables],
            [value(variable) for variable in layer.non_trainable_variables],
            inputs,
        )
        return outputs

    @staticmethod
    def _exact(tensor: tf.Tensor) -> tf.DType:
        return tf.float64 if tensor.dtype == tf.float64 else tf.float32

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_init": self.data_init}
