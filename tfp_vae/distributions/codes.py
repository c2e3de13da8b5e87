"""Distributions over vectors that stand for integer codes: in nats of the codes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.codebook import nearest, usage


class CodePoint(tfd.Distribution):
    """All probability on the codes whose vectors are nearest to `z_e`.

    `log_prob(z)` is 0 nats at these vectors, elsewhere -inf: probability 1 of discrete codes. A
    draw is these vectors, with the gradient passed straight through to `z_e`.

    Args:
      z_e: `[..., *positions, d]`, the encoder's vectors.
      codebook: `[k, d]`.
      event_ndims: the number of axes of positions, and one for d.
      validate_args: as for any TFP distribution.
      allow_nan_stats: likewise.
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
        allow_nan_stats: bool = True,
        name: str = "CodePoint",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._z_e = tf.convert_to_tensor(z_e)
            self._codebook = tf.stop_gradient(tf.convert_to_tensor(codebook))
            self._ndims = event_ndims
            self.codes = nearest(self._z_e, self._codebook)
            self._vectors = tf.gather(self._codebook, self.codes)
            super().__init__(
                dtype=self._z_e.dtype,
                # A constant of z_e, but with the gradient that straight-through gives it: what a
                # VAE asks of its draws, which it refuses where none reaches the encoder.
                reparameterization_type=tfd.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        # The codebook, which has no batch, is not among them: a part of the batch has all of it.
        return {"z_e": tfp.util.ParameterProperties(event_ndims=lambda self: self._ndims)}

    def _event_shape(self) -> tf.TensorShape:
        return self._z_e.shape[-self._ndims :]

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.shape(self._z_e)[-self._ndims :]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        del seed
        # In this order the value is exactly a row of the codebook: z_e - z_e is exactly 0.
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
        """`exp(-sum_k f_k log f_k)`, f_k how often code k is used here: 1 to the number of codes.

        That of a data set is not the mean over its batches: encode it at once.
        """
        count = usage(self.codes, self._codebook.shape[0], self.dtype)
        frequency = count / tf.reduce_sum(count)
        return tf.exp(-tf.reduce_sum(tf.math.xlogy(frequency, frequency)))


class CodeVectors(tfd.Distribution):
    """`p(z) = p(codes)`: the probability of the codes that z stands for, in nats.

    A z that is no row of the codebook stands for the nearest.

    Args:
      over_codes: a distribution of integers, batch `[]`, event `[*positions]`.
      codebook: `[k, d]`.
      validate_args: as for any TFP distribution.
      allow_nan_stats: likewise.
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
        allow_nan_stats: bool = True,
        name: str = "CodeVectors",
    ) -> None:
        parameters = dict(locals())
        self.over_codes = over_codes
        self._codebook = tf.stop_gradient(tf.convert_to_tensor(codebook))
        super().__init__(
            dtype=self._codebook.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

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
