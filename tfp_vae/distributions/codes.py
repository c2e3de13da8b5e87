"""Distributions over vectors for integer codes, with log_prob in nats of the codes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.replicas import global_batch
from tfp_vae.distributions.code_space import CodeSpace
from tfp_vae.distributions.codebook import usage
from tfp_vae.distributions.construction import settings


class CodeUse:
    """What is told of distributions with `codes`, `[..., *positions]`, of a `space`."""

    codes: tf.Tensor
    space: CodeSpace
    dtype: Any

    def usage(self) -> tf.Tensor:
        """Returns how often each code occurs here, `[depth, num_codes]`; on all replicas."""
        codes = global_batch(tf.reshape(self.codes, [-1, self.space.depth]))
        apart = codes + self.space.num_codes * tf.range(self.space.depth)
        count = usage(apart, self.space.depth * self.space.num_codes, self.dtype)
        return tf.reshape(count, [self.space.depth, self.space.num_codes])

    def perplexity(self) -> tf.Tensor:
        """Returns `exp(-sum_k f_k log f_k)`, f_k the frequency of code k: 1 to the number of codes.

        Of several levels it is the geometric mean. The perplexity of a data set is not the mean
        over batches: encode all at once.
        """
        return perplexity(self.usage())


class CodePoint(CodeUse, tfd.Distribution):
    """All probability on the codes of one value.

    `log_prob(z)` is 0 nats at the vectors of these codes, elsewhere -inf: probability 1 of discrete
    codes. A draw is these vectors, with the gradient passed straight through to `z_e`.

    Args:
      z_e: `[..., *positions, d]`, the encoder's vectors.
      space: the vectors of the codes.
      event_ndims: the number of axes of positions, and one for d.
      codes: `[..., *positions]`; None: those nearest to `z_e`.
      validate_args: as for any TFP distribution.
      name: likewise.

    Attributes:
      codes: `[..., *positions]`, int32.
      space: as given.

    Example:
      >>> from tfp_vae.distributions.code_space import Table
      >>> q = CodePoint(tf.constant([[.9, .2]]), Table(tf.eye(2)))
      >>> q.codes.numpy().tolist(), q.sample().numpy().tolist()
      ([0], [[1.0, 0.0]])
    """

    def __init__(
        self,
        z_e: Any,
        space: CodeSpace,
        event_ndims: int = 1,
        codes: Any = None,
        validate_args: bool = False,
        name: str = "CodePoint",
    ) -> None:
        parameters = dict(locals())
        with tf.name_scope(name):
            self._z_e = tf.convert_to_tensor(z_e)
            self.space = space
            self._ndims = event_ndims
            self.codes = space.codes(self._z_e) if codes is None else codes
            self._vectors = space.vectors(self.codes)
            # Straight-through draws carry a gradient, as a VAE asks of its draws.
            super().__init__(**settings(parameters, self._z_e.dtype, reparameterized=True))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        # The space, which has no batch, is not among them: a part of the batch has all of it.
        of = tfp.util.ParameterProperties
        return {
            "z_e": of(event_ndims=lambda self: self._ndims),
            "codes": of(event_ndims=lambda self: self._ndims - 1),
        }

    def _event_shape(self) -> tf.TensorShape:
        return self._z_e.shape[-self._ndims :]

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.shape(self._z_e)[-self._ndims :]

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        del seed
        # z_e - z_e is exactly 0: the value is exactly that of the codes.
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


def perplexity(usage: tf.Tensor) -> tf.Tensor:
    """Returns `exp(-sum_k f_k log f_k)` of counts `[depth, num_codes]`, f their shares of a level.

    Example:
      >>> round(float(perplexity(tf.constant([[3., 3., 0.]]))), 4)
      2.0
    """
    frequency = tf.math.divide_no_nan(usage, tf.reduce_sum(usage, axis=-1, keepdims=True))
    entropy = -tf.reduce_sum(tf.math.xlogy(frequency, frequency), axis=-1)
    return tf.exp(tf.reduce_mean(entropy))


class CodeVectors(tfd.Distribution):
    """`p(z) = p(codes)`: the probability of the codes that z stands for, in nats.

    A z that no code stands for has the nearest code.

    Args:
      over_codes: a distribution of integers, event `[*positions]`.
      space: the vectors of the codes.
      validate_args: as for any TFP distribution.
      name: likewise.

    Attributes:
      over_codes: as given.
      space: as given.

    Example:
      >>> from tfp_vae.distributions.code_space import Table
      >>> p = CodeVectors(tfd.Categorical(probs=[.75, .25]), Table(tf.eye(2)))
      >>> p.event_shape.as_list(), round(float(p.prob([1., 0.])), 4)
      ([2], 0.75)
    """

    def __init__(
        self,
        over_codes: tfd.Distribution,
        space: CodeSpace,
        validate_args: bool = False,
        name: str = "CodeVectors",
    ) -> None:
        parameters = dict(locals())
        self.over_codes, self.space = over_codes, space
        super().__init__(**settings(parameters, space.dtype))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {"over_codes": tfp.util.BatchedComponentProperties()}

    def _event_shape(self) -> tf.TensorShape:
        return self.over_codes.event_shape.concatenate(self.space.dimension)

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.concat([self.over_codes.event_shape_tensor(), [self.space.dimension]], axis=0)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        return self.space.vectors(self.over_codes.sample(n, seed=seed))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.over_codes.log_prob(self.space.codes(z))


@tfd.RegisterKL(CodePoint, CodeVectors)
def _kl(q: CodePoint, p: CodeVectors, name: str | None = None) -> tf.Tensor:
    """Returns `-log p(codes)`: q has probability 1 of its codes."""
    del name
    return -p.over_codes.log_prob(q.codes)
