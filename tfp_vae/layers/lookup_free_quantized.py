"""Codes of signs: one bit for each entry, without a codebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.code_space import Grid
from tfp_vae.distributions.codes import CodePoint
from tfp_vae.errors import InputError
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import to_event_shape
from tfp_vae.layers.coded import CodedLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class LookupFreeQuantized(CodedLayer):
    """`z_ij = sign(t_ij)`: the codebook is all 2^d vectors of -1 and 1.

    A code is the integer whose bits are the signs, the first the least significant. A point mass on
    these codes: `log_prob` is 0 nats at the vectors, -inf elsewhere; `codes` are the integers,
    `perplexity()` says how many are in use. The prior is one over codes, and the KL, exact, is
    `-log p(codes)` in nats; `commitment sum_i |t_i - sg(z_i)|^2`, averaged over the batch, is added
    to the model's losses. What keeps codes in use is the entropy penalty of
    `tfp_vae.objectives.CodeEntropy`.

    Shapes: input `[..., n d]`, all positions' entries on the last axis; batch `[...]`, event
    `event_shape` = `[*positions, d]`; as a tensor z, whose gradient goes straight through to t.

    Args:
      event_shape: (*positions, d); `(d,)` or `d` for one position.
      commitment: the weight of the commitment loss.
      seed: not used; there are no draws.

    Raises:
      InputError: d is more than 30.

    Source: Yu et al., arXiv:2310.05737.

    Example:
      >>> q = LookupFreeQuantized((2, 3))(tf.constant([[2., -1., 1., -3., -.1, .2]]))
      >>> q.numpy().tolist(), q.codes.numpy().tolist()
      ([[[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]], [[5, 4]])
    """

    def __init__(
        self,
        event_shape: int | Sequence[int],
        commitment: float = 0.25,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.commitment = float(commitment)
        if self.event_shape[-1] > 30:
            raise InputError(
                f"{self.name}: expected vectors of at most 30 bits.", self.event_shape[-1]
            )

    def code_space(self) -> Grid:
        bits = self.event_shape[-1]
        return Grid([2] * bits, [2.0] * bits, self.compute_dtype)

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        t = to_event_shape(tf.convert_to_tensor(inputs), self.event_shape)
        q = SignPoint(t, self.code_space(), len(self.event_shape), validate_args=self.validate_args)
        self.add_to_losses(self.commitment * self.distance(t, q.mean()))
        return q


class SignPoint(CodePoint):
    """A `CodePoint` of signs that knows how near the other codes are.

    Example:
      >>> q = SignPoint(tf.zeros([5, 2]), Grid([2, 2], [2., 2.]))
      >>> q.bit_logits().numpy()[0].tolist()
      [0.0, 0.0]
    """

    def bit_logits(self) -> tf.Tensor:
        """Returns the logits of each bit under `p(c|t)`, `[..., *positions, d]`.

        `p(c|t)` is proportional to `exp(-|t - c|^2)`, so that the bits are independent: bit i is 1
        with probability sigmoid(4 t_i).
        """
        return 4 * self._z_e
