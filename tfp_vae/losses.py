"""The negative log-likelihood as a Keras loss that keeps the distribution a distribution."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.masks import along, mask_of, masked
from tfp_vae.errors import InputError, InputTypeError


@keras.saving.register_keras_serializable(package="tfp_vae")
class NegativeLogLikelihood(keras.losses.Loss):
    """`-log p(y)` for each example in nats, p the model's output.

    `loss=lambda y, rv: -rv.log_prob(y)` is the same, but Keras gives a function a bare tensor while
    it builds a model symbolically. A y with one trailing axis of size 1 more or less is reshaped,
    where broadcasting would take all pairs of y and distributions. Where the distribution has no
    batch, y has one. Weights and masks of Keras are over the first axes of the distribution's
    batch.

    Args:
      reduction: as for any Keras loss. The default is the mean over the distribution's batch shape.
      name: as for any Keras loss.

    Raises:
      TypeError: the model does not end in a distribution layer.
      ValueError: y does not have the distribution's shape.

    Example:
      >>> p = tfd.Normal([0.], 1.)
      >>> round(float(NegativeLogLikelihood()(tf.constant([1.]), p)), 4)
      1.4189
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "negative_log_likelihood",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._reduce = _Reduction(name=name, reduction=reduction, dtype=dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        losses = self.call(y_true, y_pred)
        if sample_weight is not None:
            sample_weight = along(losses, sample_weight)
        return self._reduce(losses, masked(losses, mask_of(y_pred)), sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Returns `-log p(y)`, of the distribution's batch shape."""
        if isinstance(y_pred, tfd.Distribution):
            return -y_pred.log_prob(_match(y_true, y_pred))
        if _is_placeholder(y_pred):
            # Keras is building, and asks for the shape only.
            return tf.zeros(tf.shape(y_pred)[:1], self.dtype)
        raise InputTypeError(
            "NegativeLogLikelihood expected a model that ends in a distribution layer, such as "
            f"tfp_vae.layers.IndependentNormal. Received an output: {y_pred}"
        )


class _Reduction(keras.losses.Loss):
    """Keras' weighting and reduction of values that are losses."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        del y_true
        return y_pred


def _match(y: Any, p: tfd.Distribution) -> tf.Tensor:
    y = tf.cast(y, p.dtype)
    expected = p.batch_shape + p.event_shape
    if p.batch_shape.rank == 0 and y.shape.rank is not None and y.shape.rank > expected.rank:
        # One distribution for all examples, as of a VariableLayer
        expected = y.shape[: y.shape.rank - p.event_shape.rank] + p.event_shape
    if y.shape.rank is None or expected.rank is None:
        return y
    if y.shape.rank == expected.rank + 1 and y.shape[-1] == 1:
        y = tf.squeeze(y, -1)
    elif y.shape.rank == expected.rank - 1 and expected[-1] == 1:
        y = y[..., tf.newaxis]
    if not y.shape.is_compatible_with(expected):
        raise InputError(
            "NegativeLogLikelihood expected y of the distribution's shape "
            f"{tuple(expected)} (batch {tuple(p.batch_shape)}, event {tuple(p.event_shape)}).",
            tuple(y.shape),
        )
    return y


def _is_placeholder(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor) or (
        hasattr(x, "op") and not tf.executing_eagerly() and x.op.type == "Placeholder"
    )
