"""The symbolic output of a distribution layer: a shape, and TFP's methods.

Keras computes shapes with placeholders, which are no distributions. A `DistributionTensor` keeps
the layer and its inputs, from which a method makes the distribution again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError

_OF_NOTHING = ("mean", "stddev", "variance", "mode", "covariance", "entropy")
_OF_A_VALUE = ("log_prob", "prob", "cdf", "log_cdf", "survival_function", "quantile")
_PARAMETERS = ("loc", "scale", "logits", "probs", "rate", "concentration", "df")
_SIZES = (5, 7)  # two batch sizes: a length that differs between them is unknown


class DistributionTensor(keras.KerasTensor):
    """A `keras.KerasTensor` with the methods of a distribution, each again a `keras.KerasTensor`.

    `mean`, `stddev`, `variance`, `mode`, `covariance`, `entropy`, `sample(shape)`; `log_prob`,
    `prob`, `cdf`, `log_cdf`, `survival_function`, `quantile` of a value; the distribution's own
    tensors `loc`, `scale`, `logits`, `probs`, `rate`, `concentration` and `df`, where it has them.

    Args:
      shape: of the tensor that the distribution stands for.
      dtype: of this tensor.
      layer: makes the distribution, by `undrawn(*args, **kwargs)`.
      args: see `layer`.
      kwargs: see `layer`.

    Example:
      >>> from tfp_vae import layers
      >>> inputs = keras.Input((4,))
      >>> model = keras.Model(inputs, layers.IndependentNormal(2)(inputs).sample(3))
      >>> model.output_shape
      (3, None, 2)
    """

    def __init__(self, shape: Any, dtype: Any, layer: Any, args: Any, kwargs: Any) -> None:
        super().__init__(shape, dtype=dtype)
        self.layer, self.args, self.kwargs = layer, args, kwargs

    def sample(self, sample_shape: Any = ()) -> keras.KerasTensor:
        """Returns new draws of shape `sample_shape + batch_shape + event_shape`."""
        return MethodOfDistribution("sample")(self, sample_shape=sample_shape)


def _of_nothing(name: str) -> Any:
    def method(self: DistributionTensor) -> keras.KerasTensor:
        return MethodOfDistribution(name)(self)

    return method


def _of_a_value(name: str) -> Any:
    def method(self: DistributionTensor, value: Any) -> keras.KerasTensor:
        symbolic = isinstance(value, keras.KerasTensor)
        value = value if symbolic else keras.ops.convert_to_tensor(value, self.dtype)
        return MethodOfDistribution(name)(self, value)

    return method


for _name in _OF_NOTHING:
    setattr(DistributionTensor, _name, _of_nothing(_name))
for _name in _OF_A_VALUE:
    setattr(DistributionTensor, _name, _of_a_value(_name))
for _name in _PARAMETERS:
    setattr(DistributionTensor, _name, property(_of_nothing(_name)))


@keras.saving.register_keras_serializable(package="tfp_vae")
class MethodOfDistribution(ConfigFromSignature, keras.layers.Layer):
    """`distribution.method(...)` as a layer, of the output of a distribution layer.

    Args:
      method: the name of a method or property.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the input is no distribution.

    Example:
      >>> from tfp_vae import layers
      >>> d = layers.IndependentNormal(2)(tf.zeros([1, 4]))
      >>> MethodOfDistribution("mean")(d).numpy().tolist()
      [[0.0, 0.0]]
    """

    def __init__(self, method: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.method = method
        self._convert_input_args = False  # a cast would leave a tensor
        self.supports_masking = method != "sample"  # samples may have axes in front
        self.built = True

    def call(self, distribution: Any, value: Any = None, **options: Any) -> tf.Tensor:
        attribute = getattr(distribution, self.method, None)
        if attribute is None:
            raise InputError(
                f"{self.name}: expected the output of a distribution layer that has {self.method}.",
                distribution,
            )
        values = () if value is None else (value,)
        return tf.convert_to_tensor(
            attribute(*values, **options) if callable(attribute) else attribute
        )

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> keras.KerasTensor:
        try:
            return spec_of(self, args, kwargs)
        except InputError as error:  # for `hasattr`
            raise AttributeError(str(error)) from None


class _Slot:
    def __init__(self, number: int) -> None:
        self.number = number


class _Again:
    def __init__(self, layer: Any, args: Any, kwargs: Any) -> None:
        self.layer, self.args, self.kwargs = layer, args, kwargs


def spec_of(layer: keras.layers.Layer, args: Any, kwargs: Any) -> keras.KerasTensor:
    """Returns the `keras.KerasTensor` of `layer.call(*args, **kwargs)`.

    A shape that cannot be inferred (a `tf.squeeze` of an unknown batch has no known rank) is found
    with two batch sizes: None where these differ.
    """
    inputs, traced = _traceable(layer, layer.call, args, kwargs)
    unknown = max((sum(n is None for n in tensor.shape) for tensor in inputs), default=0)
    try:
        spec = traced.compute_output_spec(*inputs)
    except InputError:
        raise
    except Exception:
        shape = _by_two_sizes(traced, inputs) if unknown else None
        if shape is None:
            raise
        return shape
    if sum(n is None for n in spec.shape) > max(unknown, 1):  # more than the inputs leave open
        found = _by_two_sizes(traced, inputs)
        return spec if found is None else found
    return spec


def shapes_of(layer: Any, args: Any, kwargs: Any) -> list[tf.TensorShape]:
    """Returns the shapes of the tensor, batch and event of `layer.undrawn`, found with two sizes.

    For tensors of unknown rank.
    """
    found: list[list[tf.TensorShape]] = []

    def undrawn(*args: Any, **kwargs: Any) -> Any:
        d = layer.undrawn(*args, **kwargs)
        found.append([d.shape, d.batch_shape, d.event_shape])
        return d

    def spec(value: Any) -> Any:
        if tf.is_tensor(value) and value.shape.rank is not None:
            return keras.KerasTensor(value.shape, value.dtype)
        return value

    inputs, traced = _traceable(layer, undrawn, *keras.tree.map_structure(spec, (args, kwargs)))
    if _by_two_sizes(traced, inputs) is None:
        return [tf.TensorShape(None)] * 3
    return [tf.TensorShape(_where_equal(a, b)) for a, b in zip(*found, strict=True)]


def _traceable(
    layer: keras.layers.Layer, call: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[list[keras.KerasTensor], keras.Operation]:
    """Returns the tensors in the arguments, and `call` as an operation of these."""
    inputs: list[keras.KerasTensor] = []

    def planned(value: Any) -> Any:
        if isinstance(value, DistributionTensor):
            parts = keras.tree.map_structure(planned, (value.args, value.kwargs))
            return _Again(value.layer, *parts)
        if isinstance(value, keras.KerasTensor):
            inputs.append(value)
            return _Slot(len(inputs) - 1)
        return value

    plan = keras.tree.map_structure(planned, (args, kwargs))

    def run(*tensors: Any) -> Any:
        def filled(value: Any) -> Any:
            if isinstance(value, _Slot):
                return tensors[value.number]
            if isinstance(value, _Again):
                a, k = keras.tree.map_structure(filled, (value.args, value.kwargs))
                return value.layer.undrawn(*a, **k)
            return value

        a, k = keras.tree.map_structure(filled, plan)
        return call(*a, **k)

    # Keras names the operation's class in its errors.
    return inputs, type(type(layer).__name__, (_Traced,), {})(run, layer.name)


def _by_two_sizes(traced: keras.Operation, inputs: list[keras.KerasTensor]) -> Any:
    try:
        first, second = (
            traced.compute_output_spec(*[_of_size(tensor, size) for tensor in inputs])
            for size in _SIZES
        )
    except Exception:  # an error of the function itself, known to the caller
        return None
    shape = _where_equal(first.shape, second.shape)
    return None if shape is None else keras.KerasTensor(shape, first.dtype)


def _where_equal(first: Any, second: Any) -> list[int | None] | None:
    if len(first) != len(second):
        return None
    return [a if a == b else None for a, b in zip(first, second, strict=True)]


class _Traced(keras.Operation):
    def __init__(self, run: Callable[..., Any], name: str) -> None:
        super().__init__(name=name)
        self.run = run

    def call(self, *args: Any) -> Any:
        return self.run(*args)


def _of_size(tensor: keras.KerasTensor, size: int) -> keras.KerasTensor:
    shape = [
        size + 6 * axis if length is None else length for axis, length in enumerate(tensor.shape)
    ]
    return keras.KerasTensor(shape, tensor.dtype)
