"""Distributions over vectors for integer codes, with log_prob in nats of the codes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.codebook import nearest, usage
from tfp_vae.distributions.construction import settings


class CodePoint(tfd.Distribution):
    """All probability on the codes whose vectors are nearest to `z_e`.

    `log_prob(z)` is 0 nats at these vectors, elsewhere -inf: probability 1 of discrete codes. A
    draw is these vectors, with the gradient passed straight through to `z_e`.

    Args:
      z_e: `[..., *positions, d]`, the encoder's vectors.
      codebook: `[k, d]`.
      event_ndims: the number of axes of positions, and one for d.
      validate_args: as for any TFP distribution.
      name: likewise.

    Attributes:
      codes: `[..., *positions]`, int32.

    Example:
      >>> q = CodePoint(tf.constant([[.9, .2]]), tf.eye(2))
      >>> q.codes.numpy().tolist(), q.sample().numpy().tolist()
      ([0], [[1.0, 0.0]])
    """

    def __init__(
        self,
        z_e: Any,
        codebook: Any,
        event_ndims: int = 1,
        validate_args: bool = False,
        name: str = "CodePoint",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._z_e = tf.convert_to_tensor(z_e)
            self._codebook = tf.stop_gradient(tf.convert_to_tensor(codebook))
            self._ndims = event_ndims
            self.codes = nearest(self._z_e, self._codebook)
            self._vectors = tf.gather(self._codebook, self.codes)
            # Straight-through draws carry a gradient, as a VAE asks of its draws.
            super().__init__(**settings(parameters, self._z_e.dtype, reparameterized=True))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        # Without the codebook, which has no batch: a part of the batch has all of it.
        return {"z_e": tfp.util.ParameterProperties(event_ndims=lambda self: self._ndims)}

    def _event_shape(self) -> tf.TensorShape:
        return self._z_e.shape[-self._ndims :]

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.shape(self._z_e)[-self._ndims :]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        del seed
        # z_e - z_e is exactly 0: the value is exactly a row of the codebook.
        z = self._vectors + (self._z_e - tf.stop_gradient(self._z_e))
        return tf.broadcast_to(z, tf.concat([[n], tf.shape(z)], axis=0))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        same = tf.reduce_all(tf.equal(z, self._vectors), axis=list(range(-self._ndims, 0)))
        return tf.where(same, tf.zeros([], self.dtype), -float("inf"))

    def _mean(self) -> tf.Tensor:
        return self._vectors

    def _mode(self) -> tf.Tensor:
        return self._vectors

    def _variance(self) -> tf.Tensor:
        return tf.zeros_like(self._vectors)

    def _entropy(self) -> tf.Tensor:
        return tf.zeros(self.batch_shape_tensor(), self.dtype)

    def perplexity(self) -> tf.Tensor:
        """Returns `exp(-sum_k f_k log f_k)`, f_k the frequency of code k: 1 to the number of codes.

        The perplexity of a data set is not the mean over batches: encode all at once.
        """
        count = usage(self.codes, self._codebook.shape[0], self.dtype)
        frequency = count / tf.reduce_sum(count)
        return tf.exp(-tf.reduce_sum(tf.math.xlogy(frequency, frequency)))


class CodeVectors(tfd.Distribution):
    """`p(z) = p(codes)`: the probability of the codes nearest to z.

    Args:
      over_codes: a distribution of integers, batch `[]`, event `[*positions]`.
      codebook: `[k, d]`.
      validate_args: as for any TFP distribution.
      name: likewise.

    Attributes:
      over_codes: as given.

    Example:
      >>> p = CodeVectors(tfd.Categorical(probs=[.75, .25]), tf.eye(2))
      >>> p.event_shape.as_list(), round(float(p.prob([1., 0.])), 4)
      ([2], 0.75)
    """

    def __init__(
        self,
        over_codes: tfd.Distribution,
        codebook: Any,
        validate_args: bool = False,
        name: str = "CodeVectors",
    ) -> None:
        parameters = dict(locals())
        self.over_codes = over_codes
        self._codebook = tf.stop_gradient(tf.convert_to_tensor(codebook))
        super().__init__(**settings(parameters, self._codebook.dtype))

    def _batch_shape(self) -> tf.TensorShape:
        return self.over_codes.batch_shape

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return self.over_codes.batch_shape_tensor()

    def _event_shape(self) -> tf.TensorShape:
        return self.over_codes.event_shape + self._codebook.shape[-1:]

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        last = tf.shape(self._codebook)[-1:]
        return tf.concat([self.over_codes.event_shape_tensor(), last], axis=0)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return tf.gather(self._codebook, self.over_codes.sample(n, seed=seed))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.over_codes.log_prob(nearest(z, self._codebook))
