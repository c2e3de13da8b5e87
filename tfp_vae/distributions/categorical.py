"""TFP's categorical distribution without two of its limits."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd


class Categories(tfd.Categorical):
    """`tfd.Categorical` of logits of any rank, whose values, as floats, can be checked too.

    TensorFlow's softmax takes at most 5 axes on a CPU, and a check of TFP takes integers only.
    """

    def probs_parameter(self, name: str | None = None) -> tf.Tensor:
        """Returns the probabilities."""
        with tf.name_scope(name or "probs_parameter"):
            return tf.exp(tf.math.log_softmax(self.logits_parameter()))

    def _log_prob(self, k: tf.Tensor) -> tf.Tensor:
        # TFP has checked by now that the values are whole.
        return super()._log_prob(tf.cast(k, tf.int32) if self.validate_args else k)
