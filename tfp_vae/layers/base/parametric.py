"""Layers that read a distribution's parameters from the last axis of the input."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.signatures import (
    arguments_of,
    first_of_ours,
    has_parameter,
    parameters_of,
)
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
        return self._answer_of("params_size")

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        return self._answer_of("new", inputs)

    def _answer_of(self, method: str, *inputs: Any) -> Any:
        """Returns what a method gives for the attributes that stand for its arguments."""
        by_place, by_name = _how_to_call(type(self), method)
        places = [getattr(self, attribute) for attribute in by_place]
        names = {argument: getattr(self, attribute) for argument, attribute in by_name.items()}
        return getattr(self, method)(*inputs, *places, **names)

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
def _how_to_call(layer: type, method: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the attributes that a method takes by their places, and those it takes by name.

    A method of a user's class that has other names than this package's takes as many as it has
    places, in this package's order.
    """
    function, given = getattr(layer, method), arguments_of(layer)
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    taken = parameters_of(function)
    if inspect.Parameter.VAR_KEYWORD in kinds and method == "new" and hasattr(layer, "each"):
        taken = [*taken, *parameters_of(layer.each)]
    ours = _attributes_for(parameters_of(getattr(first_of_ours(layer), method)), given)
    theirs = _attributes_for(taken, given)
    named = inspect.Parameter.VAR_KEYWORD in kinds or set(ours) & set(_LEADING) <= set(theirs)
    if named:
        return (), theirs
    places = len(taken) - (method == "new") - ("name" in taken)
    return tuple(ours.values())[:places], {}


_LEADING = ("event_shape", "event_size", "num_components", "dtype", "validate_args")


def _attributes_for(arguments: Iterable[str], given: Sequence[str]) -> dict[str, str]:
    """Returns the arguments that stand for attributes of a layer, with these, in order."""
    own = {"dtype": "sample_dtype"} if "sample_dtype" in given else {}
    return {a: own.get(a, a) for a in arguments if own.get(a, a) in given}


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
            if has_parameter(cls.each, "validate_args"):
                each = cls.each(*parts, validate_args=validate_args, **options)
            else:  # by another name
                each = cls.each(*parts, validate_args, **options)
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
