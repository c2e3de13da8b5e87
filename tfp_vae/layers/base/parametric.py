"""What the layers that read a distribution's parameters from the last axis have in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.layers.base.distribution_lambda import ConvertToTensor, DistributionLayer


class ParametricLayer(DistributionLayer):
    """A distribution whose parameters are the last axis of the input, `num_parameters` of them."""

    @property
    @abc.abstractmethod
    def num_parameters(self) -> int:
        """The size that the last axis of the input must have."""

    def build(self, input_shape: Any) -> None:
        last = input_shape[-1] if len(input_shape) else None
        if last is not None and last != self.num_parameters:
            raise InputError(
                f"{self.name}: expected {self.num_parameters} parameters on the last axis: put "
                f"Dense({type(self).__name__}.params_size(...)) before it.",
                f"an input of shape {tuple(input_shape)}",
            )
        super().build(input_shape)


class IndependentLayer(ParametricLayer):
    """Independent scalar distributions over `event_shape`.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.
    """

    parameters_per_value: ClassVar[int] = 1
    parameters_together: ClassVar[bool] = False  # those of one value stand side by side

    @checked
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
    @checked
    def params_size(cls, event_shape: int | Sequence[int] = (), name: str | None = None) -> int:
        """The size of the last axis of the input."""
        del name
        return cls.parameters_per_value * math.prod(as_shape(event_shape))

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.event_shape)

    def get_config(self) -> dict[str, Any]:
        own = {"event_shape": list(self.event_shape), "validate_args": self.validate_args}
        return {**super().get_config(), **own}


def as_shape(event_shape: Any) -> tuple[int, ...]:
    """`event_shape` (an int, a sequence, a TensorShape or an integer vector) as a tuple of ints."""
    if isinstance(event_shape, tf.TensorShape):
        return tuple(event_shape.as_list())
    array = keras.ops.convert_to_numpy(event_shape).reshape(-1)
    return tuple(int(size) for size in array)


def to_event_shape(parameter: tf.Tensor, event_shape: Any, own: Sequence[int] = ()) -> tf.Tensor:
    """`[..., size]` to `[...] + event_shape + own`, whatever of it is known only when it runs.

    `own`: the axes of the parameters of one value, where it has several that stand together.
    """
    parts = [tf.shape(parameter)[:-1], _vector(event_shape), _vector(own)]
    shape = tf.concat(parts, axis=0)
    return tf.reshape(parameter, shape)


class WholeDraws(tfd.Independent):
    """A `tfd.Independent` whose draws are the very tensors of its distribution, with their origin.

    TFP reshapes them.
    """

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        return self.distribution.sample(sample_shape, seed=seed, **kwargs)


def independent(
    distribution: tfd.Distribution,
    event_shape: Any,
    kind: type[tfd.Independent] = tfd.Independent,
    **kwargs: Any,
) -> tfd.Independent:
    """Takes the axes of `event_shape` from the batch into the event."""
    ndims = _vector(event_shape).shape[0]
    return kind(distribution, reinterpreted_batch_ndims=ndims, **kwargs)


def _vector(event_shape: Any) -> tf.Tensor:
    return tf.reshape(tf.convert_to_tensor(event_shape, tf.int32), [-1])
