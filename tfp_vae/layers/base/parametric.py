"""Layers that read a distribution's parameters from the last axis of the input."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.signatures import arguments_of, parameters_of
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.distribution_layer import DistributionLayer


class ParametricLayer(DistributionLayer):
    """A distribution whose parameters are the last axis of the input, `num_parameters` of them.

    A subclass has `params_size` and `new`, whose arguments are the attributes of the same names,
    or `num_parameters` and `make_distribution` of its own.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      event_size: the size of one draw.
      sample_dtype: the dtype of draws; None: that of the parameters.
      min_scale: scales below it are raised to it: softplus(-90) is 0, where `log_prob` is NaN. A
        loss that wants larger scales trains them all the same.
      validate_args: TFP checks values at run time (slow).

    Raises:
      InputError: the last axis of the input has not the size that `params_size` gives.
    """

    params_size: ClassVar[Callable[..., int]]
    new: ClassVar[Callable[..., tfd.Distribution]]

    @property
    def num_parameters(self) -> int:
        """The size that the last axis of the input must have."""
        return self.params_size(**self._arguments_for("params_size"))

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self.new(inputs, **self._arguments_for("new", "each"))

    def _arguments_for(self, *methods: str) -> dict[str, Any]:
        taken = _arguments_taken(type(self), methods)
        return {argument: getattr(self, attribute) for argument, attribute in taken.items()}

    def build(self, input_shape: Any) -> None:
        last = input_shape[-1] if len(input_shape) else None
        if last is not None and last != self.num_parameters:
            raise InputError(
                f"{self.name}: expected {self.num_parameters} parameters on the last axis: put "
                f"Dense({type(self).__name__}.params_size(...)) before it.",
                f"an input of shape {tuple(input_shape)}",
            )
        super().build(input_shape)


@functools.cache
def _arguments_taken(layer: type, methods: tuple[str, ...]) -> dict[str, str]:
    """Returns the arguments that methods of the layer take from its attributes, and these."""
    functions = [getattr(layer, method) for method in methods if hasattr(layer, method)]
    taken = {name for function in functions for name in parameters_of(function)}
    given = arguments_of(layer)
    renamed = {"dtype": "sample_dtype"} if "dtype" in taken and "sample_dtype" in given else {}
    return {**{name: name for name in given if name in taken}, **renamed}


class IndependentLayer(ParametricLayer):
    """Independent scalar distributions over `event_shape`; a subclass says which in `each`.

    Attributes:
      parameters_per_value: the number of parameters of one value.
      parameters_together: whether the parameters of one value stand side by side, as the last axis
        of one tensor, and not in one tensor for each.
      outer: the class that joins the scalar distributions.
    """

    parameters_per_value: ClassVar[int] = 1
    parameters_together: ClassVar[bool] = False
    outer: ClassVar[type[tfd.Independent]] = tfd.Independent
    each: ClassVar[Callable[..., tfd.Distribution]]

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.event_shape = as_shape(event_shape)
        self.validate_args = validate_args

    @classmethod
    def params_size(cls, event_shape: int | Sequence[int] = (), name: str | None = None) -> int:
        """Returns the size of the last axis of the input."""
        return cls.parameters_per_value * math.prod(as_shape(event_shape))

    @classmethod
    def new(
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> tfd.Independent:
        """Returns the distribution of a tensor `[..., params_size(event_shape)]`."""
        return cls._new(params, event_shape, validate_args, name, **options)

    @classmethod
    def _new(
        cls,
        params: Any,
        event_shape: Any,
        validate_args: bool,
        name: str | None,
        own: Sequence[int] = (),
        **options: Any,
    ) -> tfd.Independent:
        with tf.name_scope(name or cls.__name__):
            params, count = tf.convert_to_tensor(params), cls.parameters_per_value
            parts = tf.split(params, count, axis=-1) if count > 1 else [params]
            parts = [to_event_shape(part, event_shape, own) for part in parts]
            each = cls.each(*parts, validate_args=validate_args, **options)
            return independent(each, event_shape, cls.outer, validate_args=validate_args)


def as_shape(event_shape: Any) -> tuple[int, ...]:
    """Returns `event_shape` (an int, a sequence, a TensorShape or a vector) as a tuple of ints."""
    if isinstance(event_shape, tf.TensorShape):
        return tuple(event_shape.as_list())
    array = keras.ops.convert_to_numpy(event_shape).reshape(-1)
    return tuple(int(size) for size in array)


def to_event_shape(parameter: tf.Tensor, event_shape: Any, own: Sequence[int] = ()) -> tf.Tensor:
    """Reshapes `[..., size]` to `[...] + event_shape + own`; shapes may be known at run time only.

    `own`: the axes of the parameters of one value that stand together.
    """
    parts = [tf.shape(parameter)[:-1], _vector(event_shape), _vector(own)]
    return tf.reshape(parameter, tf.concat(parts, axis=0))


class WholeDraws(tfd.Independent):
    """A `tfd.Independent` whose draws keep their origin: TFP's own reshapes the draws."""

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        return self.distribution.sample(sample_shape, seed=seed, **kwargs)


def independent(
    distribution: tfd.Distribution,
    event_shape: Any,
    kind: type[tfd.Independent] = tfd.Independent,
    **kwargs: Any,
) -> tfd.Independent:
    """Moves the axes of `event_shape` from the batch into the event."""
    ndims = _vector(event_shape).shape[0]
    return kind(distribution, reinterpreted_batch_ndims=ndims, **kwargs)


def _vector(event_shape: Any) -> tf.Tensor:
    return tf.reshape(tf.convert_to_tensor(event_shape, tf.int32), [-1])
