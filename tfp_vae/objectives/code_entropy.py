"""The entropy penalty of codes without a codebook: sure of each code, and all codes in use."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.batch import batch_mean
from tfp_vae.objectives.draw_axis import unfolded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.penalized import Penalized
from tfp_vae.objectives.term import Term
from tfp_vae.objectives.weights import now
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class CodeEntropy(Penalized):
    """The ELBO `+ weight (E[H(p(c|t))] - diversity H(E[p(c|t)]))`, H the entropy in nats.

    `p(c|t)`, proportional to `exp(-|t - c|^2)`, says how near the code c of a `LookupFreeQuantized`
    posterior is to what the encoder puts out. The mean E is over batch and positions. The first
    term makes each code a clear one, the second all codes alike in use. The bits of a code are
    independent given t, so that H(p(c|t)) is the sum of theirs. The entropy of the mean is
    over blocks of at most `block_size` bits, whose sum it is: exact where a code has no more bits,
    else an upper bound.

    Of several latent variables the penalty is the sum over those that are `LookupFreeQuantized`.

    Args:
      weight: of the penalty: a number, a variable or a schedule over training steps.
      diversity: the weight of the second term relative to the first, likewise.
      beta: the weight of the KL, likewise.
      block_size: how many bits are enumerated together: 2^block_size numbers for each position.

    Raises:
      InputError: (when it is called) no posterior is a `LookupFreeQuantized`.

    Source: Yu et al., arXiv:2310.05737, section 3.2.

    Example:
      >>> from tfp_vae.layers import LookupFreeQuantized
      >>> from tfp_vae.objectives import ForwardPass
      >>> q = LookupFreeQuantized(1)(tf.constant([[9.], [-9.]]))  # sure, and both codes alike
      >>> forward = ForwardPass(q, None, z=q.sample(1), log_likelihood=tf.zeros([1, 2]))
      >>> round(float(CodeEntropy().penalty(forward)), 4)
      -0.6931
    """

    takes_several = True

    @checked
    def __init__(
        self,
        weight: Scheduled = 0.1,
        diversity: Scheduled = 1.0,
        beta: Scheduled = 1.0,
        block_size: int = 10,
    ) -> None:
        super().__init__(beta, weight)
        self.diversity, self.block_size = diversity, int(block_size)

    def penalty(self, forward: Forward) -> tf.Tensor:
        """Returns the penalty of the batch, a scalar in nats."""
        found = [term for term in forward.latent.values() if hasattr(term.q, "bit_logits")]
        if not found:
            raise InputError(
                "CodeEntropy is of codes of signs: expected a posterior LookupFreeQuantized.",
                ", ".join(forward.latent),
            )
        total: Any = 0.0
        for term in found:
            rows = _bit_logits(term)
            sure = batch_mean(tf.reduce_mean(code_entropy(rows), axis=-1), forward)
            mean = self._entropy_of_mean(rows, forward)
            total += sure - now(self.diversity, forward.step, sure.dtype) * mean
        return total

    def _entropy_of_mean(self, logits: tf.Tensor, forward: Forward) -> tf.Tensor:
        """Returns `H(E[p(c|t)])` of logits `[batch, positions, bits]`, summed over blocks."""
        entropies = []
        for start in range(0, logits.shape[-1], self.block_size):
            block = logits[..., start : start + self.block_size]
            mean = batch_mean(tf.reduce_mean(code_probabilities(block), axis=1), forward)
            entropies.append(-tf.reduce_sum(tf.math.xlogy(mean, mean)))
        return tf.add_n(entropies)


def _bit_logits(term: Term) -> tf.Tensor:
    """Returns the logits of bits, `[batch, n, bits]`: n positions, of all draws."""
    logits: Any = term.q.bit_logits()  # type: ignore[union-attr]
    bits = logits.shape[-1]
    if term.q_is_drawn:  # a row for each draw
        logits = unfolded(logits, term.samples)
        logits = tf.transpose(logits, [1, 0, *range(2, logits.shape.rank)])
    return tf.reshape(logits, [tf.shape(logits)[0], -1, bits])


def code_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Returns `H(p(c|t))` in nats, of the logits of independent bits: `[..., bits]` to `[...]`.

    Example:
      >>> round(float(code_entropy(tf.zeros([3]))), 4)  # 3 log 2
      2.0794
    """
    p = tf.sigmoid(logits)
    each = tf.nn.sigmoid_cross_entropy_with_logits(labels=p, logits=logits)
    return tf.reduce_sum(each, axis=-1)


def code_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns the probability of each code, `[..., 2^bits]`, the first bit the least significant.

    Example:
      >>> code_probabilities(tf.constant([99., 0.])).numpy().tolist()
      [0.0, 0.5, 0.0, 0.5]
    """
    p = tf.ones_like(logits[..., :1])
    for bit in tf.unstack(logits, axis=-1):
        one = tf.sigmoid(bit)[..., tf.newaxis]
        zero = tf.sigmoid(-bit)[..., tf.newaxis]
        p = tf.concat([p * zero, p * one], axis=-1)
    return p
