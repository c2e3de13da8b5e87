"""The words of a command line, each checked before TensorFlow loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tfp_vae_cli.kinds import of_yaml
from tfp_vae_cli.options import OPTIONS
from tfp_vae_cli.refusal import Refusal, did_you_mean
from tfp_vae_cli.yaml_files import given_in

_ASKS = ("help", "print_config", "objective.help")


class Given(NamedTuple):
    """The options that a person gave.

    Attributes:
      command: whose options.
      options: the values by name, of YAML files and of the command line.
      own: the values of the command line alone.
      asks: the words that ask for a text and no work, such as `--help`.
    """

    command: str
    options: dict[str, Any]
    own: dict[str, Any]
    asks: list[str]


def given(command: str, arguments: list[str]) -> Given:
    """Reads the arguments of a command.

    Raises:
      Refusal: there is no such option, or the option takes something else.
    """
    words = _Words(command, arguments)
    while words.rest:
        words.take()
    return words.given()


class _Words:
    """The words of a command that are not read yet, and the options found so far."""

    def __init__(self, command: str, arguments: list[str]) -> None:
        self.command, self.known, self.rest = command, OPTIONS[command], list(arguments)
        self.places = [name for name, option in self.known.items() if option.is_positional]
        self.usage = " ".join(
            ["tfp-vae", command, *map(str.upper, self.places), "[--OPTION VALUE ...]"]
        )
        self.of_files: dict[str, Any] = {}
        self.own: dict[str, Any] = {}
        self.parts: dict[str, str] = {}  # of the objective
        self.asks: list[str] = []

    def take(self) -> None:
        """Reads the next word, and the value that follows it."""
        word = self.rest.pop(0)
        if not word.startswith("-"):
            self._put(self._place(word), [word])
            return
        name, equals, value = ("--help" if word == "-h" else word).partition("=")
        name = self._name(name)
        self.places = [place for place in self.places if place != name]
        if name == "objective.help" and not equals and self.rest and self.rest[0][:1] != "-":
            equals, value = "=", self.rest.pop(0)
        if name in _ASKS:
            self.asks.append(f"--{name}{equals}{value}")
        else:
            self._put(name, [value] if equals else self._following(name))

    def given(self) -> Given:
        """Returns all that was given, the options of a run that is resumed included."""
        if self.places and not self.asks:
            what = self.known[self.places[0]].kind.what
            raise Refusal(f"Expected {self.places[0]}, {what}: {self.usage}.")
        options, resumed = self.of_files, self.own.get("resume")
        if resumed and (config := Path(resumed) / "config.yaml").is_file():
            options = options | given_in("train", str(config))
        if self.parts:
            named = self.own.get("objective")
            self.own["objective"] = _with_parts(named, options.get("objective"), self.parts)
        return Given(self.command, {**options, **self.own}, self.own, self.asks)

    def _put(self, name: str, words: list[str]) -> None:
        if name == "config":
            self.of_files |= given_in(self.command, words[0])
        elif name.startswith("objective."):
            self.parts[name] = words[0]
        else:
            option = self.known[name]
            label = name if option.is_positional else f"--{name}"
            value = _as_list(words) if name == "widths" else " ".join(words)
            self.own[name] = option.read(label, value)

    def _place(self, word: str) -> str:
        if not self.places:
            hint = did_you_mean(word, self.known)
            raise Refusal(f"Expected no further words: {self.usage}.{hint}", word)
        return self.places.pop(0)

    def _name(self, given: str) -> str:
        """Returns an option's name: `--batch-size` is `--batch_size`."""
        head, dot, tail = (given[2:] if given.startswith("--") else "").partition(".")
        head = head.replace("-", "_")
        known = [*self.known, "config", "help", "print_config"]
        of_objective = head == "objective" and self.command == "train"
        if head not in known or (dot and not of_objective):
            hint = did_you_mean(f"--{head}", [f"--{one}" for one in known])
            raise Refusal(
                f"Expected an option of {self.command}.{hint} "
                f"(tfp-vae {self.command} --help lists them.)",
                given,
            )
        return f"{head}{dot}{tail}"

    def _following(self, name: str) -> list[str]:
        """Takes the words after an option that are its value."""
        option, rest = self.known.get(name), self.rest
        is_flag = option is not None and option.kind.choices == ("true", "false")
        if is_flag and (not rest or rest[0].startswith("-") or self._is_a_place(rest[0])):
            return ["true"]
        found: list[str] = []
        while rest and not rest[0].startswith("--") and (name == "widths" or not found):
            found.append(rest.pop(0))
        if not found:
            what = "a value"
            if option:
                what = f"{option.kind.what}, such as --{name} {option.example}"
            raise Refusal(f"Expected --{name} to be followed by {what}.", "nothing")
        return found

    def _is_a_place(self, word: str) -> bool:
        flags = ("true", "false", "yes", "no", "on", "off", "null")
        return bool(self.places) and word.lower() not in flags


def _as_list(words: list[str]) -> str:
    """Returns `8 16` and `8,16` as `[8, 16]`."""
    text = ",".join(words) if len(words) > 1 and "[" not in words[0] else " ".join(words)
    return text if text.lstrip().startswith("[") else f"[{text}]"


def _with_parts(named: Any, before: Any, parts: dict[str, str]) -> dict[str, Any]:
    """Returns an objective with `--objective.beta 4` in the mapping that a YAML file would have."""
    if named is None or (before or {}).get("class_path") == named.get("class_path"):
        named = {**(before or {}), **(named or {})}
    arguments = json.loads(json.dumps(named.get("init_args", {})))
    for name, value in sorted(parts.items(), key=lambda part: part[0].count(".")):
        *path, last = name.split(".")[1:]  # a class before its arguments
        place = arguments
        for key in path:  # the argument of an argument, which is a class
            if not isinstance(place.get(key), dict):
                place[key] = {"class_path": place.get(key)}
            place = place[key].setdefault("init_args", {})
        if not last or not all(path):
            raise Refusal("Expected --objective.NAME VALUE, such as --objective.beta 4.", name)
        place[last] = of_yaml(value)
    return {**named, "init_args": arguments}
