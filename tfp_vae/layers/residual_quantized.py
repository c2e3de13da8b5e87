"""Codes in several levels: each level quantizes what the levels before it left."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.replicas import after_pass
from tfp_vae.distributions.code_space import Table, Tables
from tfp_vae.distributions.codebook import Codebook
from tfp_vae.distributions.codes import CodePoint
from tfp_vae.distributions.soft_codes import SoftCodes
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import as_shape, to_event_shape
from tfp_vae.layers.coded import CodedLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class ResidualQuantized(CodedLayer):
    """`z_il = e_k, k = argmin_j |r_il - e_lj|, r_i1 = t_i, r_i(l+1) = r_il - z_il`: level by level.

    z holds the vectors of all levels, and their sum over l is the quantized t: a decoder begins
    with `SumOfLevels`, or takes the levels apart. So z and the codes determine each other.

    A point mass on integer codes: `log_prob` is 0 nats at these vectors, -inf elsewhere; `codes`
    are the integers, `[*positions, depth]`, `perplexity()` says how many of a level are in use. The
    prior is one over codes, and the KL, exact, is `-log p(codes)` in nats. The layer adds
    `commitment sum_il |r_il - sg(z_il)|^2`, averaged over the batch, to the model's losses: the
    commitment of every level.

    The codebooks follow the residuals by moving averages, and codes out of use start anew at one of
    the batch's residuals, as those of `VectorQuantized`; with `decay=None` they are trained by
    gradient, and the layer adds `sum_il |sg(r_il) - z_il|^2` too.

    With a temperature T codes are drawn, and q(codes) is no point mass: `log_prob` is the sum over
    the levels of the logarithm of `softmax_k(-|r_il - e_lk|^2)`. Draws are by Gumbel noise, with
    the gradient of relaxed one-hot vectors at T passed straight through (HRQ-VAE; see `SoftCodes`).
    The KL is of each level given the drawn ones above, in closed form under a prior of independent
    codes. Codebooks learn by gradient, of z and the KL alone. The nearest codes stand for q.

    Shapes: input `[..., n d]`, all positions' vectors on the last axis; batch `[...]`, event
    `event_shape` = `[*positions, depth, d]`; as a tensor z, the gradient of whose sum over the
    levels goes straight through to t.

    Args:
      event_shape: (*positions, depth, d).
      num_codes: how many vectors a codebook has.
      shared: whether one codebook serves all levels (RQ-VAE), or each has its own (HRQ-VAE).
      commitment: the weight of the commitment loss.
      decay: of the moving averages; None: the codebooks are trained by gradient.
      restart: see `VectorQuantized`.
      epsilon: smooths the counts of the moving averages.
      revive_after: see `VectorQuantized`.
      seed: of the first codebooks and of the restarts; None takes one from Keras' global seed.
      temperature: T, a number above 0; None: the codes are the nearest ones.

    Raises:
      InputError: an argument is out of its range, or a temperature is given without `decay=None`.

    Source: Lee et al. (RQ-VAE), arXiv:2203.01941; Hosking et al. (HRQ-VAE), arXiv:2203.03463.

    Example:
      >>> layer = ResidualQuantized((4, 3, 2), num_codes=16, seed=1)
      >>> q = layer(tf.random.normal([5, ResidualQuantized.params_size((4, 3, 2))]))
      >>> q.codes.shape.as_list(), q.event_shape.as_list()
      ([5, 4, 3], [4, 3, 2])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_codes: int = 512,
        shared: bool = True,
        commitment: float = 0.25,
        decay: float | None = 0.99,
        restart: float | None = None,
        epsilon: float = 1e-5,
        revive_after: int | None = None,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        temperature: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        if len(self.event_shape) < 2:
            raise InputError(
                "Expected event_shape to end in the number of levels and the vectors' dimension.",
                self.event_shape,
            )
        if temperature is not None and not (decay is None and revive_after is None):
            raise InputError(
                "Expected decay=None and no revive_after with a temperature: codes are drawn, and "
                "their vectors learn by gradient.",
                f"decay={decay}, revive_after={revive_after}",
            )
        self.temperature, self.is_random = temperature, temperature is not None
        self.num_codes, self.commitment = int(num_codes), float(commitment)
        self.shared, self.decay, self.restart, self.epsilon = shared, decay, restart, epsilon
        self.revive_after = revive_after
        self.depth = self.event_shape[-2]
        self.codebooks = [
            Codebook(
                num_codes,
                self.event_shape[-1],
                decay,
                restart if restart is not None else 0.0 if decay is None else 0.1,
                epsilon,
                None if seed is None else (seed + number) % 2**32,
                revive_after,
                dtype=self.dtype_policy,
            )
            for number in range(1 if shared else self.depth)
        ]

    @classmethod
    def params_size(cls, event_shape: int | Sequence[int] = (), name: str | None = None) -> int:
        """The size of the last axis of the input: of all positions' vectors."""
        del name
        *positions, _, d = as_shape(event_shape)
        return math.prod((*positions, d))

    def code_space(self) -> Tables:
        tables = [Table(book.vectors) for book in self.codebooks]
        return Tables(tables * (self.depth // len(tables)))

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        *positions, depth, d = self.event_shape
        t = to_event_shape(tf.convert_to_tensor(inputs), (*positions, d))
        if self.temperature is not None:
            books = self.codebooks * (depth // len(self.codebooks))
            tables = [tf.cast(tf.convert_to_tensor(book.vectors), t.dtype) for book in books]
            of_codes = len(self.event_shape), self.temperature, self.validate_args
            return SoftCodes(t, tables, *of_codes)
        moves = kwargs.get("training") and self.trainable
        if moves:
            for book in self.codebooks:
                book.refresh()
        space = self.code_space()
        codes, residuals = [], [t]
        for table in space.tables:
            codes.append(table.codes(residuals[-1]))
            residuals.append(residuals[-1] - table.vectors(codes[-1]))
        r, c = tf.stack(residuals[:-1], axis=-2), tf.stack(codes, axis=-1)
        # The gradient of the sum over the levels is that of t.
        carried = tf.broadcast_to(t[..., tf.newaxis, :] / depth, tf.shape(r))
        carried.set_shape(r.shape)
        q = CodePoint(carried, space, len(self.event_shape), c, validate_args=self.validate_args)
        if moves:
            self._follow(tf.stop_gradient(r), c)
        loss = self.commitment * self.distance(r, q.mean())
        if self.decay is None:
            loss += self.distance(tf.stop_gradient(r), self._trained_vectors(c))
        self.add_to_losses(loss)
        return q

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.mode()  # of a point mass its vectors

    def _follow(self, r: tf.Tensor, codes: tf.Tensor) -> None:
        """Tells each codebook what has fallen to its codes, after the pass."""
        pairs: list[Any] = [(r, codes)]
        if not self.shared:
            apart = (tf.unstack(r, self.depth, axis=-2), tf.unstack(codes, self.depth, axis=-1))
            pairs = list(zip(*apart, strict=True))
        for book, (rows, each) in zip(self.codebooks, pairs, strict=True):
            if book.follows:
                flat = tf.reshape(rows, [-1, self.event_shape[-1]]), tf.reshape(each, [-1])
                found = (*flat, self.next_seed(of_all=True))
                after_pass(functools.partial(book.follow, *found))

    def _trained_vectors(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of codes, with a gradient to the codebooks."""
        books = self.codebooks * (self.depth // len(self.codebooks))
        pairs = zip(books, tf.unstack(codes, self.depth, axis=-1), strict=True)
        found = [tf.gather(tf.convert_to_tensor(book.vectors), each) for book, each in pairs]
        return tf.stack(found, axis=-2)
