"""Columns of different kinds, real numbers and categories, side by side in one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.distributions.blockwise import SideBySide
from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import ParametricLayer

Reals = Literal["normal", "student_t"]


class Category(Categories):
    """The number of a category, 0 to k - 1, whose mean is the most probable one."""

    def _mean(self) -> tf.Tensor:
        return self.mode()


@keras.saving.register_keras_serializable(package="tfp_vae")
class Columns(ParametricLayer):
    """`p(x) = prod_j p(x_j)`: first columns of real numbers, then columns of categories.

    A real column is Normal, or a Student's t of 5 degrees of freedom, which outliers disturb less;
    a column of k categories has values 0, 1, ..., k - 1. Shapes: input `[..., 2 r + sum_j k_j]`
    (locations, scales before their softplus, logits column by column), batch `[...]`, event `[r +
    number of categorical columns]`; as a tensor a draw. The likelihood of a table, for a VAE and
    for plain Keras.

    Args:
      num_reals: r.
      categories: how many categories each of the other columns has.
      reals: "student_t" or "normal".
      min_scale: the least scale of a real column.

    Raises:
      InputError: there is no column, a column of fewer than one category, or other `reals`.

    Source: Nazabal et al., HI-VAE, arXiv:1807.03653, section 3.1, for likelihoods by column.

    Example:
      >>> p = Columns(1, [3])(tf.constant([[0.5, 0.0, 0.0, 2.0, 1.0]]))
      >>> p.mean().numpy().tolist()
      [[0.5, 1.0]]
    """

    def __init__(
        self,
        num_reals: int,
        categories: Sequence[int] = (),
        reals: Reals = "student_t",
        min_scale: float = 1e-3,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.num_reals, self.categories = int(num_reals), [int(k) for k in categories]
        self.reals, self.min_scale = reals, float(min_scale)
        if self.num_reals < 0 or self.num_reals + len(self.categories) < 1:
            raise InputError("Expected at least one column.", (num_reals, categories))
        if any(k < 1 for k in self.categories):
            raise InputError("Expected at least one category in each column.", categories)
        if reals not in ("normal", "student_t"):
            raise InputError("Expected reals to be 'normal' or 'student_t'.", reals)

    @property
    def num_parameters(self) -> int:
        return self.params_size(self.num_reals, self.categories)

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        params, r = tf.convert_to_tensor(inputs), self.num_reals
        loc, scale, *logits = tf.split(params, [r, r, *self.categories], axis=-1)
        found: list[tfd.Distribution] = []
        if r:
            scale = softplus_at_least(scale, self.min_scale)
            each = tfd.StudentT(5.0, loc, scale) if self.reals == "student_t" else None
            each = tfd.Normal(loc, scale) if each is None else each
            found.append(tfd.Independent(each, reinterpreted_batch_ndims=1))
        for one in logits:
            category = Category(logits=one[..., tf.newaxis, :], dtype=params.dtype)
            found.append(tfd.Independent(category, reinterpreted_batch_ndims=1))
        return SideBySide(found)

    @staticmethod
    def params_size(num_reals: int, categories: Sequence[int] = (), name: str | None = None) -> int:
        return 2 * int(num_reals) + sum(int(k) for k in categories)


@keras.saving.register_keras_serializable(package="tfp_vae")
class ShowColumns(ConfigFromSignature, keras.layers.Layer):
    """What an encoder sees of `Columns`: reals and which are known, and one-hot vectors.

    Input `[..., columns]`, NaN where an entry is not known; output `[..., 2 r + sum_j k_j]`: the
    reals with 0 in place of NaN, 1 where they are known, and for each categorical column a one-hot
    vector, of zeros where it is not known.

    Args:
      num_reals: r.
      categories: how many categories each of the other columns has.

    Example:
      >>> nan = float("nan")
      >>> ShowColumns(1, [2])(tf.constant([[3.0, 1.0], [nan, nan]])).numpy().tolist()
      [[3.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """

    takes_unknown = True

    def __init__(self, num_reals: int, categories: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_reals, self.categories = int(num_reals), [int(k) for k in categories]

    def call(self, inputs: Any) -> tf.Tensor:
        """Returns the vectors."""
        x = tf.convert_to_tensor(inputs)
        known = ~tf.math.is_nan(x)
        x, r = tf.where(known, x, tf.zeros_like(x)), self.num_reals
        found = [x[..., :r], tf.cast(known[..., :r], x.dtype)]
        for place, count in enumerate(self.categories, r):
            index = tf.where(known[..., place], tf.cast(x[..., place], tf.int32), -1)
            found.append(tf.one_hot(index, count, dtype=x.dtype))
        return tf.concat(found, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], 2 * self.num_reals + sum(self.categories))
