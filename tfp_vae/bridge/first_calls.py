"""First calls by one thread at a time.

Several threads that give TensorFlow's functions arguments of new types at once can crash the
process (SIGSEGV in `op_dispatch_handler`, of TensorFlow 2.21). Types of an earlier call are safe.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from tfp_vae.bridge.replicas import replica

F = TypeVar("F", bound=Callable[..., Any])
_ONE_AT_A_TIME = threading.RLock()


def first_alone(method: F) -> F:
    """Makes the first call of a method of each object wait for first calls that run."""
    name = f"_first_{method.__name__}"

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        # A replica may wait for another one within the call, and tracing gives no new types.
        if name in vars(self) or not tf.executing_eagerly() or replica() is not None:
            return method(self, *args, **kwargs)
        with _ONE_AT_A_TIME:
            result = method(self, *args, **kwargs)
        vars(self)[name] = True  # past Keras, which looks at attributes that are set
        return result

    return wrapper  # type: ignore[return-value]
