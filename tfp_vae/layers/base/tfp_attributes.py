"""Attributes by the names of `tfp.layers`, for subclasses of its layers."""

from __future__ import annotations

from typing import Any


class Theirs:
    """A view of another attribute of the same object; a subclass may set its own instead.

    Example:
      >>> class Layer:
      ...     _units = Theirs("units")
      ...     def __init__(self):
      ...         self.units = 3
      >>> Layer()._units
      3
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, of: type) -> Any:
        return self if owner is None else getattr(owner, self.name)
