"""Codes by level that are drawn, the near ones more often, with a relaxed gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.code_space import Table, Tables
from tfp_vae.distributions.codes import CodeUse, CodeVectors
from tfp_vae.distributions.construction import settings


class SoftCodes(CodeUse, tfd.Distribution):
    """`q(k_l | k_1 .. k_(l-1)) = softmax_k(-|r_l - e_lk|^2)`, `r_l = t - sum_(j<l) e_(j k_j)`.

    A draw is the vectors of all levels, `[*positions, depth, d]`, by Gumbel noise g: that of the
    code `argmax_k (logit_k + g_k)`, with the gradient of `sum_k softmax((logit + g) / T)_k e_lk`
    passed straight through. `log_prob` is of the codes, in nats. `codes`, `mode()` and
    `perplexity()` are of the code that is nearest at each level in turn. Hosking et al.,
    arXiv:2203.03463, section 3.2.

    Args:
      t: `[..., *positions, d]`, the encoder's vectors.
      tables: the vectors of each level, `[num_codes, d]` each, with their gradient.
      event_ndims: the number of axes of positions, and two for the levels and d.
      temperature: T, above 0.

    Example:
      >>> q = SoftCodes(tf.constant([[0.9, 0.2]]), [tf.eye(2), tf.eye(2) / 9], 2)
      >>> q.codes.numpy().tolist(), q.sample(5, seed=1).shape.as_list()
      ([[0, 1]], [5, 1, 2, 2])
    """

    def __init__(
        self,
        t: Any,
        tables: Sequence[tf.Tensor],
        event_ndims: int = 2,
        temperature: Any = 1.0,
        validate_args: bool = False,
        name: str = "SoftCodes",
    ) -> None:
        parameters = dict(locals())
        self.t = tf.convert_to_tensor(t)
        self.tables, self.temperature, self._ndims = list(tables), temperature, event_ndims
        self.space = Tables([Table(table) for table in tables])
        nearest, rest = [], tf.stop_gradient(self.t)
        for table in self.space.tables:
            nearest.append(table.codes(rest))
            rest -= table.vectors(nearest[-1])
        self.codes = tf.stack(nearest, axis=-1)
        super().__init__(**settings(parameters, self.t.dtype, reparameterized=True))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {"t": tfp.util.ParameterProperties(event_ndims=lambda self: self._ndims - 1)}

    def _event_shape(self) -> tf.TensorShape:
        positions = self.t.shape[len(self.t.shape) - self._ndims + 1 : -1]
        return positions.concatenate([len(self.tables), self.t.shape[-1]])

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self._event_shape(), tf.int32)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        rest = tf.broadcast_to(self.t, tf.concat([[n], tf.shape(self.t)], axis=0))
        seeds = tfp.random.split_seed(seed, n=len(self.tables), salt="SoftCodes")
        drawn = []
        for table, each in zip(self.tables, tf.unstack(seeds), strict=True):
            logits = _logits(rest, table)
            least = logits.dtype.as_numpy_dtype(1e-30)
            u = tf.random.stateless_uniform(tf.shape(logits), each, least, 1, logits.dtype)
            logits -= tf.math.log(-tf.math.log(u))
            hard = tf.gather(tf.stop_gradient(table), tf.argmax(logits, axis=-1))
            soft = tf.tensordot(_softmax(logits / self.temperature), table, 1)
            # soft - soft is exactly 0: the value is exactly that of the code.
            drawn.append(hard + (soft - tf.stop_gradient(soft)))
            rest -= drawn[-1]
        return tf.stack(drawn, axis=-2)

    def of_steps_before(self, z: tf.Tensor) -> CodeVectors:
        """Returns the distribution of each level's code given the levels of z before it."""
        before = tf.math.cumsum(z, axis=-2, exclusive=True)
        rest = tf.unstack(self.t[..., tf.newaxis, :] - before, len(self.tables), axis=-2)
        each = [_logits(r, table) for r, table in zip(rest, self.tables, strict=True)]
        levels = Categories(tf.stack(each, axis=-2))
        return CodeVectors(tfd.Independent(levels, self._ndims - 1), self.space)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        return self.of_steps_before(z).log_prob(z)

    def _mode(self) -> tf.Tensor:
        return self.space.vectors(self.codes)


def _logits(rest: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """`-|r - e_k|^2` but for `|r|^2`, of which a softmax does not depend."""
    return 2 * tf.tensordot(rest, table, [[-1], [1]]) - tf.reduce_sum(tf.square(table), axis=-1)


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    """Of any number of axes: TensorFlow's own takes five on a CPU."""
    return tf.exp(tf.math.log_softmax(logits))


@tfd.RegisterKL(CodeVectors, CodeVectors)
def _kl(q: CodeVectors, p: CodeVectors, name: str | None = None) -> tf.Tensor:
    """Of the codes, in closed form where there is one."""
    return tfd.kl_divergence(q.over_codes, p.over_codes, name=name)
