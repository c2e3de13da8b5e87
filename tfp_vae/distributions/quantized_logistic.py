"""The logistic distribution on a range of integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfm
from tensorflow_probability import util as tfp_util

from tfp_vae.distributions.construction import settings


class QuantizedLogistic(tfd.Distribution):
    """The integer next to a draw of Logistic(loc, scale), within low..high, for each value.

    `p(x) = F(x + 1/2) - F(x - 1/2)`, F the logistic's cdf; `low` has all below it too, `high` all
    above. Computed as `F(b) - F(a) = (1 - exp(a - b)) F(b) (1 - F(a))`, which loses no digits.

    Example:
      >>> p = QuantizedLogistic(1., .1, 0, 2)
      >>> [round(float(p.prob(x)), 4) for x in (0., 1., 2., 3.)]
      [0.0067, 0.9866, 0.0067, 0.0]
    """

    def __init__(
        self,
        loc: Any,
        scale: Any,
        low: int,
        high: int,
        validate_args: bool = False,
        name: str = "QuantizedLogistic",
    ) -> None:
        parameters = dict(locals())
        self.loc = tf.convert_to_tensor(loc)
        self.scale = tf.convert_to_tensor(scale, self.loc.dtype)
        self.low, self.high = low, high
        super().__init__(**settings(parameters, self.loc.dtype))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {key: tfp_util.ParameterProperties() for key in ("loc", "scale")}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        below = tf.math.log_sigmoid((x + 0.5 - self.loc) / self.scale)
        above = tf.math.log_sigmoid((self.loc - x + 0.5) / self.scale)
        inside = below + above + tfm.log1mexp(1 / self.scale)
        value = tf.where(x <= self.low, below, tf.where(x >= self.high, above, inside))
        outside = (x < self.low) | (x > self.high)
        return tf.where(outside, tf.constant(float("-inf"), self.dtype), value)

    def _sample_control_dependencies(self, x: tf.Tensor) -> list[Any]:
        integers = "Expected integers: a QuantizedLogistic has no others."
        return [tf.debugging.assert_equal(x, tf.round(x), integers)] if self.validate_args else []

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        draw = tfd.Logistic(self.loc, self.scale).sample(n, seed=seed)
        return tf.clip_by_value(tf.round(draw), self.low, self.high)

    def _mean(self) -> tf.Tensor:
        return self._expectation(lambda x: x)

    def _variance(self) -> tf.Tensor:
        mean = self._mean()
        return self._expectation(lambda x: tf.math.squared_difference(x, mean))

    def _expectation(self, g: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Returns E g(x): g at the middle c plus the steps of g times the tails' mass.

        `g(c) + sum_{k >= c} (g(k + 1) - g(k)) P(x > k) - sum_{k < c} (...) P(x <= k)`, one k at a
        time: memory does not grow with the number of levels, and each tail keeps its digits.
        """
        middle = tf.clip_by_value(tf.round(self.loc), self.low, self.high)

        def add(k: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sign = tf.where(k < middle, -tf.ones_like(middle), 1)
            tail = tf.sigmoid(sign * (self.loc - k - 0.5) / self.scale)
            return k + 1, total + sign * (g(k + 1) - g(k)) * tail

        start = (tf.constant(self.low, self.dtype), g(middle) + tf.zeros_like(self.scale))
        levels = self.high - self.low
        return tf.while_loop(lambda *_: True, add, start, maximum_iterations=levels)[1]
