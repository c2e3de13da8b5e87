"""A TFP distribution that Keras takes as a tensor.

Keras 3 passes between layers what looks like a tensor to TensorFlow, by `shape`, `dtype`, `ndim`
and a conversion. `TensorCoercible` has these, and is a `tfd.Distribution` whose methods answer as
those of the distribution that it wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random

from tfp_vae.bridge.queries import as_argument, refuse_all_pairs
from tfp_vae.errors import InputError

# TFP's public methods (mean, log_prob, ...) call these, so that unbound calls work too, such as
# `tfd.Distribution.mean(d)`.
_DELEGATED = (
    "_batch_shape", "_batch_shape_tensor", "_event_shape", "_event_shape_tensor",
    "_call_log_prob", "_call_prob", "_call_unnormalized_log_prob",
    "_call_log_cdf", "_call_cdf", "_call_log_survival_function", "_call_survival_function",
    "_call_quantile", "_entropy", "_mean", "_mode", "_variance", "_stddev", "_covariance",
    "_default_event_space_bijector", "_parameter_control_dependencies",
    "copy", "__str__", "__repr__",
)  # fmt: skip
# Densities are of data; a quantile of several levels may be asked for at (k, 1).
_OF_DATA = ("_call_log_prob", "_call_prob", "_call_unnormalized_log_prob")
_OPERATORS = tf.Tensor.OVERLOADABLE_OPERATORS - {"__eq__", "__ne__"}
# For `for row in d`, `len(d)`, `float(d)`, `if d`.
_PYTHON = ("__iter__", "__len__", "__bool__", "__int__", "__float__", "__index__")


class TensorCoercible(tfd.Distribution):
    """A distribution that is also the tensor `convert_to_tensor_fn(distribution)`.

    The tensor is made once and kept, so that a decoder and a Monte Carlo KL see the same z.
    Operators and indexing are the tensor's, such as `z[:, :2]`; `d.at[:2]` slices the
    distribution's batch.

    Args:
      distribution: a `tfd.Distribution`.
      convert_to_tensor_fn: a function of the distribution that gives a tensor.
      dtype: of the tensor; None: that of `convert_to_tensor_fn`. The distribution keeps its own
        (`tensor_distribution.dtype`), to which the argument of `log_prob` and its kin is cast.
      next_seed: gives a fresh `[2]` seed for the conversion, and for each draw without a seed.
      is_draw: whether that tensor is a draw from the distribution.

    Example:
      >>> d = TensorCoercible(tfd.Normal(0., 1.), lambda d: d.mean())
      >>> float(d + 1.)
      1.0
      >>> d = TensorCoercible(tfd.Normal([1., 2.], 1.), lambda d: d.mean())
      >>> float(d[1]), float(d.at[1].log_prob(2.))
      (2.0, -0.9189385175704956)
    """

    is_tensor_like = True  # what tf.is_tensor asks for
    __array_priority__ = 100  # as a tensor: `array + d` is a tensor

    def __init__(
        self,
        distribution: tfd.Distribution,
        convert_to_tensor_fn: Callable[[Any], Any] = tfd.Distribution.sample,
        next_seed: Callable[[], Any] | None = None,
        dtype: Any = None,
        is_draw: bool = True,
    ) -> None:
        self._tensor_dtype = None if dtype is None else tf.as_dtype(dtype)
        self.tensor_distribution = distribution
        self.is_draw = is_draw
        self._convert_to_tensor_fn = convert_to_tensor_fn
        self._next_seed = next_seed
        self._made: tf.Tensor | None = None
        self._known: dict[str, tf.TensorShape] = {}
        super().__init__(
            dtype=distribution.dtype,
            reparameterization_type=distribution.reparameterization_type,
            validate_args=distribution.validate_args,
            allow_nan_stats=distribution.allow_nan_stats,
            parameters=distribution.parameters,
            name=distribution.name,
        )

    def __getattr__(self, name: str) -> Any:
        # For what the class does not have: loc, logits, components, ...
        if name.startswith("__") or "tensor_distribution" not in vars(self):
            raise AttributeError(name)
        return getattr(vars(self)["tensor_distribution"], name)

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> Any:
        return self.tensor_distribution.sample(sample_shape, seed=self._seed(seed), **kwargs)

    def _call_sample_and_log_prob(self, sample_shape: Any, seed: Any, **kwargs: Any) -> Any:
        return self.tensor_distribution.experimental_sample_and_log_prob(
            sample_shape, seed=self._seed(seed), **kwargs
        )

    def _seed(self, seed: Any) -> Any:
        return self._next_seed() if seed is None and self._next_seed is not None else seed

    def draw_seed(self) -> Any:
        """Returns the seed that a draw without one takes, a pair of integers."""
        return tfp_random.sanitize_seed(self._seed(None))

    def value(self) -> tf.Tensor:
        """Returns the tensor that this distribution stands for, made at the first call."""
        if self._made is None:
            made = self._convert_to_tensor_fn(self)
            if keras.tree.is_nested(made) and keras.tree.is_nested(self.dtype):
                raise InputError(
                    "Expected a distribution over one tensor, as the output of a layer in a model. "
                    "A joint distribution is over several: give a convert_to_tensor_fn that makes "
                    "one tensor of a draw, make it a tfd.Blockwise, or give each part a layer of "
                    "its own.",
                    self.tensor_distribution,
                )
            made = tf.convert_to_tensor(made)
            self._made = tf.cast(made, self._dtype_of(made.dtype))
        return self._made

    def _value(self, dtype: Any = None, name: Any = None, as_ref: bool = False) -> tf.Tensor:
        """Returns `value()`, as `tfp.layers` names it."""
        return _to_tensor(self, dtype, name, as_ref)

    def _dtype_of(self, dtype: Any) -> Any:
        """Returns the dtype of a tensor that is made of one of `dtype`: numbers are cast."""
        numbers = not keras.tree.is_nested(dtype) and (dtype.is_floating or dtype.is_integer)
        return self._tensor_dtype if numbers and self._tensor_dtype is not None else dtype

    @property
    def dtype(self) -> Any:
        """The dtype of `value()`."""
        made = vars(self).get("_made")
        return self._dtype_of(self.tensor_distribution.dtype) if made is None else made.dtype

    def standing_for(
        self, value: tf.Tensor, distribution: tfd.Distribution | None = None
    ) -> TensorCoercible:
        """Returns the same distribution, or the given one, as the tensor `value`."""
        given = (self._convert_to_tensor_fn, self._next_seed, value.dtype, self.is_draw)
        other = TensorCoercible(distribution or self.tensor_distribution, *given)
        other._made = value
        if distribution is None:
            other._known, other._keras_mask = self._known, vars(self).get("_keras_mask")
        return other

    def know_shapes(self, value: Any, batch: tf.TensorShape, event: tf.TensorShape) -> None:
        """Sets the shapes of `value()`, batch and event, where TensorFlow does not know them."""
        self._made = tf.ensure_shape(self.value(), value)
        self._known = {"_batch_shape": batch, "_event_shape": event}

    def _with_known_shape(self, name: str, result: Any, args: Any) -> Any:
        if name in self._known:
            return self._known[name].merge_with(result)
        if not tf.is_tensor(result) or result.shape.rank is not None or name[-7:] == "_tensor":
            return result
        batch, event = self._known.values()
        if not name.startswith("_call"):
            return tf.ensure_shape(result, batch if name == "_entropy" else batch + event)
        value = tf.convert_to_tensor(args[0])
        if None in (value.shape.rank, batch.rank, event.rank):
            return result
        rank = max(value.shape.rank - event.rank, batch.rank)
        return tf.ensure_shape(result, [None] * rank)

    @property
    def at(self) -> tfd.Distribution:
        """The distribution whose indexing slices its batch: `d.at[0].log_prob(x)`."""
        return self.tensor_distribution

    @property
    def shape(self) -> tf.TensorShape:
        """The shape of `value()`."""
        return self.value().shape

    @property
    def ndim(self) -> int | None:
        """The number of axes of `value()`."""
        return self.shape.rank

    def get_shape(self) -> tf.TensorShape:
        """Returns `shape`, as `tf.Tensor.get_shape`."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Sets the shape, as `tf.Tensor.set_shape`."""
        self.value().set_shape(shape)

    def numpy(self) -> np.ndarray:
        """Returns `value()` as an array (eagerly)."""
        return self.value().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.value(), dtype=dtype)


