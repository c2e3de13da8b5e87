"""Texts that a person asks for: the help, and the options as YAML."""

from __future__ import annotations

import argparse
import json

from tfp_vae_cli.fields import Option
from tfp_vae_cli.options import COMMANDS, OPTIONS
from tfp_vae_cli.reading import Given
from tfp_vae_cli.refusal import Refusal

_FLAGS = ("", "skip_default", "skip_unset")
_MORE = {
    "--config": "a YAML file of these options.",
    "--print_config": "print all options as YAML; =skip_default: those that are not the default, "
    "=skip_unset: those that are not null.",
    "--help": "show this help.",
}


def overview() -> str:
    """Returns the help of `tfp-vae` itself."""
    return "\n".join(
        [
            "usage: tfp-vae [--help] [--version] [--debug] COMMAND ...\n\ncommands:",
            *(f"  {name:<9} {command.does}" for name, command in COMMANDS.items()),
            "\n`tfp-vae COMMAND --help` lists a command's options; --debug shows tracebacks.",
        ]
    )


def asked(given: Given) -> str | None:
    """Returns the help or the options as YAML, where a person asks for one of them."""
    for ask in given.asks:
        name, _, flags = ask.partition("=")
        if name == "--help":
            return _help(given.command)
        if name == "--print_config":
            return _config(given, flags)
    return None


def _help(command: str) -> str:
    parser = argparse.ArgumentParser(
        f"tfp-vae {command}", description=COMMANDS[command].does, add_help=False
    )
    for name, option in OPTIONS[command].items():
        shown = option.kind.choices + (("null",) if option.takes_null else ())
        metavar = f"{{{','.join(shown)}}}" if 1 < len(shown) < 6 else name.upper()
        if option.is_positional:
            parser.add_argument(name, help=option.help)
        else:
            parser.add_argument(f"--{name}", metavar=metavar, help=option.help + _default(option))
    for name, text in _MORE.items():
        if name == "--config":
            parser.add_argument(name, metavar="FILE", help=text)
        else:
            parser.add_argument(name, action="store_true", help=text)
    return parser.format_help().rstrip()


def _default(option: Option) -> str:
    """Returns the default for the help, which says itself what null stands for."""
    default = option.default
    if default is None:
        return ""
    return f" (default: {default if isinstance(default, str) else json.dumps(default)})"


def _config(given: Given, flag: str) -> str:
    import yaml

    if flag not in _FLAGS:
        raise Refusal(
            f"Expected --print_config alone, or with one of {', '.join(_FLAGS[1:])}.", flag
        )
    found = {}
    for name, option in OPTIONS[given.command].items():
        default = None if option.is_positional else option.default
        value = given.options.get(name, default)
        if not flag or value != (default if flag == "skip_default" else None):
            found[name] = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(found, sort_keys=False).rstrip()
