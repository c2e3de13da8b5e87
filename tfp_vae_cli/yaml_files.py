"""YAML files of options, of people and of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfp_vae_cli.options import OPTIONS
from tfp_vae_cli.refusal import Refusal, did_you_mean, short


def of_file(command: str, path: str) -> dict[str, Any]:
    """Reads the options in a YAML file; None stands for a default.

    Raises:
      Refusal: the file is not there, or holds something else.
    """
    found, known = _mapping(path), OPTIONS[command]
    for name in found:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise Refusal(f"Expected options of {command} in the config {path}.{hint}", name)
    return {
        name: None if value is None else known[name].read(f"{name} in {path}", value)
        for name, value in found.items()
    }


def given_in(command: str, path: str) -> dict[str, Any]:
    """Reads the options of a file that are no defaults."""
    return {name: value for name, value in of_file(command, path).items() if value is not None}


def _mapping(path: str) -> dict[Any, Any]:
    import yaml

    what = (
        f"Expected the config {path} to be a YAML file of options, with lines such as epochs: 20."
    )
    try:
        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise yaml.YAMLError("aliases, of which a short file can make a long text")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(what, getattr(error, "strerror", None) or "no text in UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # a date of month 13
        raise Refusal(what, " ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise Refusal(what, short(found))
    return found
