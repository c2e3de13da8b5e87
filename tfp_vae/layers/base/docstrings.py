"""Docstrings of leaves that take their arguments from the class above them."""

from __future__ import annotations

import re

_SECTIONS = re.compile(r"\n    Args:\n.*?(?=\n    Example:|\n    Source:|\Z)", re.DOTALL)
_ARGUMENTS = re.compile(r"\n    Args:\n(.*?)\n(?=\n|\s*\Z)", re.DOTALL)
_RAISES = re.compile(r"\n    Raises:\n(.*?\n)(?=\n|\s*\Z)", re.DOTALL)
_ALL_OTHERS = re.compile(r"      \(all others: see `\w+`\)")


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
        own = cls.__dict__.get("__doc__") or ""
        above = [base.__doc__ or "" for base in cls.__mro__[1:] if "__init__" in vars(base)]
        if _ALL_OTHERS.search(own):
            others = next(found[1] for doc in above if (found := _ARGUMENTS.search(doc)))
            cls.__doc__ = _ALL_OTHERS.sub(lambda match: others, own)
        elif own and "__init__" not in vars(cls) and "\n    Args:" not in own:
            sections = _SECTIONS.search(above[0])
            if sections:
                own_errors = "".join(found[1] for found in _RAISES.finditer(own))
                before, example, after = _RAISES.sub("", own).partition("\n    Example:")
                middle = f"\n{sections[0].rstrip()}\n{own_errors}"
                cls.__doc__ = before.rstrip() + middle + (example + after if example else "    ")