def draw(distribution: Any) -> tf.Tensor:
    """Returns a draw from the distribution: its tensor, where that is a draw."""
    given = getattr(distribution, "is_draw", False)
    return tf.convert_to_tensor(distribution) if given else distribution.sample()


def _delegate(name: str) -> Callable[..., Any]:
    def method(self: TensorCoercible, *args: Any, **kwargs: Any) -> Any:
        if args and name.startswith("_call"):
            if name in _OF_DATA:
                refuse_all_pairs(args[0], self.batch_shape, self.event_shape)
            args = (as_argument(args[0], self.tensor_distribution.dtype), *args[1:])
        result = getattr(self.tensor_distribution, name)(*args, **kwargs)
        return self._with_known_shape(name, result, args) if self._known else result

    return method


def _operator(name: str) -> Callable[..., Any]:
    def method(self: TensorCoercible, *args: Any) -> Any:
        return getattr(self.value(), name)(*args)

    return method


for _name in _DELEGATED:
    setattr(TensorCoercible, _name, _delegate(_name))
for _name in (*_OPERATORS, *_PYTHON):
    setattr(TensorCoercible, _name, _operator(_name))


def _to_tensor(
    d: TensorCoercible, dtype: Any = None, name: Any = None, as_ref: bool = False
) -> Any:
    del name, as_ref
    value = d.value()
    if dtype is not None and not value.dtype.is_compatible_with(dtype):
        raise ValueError(f"Expected a tensor of dtype {dtype}. Received: {value.dtype} from {d}")
    return value


tf.register_tensor_conversion_function(TensorCoercible, _to_tensor)


@tfd.RegisterKL(TensorCoercible, tfd.Distribution)
def _kl_from_coercible(a: Any, b: Any, name: Any = None) -> Any:
    return tfd.kl_divergence(a.tensor_distribution, b, name=name)


@tfd.RegisterKL(tfd.Distribution, TensorCoercible)
def _kl_to_coercible(a: Any, b: Any, name: Any = None) -> Any:
    return tfd.kl_divergence(a, b.tensor_distribution, name=name)
