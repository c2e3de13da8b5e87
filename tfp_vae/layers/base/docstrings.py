"""Docstrings of leaves that take their arguments from the class above them."""

from __future__ import annotations

import inspect
import re

_SECTIONS = re.compile(r"\nArgs:\n.*?(?=\nExample:|\nSource:|\Z)", re.DOTALL)
_ARGUMENTS = re.compile(r"\nArgs:\n(.*?)\n(?=\n|\s*\Z)", re.DOTALL)
_RAISES = re.compile(r"\nRaises:\n(.*?\n)(?=\n|\s*\Z)", re.DOTALL)
_ALL_OTHERS = re.compile(r"  \(all others: see `\w+`\)")


def _unindented(cls: type) -> str:
    """Returns the docstring as Python 3.13 keeps it; older ones keep its indentation."""
    own = inspect.cleandoc(vars(cls).get("__doc__") or "")
    return own and own + "\n"


class DocumentsArguments:
    """Completes the docstrings of subclasses, so that `help(a_layer)` shows all there is to know.

    One without an `__init__` gets the `Args` and `Raises` of the class that has it. An entry
    "(all others: see `Base`)" becomes the arguments of the class above.

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
        own = _unindented(cls)
        above = [_unindented(base) for base in cls.__mro__[1:] if "__init__" in vars(base)]
        if _ALL_OTHERS.search(own):
            others = next(found[1] for doc in above if (found := _ARGUMENTS.search(doc)))
            cls.__doc__ = _ALL_OTHERS.sub(lambda match: others, own)
        elif own and "__init__" not in vars(cls) and "\nArgs:" not in own:
            sections = _SECTIONS.search(above[0])
            if sections:
                own_errors = "".join(found[1] for found in _RAISES.finditer(own))
                before, example, after = _RAISES.sub("", own).partition("\nExample:")
                middle = f"\n{sections[0].rstrip()}\n{own_errors}"
                cls.__doc__ = before.rstrip() + middle + example + after
