"""Kinds of values that options take: in words, and how each value is read and checked."""

from __future__ import annotations

import ast
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args, get_origin

_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
MOST = 2**31 - 1  # that TensorFlow counts with


class Hinted(ValueError):
    """A value of another kind, and a hint for a person."""


class Kind(NamedTuple):
    """A kind of value.

    Attributes:
      what: in words.
      read: from a word of the command line or a value of a YAML file to the value; raises
        ValueError.
      choices: the names to choose from, if any.
    """

    what: str
    read: Callable[[Any], Any]
    choices: tuple[str, ...] = ()


def kind_of(
    hint: Any, what: str = "one of", names: tuple[str, ...] = (), least: int = 1, most: int = MOST
) -> Kind:
    """Returns the kind of a type: whole numbers of a range, one of some names, and so on."""
    if hint is bool:
        return Kind("true or false", _flag, ("true", "false"))
    if hint is int:
        return Kind(f"a whole number from {least}", functools.partial(_whole, least, most))
    if hint is float:
        return Kind("a number above 0", _positive)
    if hint == Sequence[int]:
        return Kind("a list of whole numbers from 1", _wholes)
    if get_origin(hint) is dict:
        return Kind("the name of an objective", functools.partial(_objective, names), names)
    names = names or get_args(hint)
    if not names:
        return Kind(what, _text)
    shown = ", ".join(names if len(names) > 5 else map(repr, names))
    return Kind(f"{what} {shown}", functools.partial(_choice, names), names)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool) and str(value).lower() not in _FLAGS:
        raise ValueError
    return value if isinstance(value, bool) else _FLAGS[value.lower()]


def _whole(least: int, most: int, value: Any) -> int:
    if isinstance(value, str):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError
    if value > most:
        raise Hinted(f" At most {most}.")
    return value


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise ValueError
    return float(value)


def _wholes(value: Any) -> list[int]:
    if isinstance(value, str):
        value = ast.literal_eval(value)
    values = value if isinstance(value, (list, tuple)) else [value]
    return [_whole(1, MOST, each) for each in values]


def _choice(names: tuple[str, ...], value: Any) -> str:
    if value not in names:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return os.path.expanduser(value)


def _objective(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Reads a name, or a mapping of `class_path`, `init_args` or both."""
    value = of_yaml(value)
    if isinstance(value, str):
        value = {"class_path": value}
    known = {"class_path": str, "init_args": dict}
    is_mapping = isinstance(value, dict) and value
    if is_mapping and all(isinstance(value[key], known.get(key, ())) for key in value):
        name = value.get("class_path", names[0])
        if "." in name or name in names:
            return value
    raise Hinted(f" Known objectives: {', '.join(names)}.")


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
