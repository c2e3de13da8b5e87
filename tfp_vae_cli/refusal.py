"""The refusal of something that a person can mend, before TensorFlow is there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class Refusal(ValueError):
    """Input that cannot be used: the base of `tfp_vae.errors.InputError`."""

    def __init__(self, expected: str, received: Any = None) -> None:
        ending = "" if received is None else f" Received: {received}"
        super().__init__(f"{expected}{ending}")


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Returns " Did you mean ...?", or nothing where no known name is near."""
    names = {each.lower(): each for each in known}
    near = [names[each] for each in difflib.get_close_matches(name.lower(), list(names), most)]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def short(value: Any) -> str:
    """Returns the beginning of a long text."""
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
