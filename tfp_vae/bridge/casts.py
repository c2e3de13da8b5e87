"""`tf.cast`, `tf.expand_dims` and `tf.squeeze` of distributions, which stay distributions.

Keras casts an output to the dtype of its losses, and gives it the rank of the data, before a loss
is called: `loss=lambda y, rv: -rv.log_prob(y)` would get a bare tensor.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.coercible import TensorCoercible

try:
    # TensorFlow dispatches by registered types only.
    from tensorflow.python.util.dispatch import register_dispatchable_type
except ImportError:  # then the layers warn
    register_dispatchable_type = None

KEEPS_DISTRIBUTIONS = register_dispatchable_type is not None


def warn_where_lost(name: str, dtype: str) -> None:
    """Warns if a function as the loss of a layer of that dtype would get a bare tensor."""
    floatx = keras.config.floatx()
    if not KEEPS_DISTRIBUTIONS and dtype != floatx:
        warnings.warn(
            f"{name} is of {dtype} and Keras' losses are of {floatx}: as the last layer of a "
            "model, it needs loss=tfp_vae.NegativeLogLikelihood(). A function such as "
            "lambda y, rv: -rv.log_prob(y) would be given a bare tensor.",
            stacklevel=4,
        )


def cast(x: Any, dtype: Any, name: Any = None) -> TensorCoercible:
    """Returns the distribution as a tensor of another dtype, as `tf.cast`."""
    value = tf.cast(x.value(), dtype, name=name)
    return x if value is x.value() else x.standing_for(value)


def expand_dims(input: Any, axis: Any, name: Any = None) -> Any:
    """Returns the distribution with one more axis of its batch, as `tf.expand_dims`."""
    value = tf.expand_dims(input.value(), axis, name=name)
    place = _place(axis, value.shape.rank)
    if place is None or not _has_all_axes(input):
        return value
    if place > input.batch_shape.rank:
        # A process over all rows has no batch; for a y of one column its draw gets one too.
        return value if input.batch_shape.rank else input.standing_for(value)
    index = (*[slice(None)] * place, tf.newaxis, ...)
    return _standing_for(input, value, lambda d: d[index])


def squeeze(input: Any, axis: Any = None, name: Any = None) -> Any:
    """Returns the distribution without an axis of the batch or the event's last one."""
    value = tf.squeeze(input.value(), axis, name=name)
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    rank = input.shape.rank
    place = _place(axes[0], rank) if len(axes) == 1 else None
    if place is None or not _has_all_axes(input):
        return value
    if place < input.batch_shape.rank:
        index = (*[slice(None)] * place, 0, ...)
        return _standing_for(input, value, lambda d: d[index])
    event = input.event_shape
    if place != rank - 1 or not event.is_fully_defined():
        return value
    reshape = tfb.Reshape(event_shape_in=event, event_shape_out=event[:-1])
    return _standing_for(input, value, lambda d: tfd.TransformedDistribution(d, reshape))


def _place(axis: Any, rank: int | None) -> int | None:
    known = isinstance(axis, int) and rank is not None
    return axis % rank if known else None


def _has_all_axes(d: TensorCoercible) -> bool:
    ranks = (d.shape.rank, d.batch_shape.rank, d.event_shape.rank)
    return None not in ranks and ranks[0] == ranks[1] + ranks[2]


def _standing_for(d: TensorCoercible, value: tf.Tensor, change: Any) -> Any:
    try:
        return d.standing_for(value, change(d.tensor_distribution))
    except Exception:  # a user's distribution that cannot be sliced, for any reason
        return value


if KEEPS_DISTRIBUTIONS:
    register_dispatchable_type(TensorCoercible)
    tf.experimental.dispatch_for_api(tf.cast, {"x": TensorCoercible})(cast)
    tf.experimental.dispatch_for_api(tf.expand_dims, {"input": TensorCoercible})(expand_dims)
    tf.experimental.dispatch_for_api(tf.squeeze, {"input": TensorCoercible})(squeeze)
