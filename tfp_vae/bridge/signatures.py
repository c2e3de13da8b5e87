"""What a function takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def has_parameter(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has a parameter of that name.

    Example:
      >>> has_parameter(lambda z, training=None: z, "training")
      True
    """
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin, which has no signature to look at
        return False
