"""Variables that are made while TensorFlow or Keras traces, where neither makes any."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras


def stateless() -> bool:
    """Tells whether Keras runs without side effects, where variables keep their values."""
    with keras.StatelessScope() as scope:
        return scope.original_scope is not None


@contextlib.contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Lets a layer that is built track more variables and layers within a `with` block."""
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        layer._tracker.locked = locked


def made_outside(make: Callable[[], Any]) -> Any:
    """Returns what `make` gives in another thread, outside of all graphs and scopes of this one.

    In `tf.init_scope` a function of TensorFlow still must not make variables.
    """
    with ThreadPoolExecutor(1) as other:
        return other.submit(make).result()
