"""Making a variable where TensorFlow or Keras makes none: while one of them traces."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras


def stateless() -> bool:
    """Whether Keras traces or calls without side effects: variables keep their values."""
    with keras.StatelessScope() as scope:
        return scope.original_scope is not None


def made_outside(make: Callable[[], Any]) -> Any:
    """What `make` gives outside of any graph and scope: these are a thread's own matter.

    `tf.init_scope` would leave the graph, and keep the rule that its function makes no variables.

    Example:
      >>> import tensorflow as tf
      >>> with tf.Graph().as_default():
      ...     made_outside(tf.executing_eagerly)
      True
    """
    with ThreadPoolExecutor(1) as other:
        return other.submit(make).result()
