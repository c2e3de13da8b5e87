"""Kinds of values that an option takes: in words, and how each value is read and checked."""

from __future__ import annotations

import ast
import dataclasses
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

_MOST = 2**31 - 1  # that TensorFlow counts with
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Hinted(ValueError):
    """A value of another kind, and a hint for a person."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
      what: in words.
      example: of a value.
      read: from a word of the command line or a value of a YAML file to the value; raises
        ValueError.
      choices: the names to choose from, if any.
    """

    what: str
    example: str
    read: Callable[[Any], Any]
    choices: tuple[str, ...] = ()


def whole(least: int, example: str, most: int = _MOST) -> Kind:
    """Makes the kind of whole numbers in a range."""

    def read(value: Any) -> int:
        if isinstance(value, str):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        if value > most:
            raise Hinted(f" At most {most}.")
        return value

    return Kind(f"a whole number from {least}", example, read)


def positive(example: str) -> Kind:
    """Makes the kind of finite numbers above 0."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise ValueError
        return float(value)

    return Kind("a number above 0", example, read)


def wholes(example: str) -> Kind:
    """Makes the kind of lists of whole numbers from 1."""
    one = whole(1, "")

    def read(value: Any) -> list[int]:
        if isinstance(value, str):
            value = ast.literal_eval(value)
        return [one.read(each) for each in (value if isinstance(value, (list, tuple)) else [value])]

    return Kind("a list of whole numbers from 1", example, read)


def choice(what: str, names: Iterable[str], example: str) -> Kind:
    """Makes the kind of one of some names."""
    names = tuple(names)

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    shown = names if len(names) > 5 else map(repr, names)
    return Kind(f"{what} {', '.join(shown)}", example, read, names)


def text(what: str, example: str) -> Kind:
    """Makes the kind of texts that are not empty; `~` is the home folder."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError
        return os.path.expanduser(value)

    return Kind(what, example, read)


def flag() -> Kind:
    """Makes the kind of true and false."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool) and str(value).lower() not in _FLAGS:
            raise ValueError
        return value if isinstance(value, bool) else _FLAGS[value.lower()]

    return Kind("true or false", "true", read, ("true", "false"))


def objective(names: tuple[str, ...], example: str) -> Kind:
    """Makes the kind of objectives: a name, or a mapping of `class_path`, `init_args` or both."""
    known = {"class_path": str, "init_args": dict}

    def read(value: Any) -> Any:
        value = of_yaml(value)
        if isinstance(value, str):
            value = {"class_path": value}
        is_mapping = isinstance(value, dict) and value
        if not is_mapping or not all(isinstance(value[key], known.get(key, ())) for key in value):
            raise Hinted(f" Known objectives: {', '.join(names)}.")
        name = value.get("class_path", names[0])
        if "." not in name and name not in names:
            raise Hinted(f" Known objectives: {', '.join(names)}.")
        return value

    return Kind("the name of an objective", example, read, names)


def of_yaml(value: Any) -> Any:
    """Reads a word of the command line as YAML has it: 4, [1, 2], true; else the word itself."""
    if not isinstance(value, str):
        return value
    import yaml

    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return found if isinstance(found, (bool, int, float, list, dict)) else value
