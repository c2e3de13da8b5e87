"""A table of vectors that follows the vectors that are looked up."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError


def nearest(z: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Returns the row number in `vectors [k, d]` nearest to each `z [..., d]`: int32 `[...]`.

    Example:
      >>> nearest(tf.constant([[0.9, 0.2]]), tf.eye(2)).numpy().tolist()
      [0]
    """
    # |z - v|^2 without |z|^2, the same for all rows, and without a [..., k, d] tensor. Far from 0
    # the squares would leave no digits to the differences.
    center = tf.reduce_mean(vectors, axis=0)
    z, vectors = z - center, vectors - center
    distance = tf.reduce_sum(vectors**2, axis=-1) - 2 * tf.tensordot(z, vectors, [[-1], [1]])
    return tf.argmin(distance, axis=-1, output_type=tf.int32)


def usage(codes: tf.Tensor, num_codes: int, dtype: Any) -> tf.Tensor:
    """Counts each code, `[num_codes]`.

    Example:
      >>> usage(tf.constant([[0, 2], [2, 2]]), 3, tf.float32).numpy().tolist()
      [1.0, 0.0, 3.0]
    """
    flat = tf.reshape(codes, [-1])
    return tf.math.unsorted_segment_sum(tf.ones_like(flat, dtype), flat, num_codes)


@keras.saving.register_keras_serializable(package="tfp_vae")
class Codebook(ConfigFromSignature, keras.layers.Layer):
    """k vectors that are either trained by gradient or follow moving averages.

    Moving averages (van den Oord et al., arXiv:1711.00937, appendix A.1): with n_i of the vectors z
    of a batch nearest to vector i, `N_i <- decay N_i + (1 - decay) n_i`,
    `m_i <- decay m_i + (1 - decay) sum z`, and vector i is m_i / N_i, the counts N smoothed as
    `(N_i + epsilon) sum N / (sum N + k epsilon)`. A code with N_i below `restart` times the mean of
    N starts anew at one of the batch's z, with the mean of N as its count (random restarts:
    Dhariwal et al., arXiv:2005.00341, section 3.1).

    With `revive_after`, also without moving averages, a code that nothing has been nearest to for
    so many batches starts anew at one of the z of the last of these.

    Args:
      num_codes: k.
      dimension: of the vectors.
      decay: of the moving averages; None: trained by gradient.
      restart: see above; 0: unused codes stay where they are.
      epsilon: see above.
      seed: of the first vectors, uniform in -1 to 1.
      revive_after: see above; None: it does not.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: an argument is out of its range.

    Example:
      >>> [weight.name for weight in Codebook(5, 2).weights]
      ['vectors', 'counts', 'sums']
      >>> [weight.name for weight in Codebook(5, 2, decay=None, restart=0, revive_after=9).weights]
      ['vectors', 'idle', 'candidates']
    """

    @checked
    def __init__(
        self,
        num_codes: int,
        dimension: int,
        decay: float | None = 0.99,
        restart: float = 0.1,
        epsilon: float = 1e-5,
        seed: int | None = None,
        revive_after: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if decay is not None and not 0 <= decay < 1:
            raise InputError("Expected a decay of at least 0 and below 1, or None.", decay)
        if not 0 <= restart < 1 or (decay is None and restart):
            raise InputError(
                "Expected restart at least 0 and below 1, and 0 where decay=None: restarts go by "
                "the moving averages.",
                f"restart={restart}, decay={decay}",
            )
        self.num_codes, self.dimension = int(num_codes), int(dimension)
        self.decay, self.restart, self.epsilon, self.seed = decay, restart, epsilon, seed
        self.revive_after = revive_after
        start = keras.initializers.RandomUniform(-1.0, 1.0, seed)  # gives the same at each call
        shape = (self.num_codes, self.dimension)
        self.vectors = self.add_weight(
            name="vectors", shape=shape, initializer=start, trainable=decay is None
        )
        if decay is not None:
            self.counts = self.add_weight(
                name="counts", shape=shape[:1], initializer="ones", trainable=False
            )
            self.sums = self.add_weight(
                name="sums", shape=shape, initializer=start, trainable=False
            )
        if revive_after is not None:
            zeros = {"initializer": "zeros", "trainable": False}
            self.idle = self.add_weight(name="idle", shape=shape[:1], **zeros)
            self.candidates = self.add_weight(name="candidates", shape=shape, **zeros)
        self.built = True

    @property
    def follows(self) -> bool:
        """Whether the vectors do anything but follow their gradient."""
        return self.decay is not None or self.revive_after is not None

    def refresh(self) -> None:
        """Moves the vectors to where the moving averages are, and revives those long out of use."""
        if self.decay is not None:
            self._to_averages()
        if self.revive_after is not None:
            self._revive(self.revive_after)

    def _revive(self, after: int) -> None:
        dead = self.idle >= after
        rows = dead[:, tf.newaxis]
        self.vectors.assign(tf.where(rows, self.candidates, self.vectors))
        if self.decay is not None:
            mean = tf.reduce_mean(tf.convert_to_tensor(self.counts))
            self.sums.assign(tf.where(rows, mean * self.candidates, self.sums))
            self.counts.assign(tf.where(dead, mean, self.counts))
        self.idle.assign(tf.where(dead, tf.zeros_like(self.idle), self.idle))

    def _to_averages(self) -> None:
        counts = tf.convert_to_tensor(self.counts)
        total = tf.reduce_sum(counts)
        smoothed = (counts + self.epsilon) * total / (total + self.num_codes * self.epsilon)
        self.vectors.assign(self.sums / smoothed[:, tf.newaxis])

    def follow(self, z: tf.Tensor, codes: tf.Tensor, seed: tf.Tensor) -> None:
        """Takes a batch `z [n, d]` with its `codes [n]` into the moving averages.

        Replicas take the batch of all; with one `seed` the replicas keep one codebook.
        """
        z, codes = global_batch(z), global_batch(codes)
        each = usage(codes, self.num_codes, z.dtype)
        number = tf.shape(z)[0]
        drawn = tf.random.stateless_uniform([self.num_codes], seed, 0, number, tf.int32)
        if self.decay is not None:
            self._average(z, codes, each, drawn, self.decay)
        if self.revive_after is not None:
            self.idle.assign(tf.where(each > 0, tf.zeros_like(each), self.idle + 1))
            self.candidates.assign(tf.gather(z, drawn))

    def _average(
        self, z: tf.Tensor, codes: tf.Tensor, each: tf.Tensor, drawn: tf.Tensor, decay: float
    ) -> None:
        counts = decay * self.counts + (1 - decay) * each
        added = tf.math.unsorted_segment_sum(z, codes, self.num_codes)
        sums = decay * self.sums + (1 - decay) * added
        if self.restart:
            mean = tf.reduce_mean(counts)
            unused = counts < self.restart * mean
            sums = tf.where(unused[:, tf.newaxis], mean * tf.gather(z, drawn), sums)
            counts = tf.where(unused, mean, counts)
        self.counts.assign(counts)
        self.sums.assign(sums)
