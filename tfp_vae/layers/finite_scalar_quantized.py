"""Codes without a codebook: each entry rounded to a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.code_space import Grid
from tfp_vae.distributions.codes import CodePoint
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import to_event_shape
from tfp_vae.layers.coded import CodedLayer

_BEYOND = 1e-3  # how far tanh reaches beyond the outer values, as a part of their distance


@keras.saving.register_keras_serializable(package="tfp_vae")
class FiniteScalarQuantized(CodedLayer):
    """`z_ij = round(b_j(t_ij)) / (L_j // 2)`: entry j rounded to one of L_j values.

    `b_j(t) = (L_j - 1)/2 tanh(t + s_j) - o_j` bounds the entry, with o_j = 1/2 where L_j is even
    and 0 where it is odd, and s_j such that b_j(0) = 0. The codebook is implied: all
    `prod_j L_j` combinations, of which each is one integer code, the entries its digits.

    A point mass on integer codes: `log_prob` is 0 nats at these vectors, -inf elsewhere; `codes`
    are the integers, `perplexity()` says how many are in use. The prior is one over codes, and the
    KL, exact, is `-log p(codes)` in nats. Nothing is learnt here and nothing is added to the loss.

    Shapes: input `[..., n d]`, all positions' entries on the last axis; batch `[...]`, event
    `event_shape` = `[*positions, d]`, values in -1 to 1; as a tensor z, whose gradient goes
    straight through the rounding to b.

    Args:
      event_shape: (*positions, d); `(d,)` or `d` for one position.
      levels: L, a number of values, at least 2, for each of the d entries.
      seed: not used; there are no draws.

    Raises:
      InputError: there is not one number of at least 2 for each entry, or there are 2^31
        codes or more.

    Source: Mentzer et al., arXiv:2309.15505.

    Example:
      >>> layer = FiniteScalarQuantized((4, 2), levels=(5, 4))
      >>> q = layer(tf.random.normal([3, FiniteScalarQuantized.params_size((4, 2))]))
      >>> q.codes.shape.as_list(), layer.code_space().num_codes
      ([3, 4], 20)
      >>> FiniteScalarQuantized(2, (5, 4))(tf.constant([[9., -9.]])).numpy().tolist()
      [[1.0, -1.0]]
    """

    def __init__(
        self,
        event_shape: int | Sequence[int],
        levels: Sequence[int] = (8, 5, 5, 5),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.levels = [int(size) for size in levels]
        if len(self.levels) != self.event_shape[-1] or min(self.levels) < 2:
            raise InputError(
                f"{self.name}: expected levels of at least 2, one for each of the "
                f"{self.event_shape[-1]} entries of a vector.",
                self.levels,
            )
        if np.prod(np.asarray(self.levels, object)) >= 2**31:
            raise InputError(f"{self.name}: expected fewer than 2^31 codes.", self.levels)

    def code_space(self) -> Grid:
        return Grid(self.levels, [1 / (size // 2) for size in self.levels], self.compute_dtype)

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        t = to_event_shape(tf.convert_to_tensor(inputs), self.event_shape)
        levels = np.asarray(self.levels)
        half = (levels - 1) / 2 * (1 + _BEYOND)
        offset = np.where(levels % 2 == 0, 0.5, 0.0)
        shift, half, offset, scale = (
            tf.constant(value, t.dtype)
            for value in (np.arctanh(offset / half), half, offset, levels // 2)
        )
        bounded = half * tf.tanh(t + shift) - offset
        ndims = len(self.event_shape)
        return CodePoint(
            bounded / scale, self.code_space(), ndims, validate_args=self.validate_args
        )
