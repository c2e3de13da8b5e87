"""Attributes by the names that `tfp.layers` has for them, which subclasses of its layers read."""

from __future__ import annotations

from typing import Any


class Theirs:
    """Reads another attribute of the same object; subclasses may set their own in its place.

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
