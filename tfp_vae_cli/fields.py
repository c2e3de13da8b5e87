"""An option as a field of a dataclass: its kind and help are the field's metadata."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NamedTuple

from tfp_vae_cli.kinds import Hinted, Kind
from tfp_vae_cli.refusal import Refusal, did_you_mean, short


def option(kind: Kind, help: str, default: Any = dataclasses.MISSING) -> Any:
    """Makes the field of an option; an option without a default is given by its place."""
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help})


class Option(NamedTuple):
    """An option of a command, as a field says it."""

    name: str
    kind: Kind
    help: str
    default: Any
    takes_null: bool

    @property
    def is_positional(self) -> bool:
        """Whether the option is given by its place."""
        return self.default is dataclasses.MISSING

    def read(self, label: str, value: Any) -> Any:
        """Reads a word of the command line or a value of YAML; an error names it by the label.

        Raises:
          Refusal: the option takes something else.
        """
        if self.takes_null and value in (None, "null"):
            return None
        kind = self.kind
        try:
            return kind.read(value)
        except (ValueError, TypeError, SyntaxError, OverflowError) as error:
            example = f"{label} {kind.example}" if label.startswith("--") else kind.example
            hint = str(error) if isinstance(error, Hinted) else ""
            hint += did_you_mean(str(value), kind.choices)
            raise Refusal(
                f"Expected {label} to be {kind.what}, such as {example}.{hint}", short(value)
            ) from error


def options_of(kind: type) -> dict[str, Option]:
    """Returns the options in a dataclass by name; those whose type has None take null."""
    return {
        field.name: Option(
            field.name,
            default=field.default,
            takes_null="None" in str(field.type),
            **field.metadata,
        )
        for field in dataclasses.fields(kind)
    }


def plain(options: Any, kind: type | None = None) -> dict[str, Any]:
    """Returns options by name as YAML has them: the fields of a class, else all."""
    names = [field.name for field in dataclasses.fields(kind or options)]
    return json.loads(json.dumps({name: getattr(options, name) for name in names}))
