"""What the command line and its YAML files say, checked word for word before TensorFlow loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tfp_vae_cli.options import OPTIONS, Option
from tfp_vae_cli.refusal import Refusal, did_you_mean


class Given(NamedTuple):
    """What was asked for.

    Attributes:
      command: of which command.
      options: the values given, by name, those of YAML files first.
      own: likewise, those of the command line alone.
      asks: the words that ask for a text and no work, such as `--help`.
    """

    command: str
    options: dict[str, Any]
    own: dict[str, Any]
    asks: list[str]

    def words(self) -> list[str]:
        """The same in the words that the full parser takes."""
        known = OPTIONS[self.command]
        places = [
            self.options[key] for key in known if known[key].is_positional and key in self.own
        ]
        values = {k: _as_word(v) for k, v in self.options.items() if not known[k].is_positional}
        return [*places, *(f"--{key}={value}" for key, value in values.items())]


def given(command: str, arguments: list[str]) -> Given:
    """Reads the arguments of a command.

    Raises:
      Refusal: there is no such option, or it takes something else.

    Example:
      >>> given("train", ["--widths", "8", "16", "--epochs=3", "--conditional"]).own
      {'widths': [8, 16], 'epochs': 3, 'conditional': True}
      >>> given("train", ["--objective.beta", "4"]).own
      {'objective': {'init_args': {'beta': 4}}}
    """
    options: dict[str, Any] = {}
    own: dict[str, Any] = {}
    parts: dict[str, str] = {}
    asks: list[str] = []
    places = [name for name, option in OPTIONS[command].items() if option.is_positional]
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if word in ("-h", "--help") or name in ("--print_config", "--objective.help"):
            asks.append("--help" if word == "-h" else word)
            if name == "--objective.help" and not has_value and rest and rest[0][:1] != "-":
                asks[-1] += f"={rest.pop(0)}"
            continue
        if not word.startswith("-"):
            name, has_value, value = _place(command, places, word), "=", word
        else:
            name = _name(command, name)
            places = [place for place in places if place != name]
        words = [value] if has_value else _following(command, name, rest, bool(places))
        if name == "config":
            options |= _given_in(command, words[0])
        elif name.startswith("objective."):
            parts[name] = words[0]
        else:
            value = " ".join(words) if name != "widths" else _as_list(words)
            label = name if OPTIONS[command][name].is_positional else f"--{name}"
            own[name] = _read(OPTIONS[command][name], label, value)
    if places and not asks:
        option = OPTIONS[command][places[0]]
        raise Refusal(f"Expected {places[0]}, {option.what}: {_usage(command)}.")
    of_run = Path(own.get("resume") or "") / "config.yaml"
    if own.get("resume") and of_run.is_file():
        options |= _given_in("train", str(of_run))
    if parts:
        _add_parts(own, options.get("objective"), parts)
    return Given(command, {**options, **own}, own, asks)


def _place(command: str, places: list[str], word: str) -> str:
    if not places:
        hint = did_you_mean(word, OPTIONS[command])
        raise Refusal(f"Expected no further words: {_usage(command)}.{hint}", word)
    return places.pop(0)


def _usage(command: str) -> str:
    places = [name.upper() for name, option in OPTIONS[command].items() if option.is_positional]
    return " ".join(["tfp-vae", command, *places, "[--OPTION VALUE ...]"])


def _name(command: str, word: str) -> str:
    """The option's name; `--batch-size` is `--batch_size`."""
    name = word[2:] if word.startswith("--") else ""
    head, dot, tail = name.partition(".")
    head = head.replace("-", "_")
    known = [*OPTIONS[command], "config", "help", "print_config"]
    of_objective = head == "objective" and command == "train"
    if head not in known or (dot and not of_objective):
        hint = did_you_mean(f"--{head}", [f"--{one}" for one in known])
        raise Refusal(
            f"Expected an option of {command}.{hint} (tfp-vae {command} --help lists them.)", word
        )
    return f"{head}{dot}{tail}"


def _following(command: str, name: str, rest: list[str], places_left: bool) -> list[str]:
    """The words after an option that are its value, taken from what is left."""
    option = OPTIONS[command].get(name)
    is_flag = option is not None and option.choices == ("true", "false")
    if is_flag and (not rest or rest[0].startswith("-") or (places_left and _is_no_flag(rest[0]))):
        return ["true"]
    found: list[str] = []
    while rest and not rest[0].startswith("--") and (name == "widths" or not found):
        found.append(rest.pop(0))
    if not found:
        what = f"{option.what}, such as --{name} {option.example}" if option else "a value"
        raise Refusal(f"Expected --{name} to be followed by {what}.", "nothing")
    return found


def _is_no_flag(word: str) -> bool:
    return word.lower() not in ("true", "false", "yes", "no", "on", "off", "null")


def _as_list(words: list[str]) -> str:
    """`8 16` and `8,16` as `[8, 16]`."""
    text = ",".join(words) if len(words) > 1 and "[" not in words[0] else " ".join(words)
    return text if text.lstrip().startswith("[") else f"[{text}]"


def _read(option: Option, name: str, value: Any) -> Any:
    is_objective = option.choices == OPTIONS["train"]["objective"].choices
    try:
        return option.read(_yaml(value) if is_objective else value)
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        example = f"{name} {option.example}" if name.startswith("--") else option.example
        hint = f" Known objectives: {', '.join(option.choices)}." if is_objective else ""
        hint += did_you_mean(str(value), option.choices)
        hint += str(error) if str(error).startswith(" At most") else ""
        raise Refusal(
            f"Expected {name} to be {option.what}, such as {example}.{hint}", _short(value)
        ) from error


def of_file(command: str, path: str) -> dict[str, Any]:
    """The options in a YAML file; None stands for a default.

    Raises:
      Refusal: it is not there, or holds something else.
    """
    what = (
        f"Expected the config {path} to be a YAML file of options, with lines such as epochs: 20."
    )
    try:
        import yaml

        text = Path(path).read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise yaml.YAMLError("aliases, of which a short file can make a long text")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(what, getattr(error, "strerror", None) or "no text in UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # a date of month 13
        raise Refusal(what, " ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise Refusal(what, _short(found))
    for name in found:
        if name not in OPTIONS[command]:
            hint = did_you_mean(str(name), OPTIONS[command])
            raise Refusal(f"Expected options of {command} in the config {path}.{hint}", name)
    known = OPTIONS[command]
    return {
        name: None if value is None else _read(known[name], f"{name} in {path}", value)
        for name, value in found.items()
    }


def _given_in(command: str, path: str) -> dict[str, Any]:
    return {name: value for name, value in of_file(command, path).items() if value is not None}


def _add_parts(own: dict[str, Any], before: Any, parts: dict[str, str]) -> None:
    """Puts `--objective.beta 4` into the mapping that a YAML file would have."""
    named = own.get("objective")
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
        place[last] = _yaml(value)
    own["objective"] = {**named, "init_args": arguments}


def _yaml(value: Any) -> Any:
    """A word of the command line as YAML has it: 4, [1, 2], true; else the word itself."""
    if not isinstance(value, str):
        return value
    import yaml

    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return found if isinstance(found, (bool, int, float, list, dict)) else value


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
