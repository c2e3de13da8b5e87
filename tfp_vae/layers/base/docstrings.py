"""Docstrings of leaves that take their arguments from the classes above them."""

from __future__ import annotations

import inspect
import re
import textwrap

_SECTION = re.compile(r"^(Args|Raises):\n((?:  .*(?:\n|\Z))+)\n?", re.MULTILINE)
_ENTRY = re.compile(r"^  \S.*(?:\n   .*)*", re.MULTILINE)
_AFTER = re.compile(r"\n\n(?=(?:Source|Example):)")


class DocumentsArguments:
    """Completes the docstrings of subclasses, so that `help(a_layer)` shows all there is to know.

    `Args` has an entry for each argument of the constructor, from the nearest class that describes
    it; `Raises` has the errors of the classes above too.

    Example:
      >>> class Base(DocumentsArguments):
      ...     '''What all have.
      ...
      ...     Args:
      ...       x: a number.
      ...     '''
      ...     def __init__(self, x):
      ...         self.x = x
      >>> class Leaf(Base):
      ...     '''One of them.
      ...     '''
      >>> "x: a number." in Leaf.__doc__
      True
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        text = inspect.cleandoc(vars(cls).get("__doc__") or "")
        own = {title: _ENTRY.findall(body) for title, body in _SECTION.findall(text)}
        cls._own_docs = own  # type: ignore[attr-defined]
        if not text:
            return
        above = [vars(base).get("_own_docs", {}) for base in cls.__mro__]
        described: dict[str, str] = {}
        for entry in (entry for docs in above for entry in docs.get("Args", [])):
            for name in entry.split(":")[0].split(","):
                described.setdefault(name.strip(), entry)
        parameters = [str(p).split(":")[0].split("=")[0] for p in _parameters(cls)]
        entries = {
            "Args": [described[name] for name in parameters if name in described],
            "Raises": [entry for docs in above for entry in docs.get("Raises", [])],
        }
        head, *tail = _AFTER.split(_SECTION.sub("", text), maxsplit=1)
        parts = [
            head.rstrip(),
            *(
                f"{title}:\n" + "\n".join(dict.fromkeys(each))
                for title, each in entries.items()
                if each
            ),
            *tail,
        ]
        cls.__doc__ = textwrap.indent("\n\n".join(parts), "    ").strip() + "\n    "


def _parameters(cls: type) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
