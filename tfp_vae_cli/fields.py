"""An option as a field of a dataclass: the field's type says what values it takes."""

from __future__ import annotations

import dataclasses
import json
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

from tfp_vae_cli.kinds import Hinted, Kind, kind_of
from tfp_vae_cli.refusal import Refusal, did_you_mean, short

REQUIRED = dataclasses.MISSING


def option(default: Any, example: str, help: str, *of_kind: Any, **more: Any) -> Any:
    """Makes the field of an option; the arguments after the help are `kinds.kind_of`'s.

    A required option is given by its place.
    """
    metadata = {"example": example, "help": help, "of_kind": of_kind, "more": more}
    return dataclasses.field(default=default, metadata=metadata)


class Option(NamedTuple):
    """An option of a command, as its field says it."""

    name: str
    kind: Kind
    takes_null: bool
    default: Any
    example: str
    help: str

    @property
    def is_positional(self) -> bool:
        """Whether the option is given by its place."""
        return self.default is REQUIRED

    def read(self, label: str, value: Any) -> Any:
        """Reads a word of the command line or a value of YAML; errors use the label.

        Raises:
          Refusal: the option takes something else.
        """
        if self.takes_null and value in (None, "null"):
            return None
        try:
            return self.kind.read(value)
        except (ValueError, TypeError, SyntaxError, OverflowError) as error:
            example = f"{label} {self.example}" if label.startswith("--") else self.example
            hint = str(error) if isinstance(error, Hinted) else ""
            hint += did_you_mean(str(value), self.kind.choices)
            raise Refusal(
                f"Expected {label} to be {self.kind.what}, such as {example}.{hint}", short(value)
            ) from error


def options_of(cls: type) -> dict[str, Option]:
    """Returns the options in a dataclass by name."""
    hints, found = get_type_hints(cls), {}
    for field in dataclasses.fields(cls):
        hint, said = hints[field.name], field.metadata
        takes_null = NoneType in get_args(hint)
        if takes_null:
            (hint,) = set(get_args(hint)) - {NoneType}
        kind = kind_of(hint, *said["of_kind"], **said["more"])
        found[field.name] = Option(
            field.name, kind, takes_null, field.default, said["example"], said["help"]
        )
    return found


def plain(options: Any, cls: type | None = None) -> dict[str, Any]:
    """Returns options by name as YAML has them: the fields of a class, else all."""
    names = [field.name for field in dataclasses.fields(cls or options)]
    return json.loads(json.dumps({name: getattr(options, name) for name in names}))
