"""Docstrings of leaves that take their arguments from the classes above them."""

from __future__ import annotations

import inspect
import re
import textwrap

_SECTION = re.compile(r"^(Args|Raises):\n((?:  .*(?:\n|\Z))+)\n?", re.MULTILINE)
_ENTRY = re.compile(r"^  \S.*(?:\n   .*)*", re.MULTILINE)
_SHAPES = re.compile(r"^Shapes:.*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_AFTER = re.compile(r"\n\n(?=(?:Source|Example):)")


class DocumentsArguments:
    """Completes the docstrings of subclasses, so that `help(a_layer)` shows all there is to know.

    `Args` has an entry for each argument of the constructor, from the nearest class that describes
    it; `Raises` has the errors of the classes above too; `Shapes` are those of the nearest class.

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
        own["Shapes"] = _SHAPES.findall(text)
        cls._own_docs = own  # type: ignore[attr-defined]
        if not text:
            return
        above = [vars(base)["_own_docs"] for base in cls.__mro__ if "_own_docs" in vars(base)]
        described: dict[str, str] = {}
        for entry in (entry for docs in above for entry in docs.get("Args", [])):
            for name in entry.split(":")[0].split(","):
                described.setdefault(name.strip(), entry)
        errors = [entry for docs in above for entry in docs.get("Raises", [])]
        entries = {
            "Args": dict.fromkeys(described[name] for name in _arguments(cls) if name in described),
            "Raises": dict.fromkeys(errors),
        }
        shapes = [] if "nput" in text else [each for docs in above for each in docs["Shapes"]]
        head, *tail = _AFTER.split(_SECTION.sub("", text), maxsplit=1)
        sections = [f"{title}:\n" + "\n".join(each) for title, each in entries.items() if each]
        parts = [head.rstrip(), *shapes[:1], *sections, *tail]
        cls.__doc__ = textwrap.indent("\n\n".join(parts), "    ").strip() + "\n    "


def _arguments(cls: type) -> list[str]:
    """Returns what a constructor takes, `**kwargs` included; `*args` are those of the next one."""
    names: list[str] = []
    for init in (vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)):
        given = [str(p).split(":")[0] for p in inspect.signature(init).parameters.values()]
        names += [name.split("=")[0] for name in given if name not in ("self", "*args")]
        if "*args" not in given:
            break
    return names
