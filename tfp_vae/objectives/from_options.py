"""Objectives from options: a class, its arguments, or arguments of a recipe's objective."""

from __future__ import annotations

import copy
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser
from keras.optimizers.schedules import LearningRateSchedule

from tfp_vae import objectives
from tfp_vae.errors import InputError
from tfp_vae.objectives import Objective

_FROM_DATA = "num_examples"  # an argument that follows from the data


class Chosen:
    """The objective of a run, which is made when the recipe's own is known.

    Args:
      given: `class_path`, `init_args` or both, as YAML has them; without `class_path` the arguments
        replace some of the recipe's own objective.

    Raises:
      InputError: there is no such objective, or no such argument.

    Example:
      >>> Chosen({"init_args": {"estimator": "dreg"}})(objectives.IWAE(50), 1500).get_config()
      {'num_samples': 50, 'estimator': 'dreg'}
      >>> Chosen({"class_path": "BetaTC"})(objectives.ELBO(), 1500).num_examples
      1500
    """

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given.get("init_args", {})
        self.kind = class_named(given["class_path"]) if "class_path" in given else None
        if self.kind is not None:  # refused before any work
            arguments(self.kind, self._given)

    def __call__(self, own: Objective, num_examples: int) -> Objective:
        """Returns the objective, in place of the recipe's own, for so many training examples."""
        kind = self.kind or type(own)
        found = arguments(kind, self._given)
        if self.kind is None:
            found = {**{key: getattr(own, key) for key in own.get_config()}, **found}
        if _FROM_DATA in inspect.signature(kind).parameters:
            found.setdefault(_FROM_DATA, num_examples)
        try:
            return kind(**found)
        except (ValueError, TypeError) as error:
            raise InputError(str(error)) from error

    def keeps(self, name: str) -> bool:
        """Returns whether an argument stays that of the recipe's own objective."""
        return self.kind is None and name not in self._given

    def config(self) -> dict[str, Any]:
        """Returns the objective in the form that `--config` reads."""
        if self.kind is None:
            return {"init_args": as_config(self._given)}
        found = {key: as_config(value) for key, value in arguments(self.kind, self._given).items()}
        return {"class_path": _path(self.kind), "init_args": found}


def class_named(name: str) -> type[Objective]:
    """Returns an objective of `tfp_vae.objectives` by its name, or another by its import path.

    Raises:
      InputError: there is none.
    """
    module, _, last = name.rpartition(".")
    found = getattr(objectives, last if module.startswith("tfp_vae.") else name, None)
    if found is None and module and _is_known(name):
        try:
            found = getattr(importlib.import_module(module), last, None)
        except ImportError:
            found = None
    if isinstance(found, type) and issubclass(found, Objective) and found is not Objective:
        return found
    known = [n for n in objectives.__all__ if issubclass(getattr(objectives, n), Objective)]
    known.remove("Objective")
    raise InputError(f"Expected an objective. Known objectives: {', '.join(known)}.", name)


def arguments(kind: type[Objective], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of an objective from YAML's values, with their schedules.

    Raises:
      InputError: a name or a value is not what the objective takes.
    """
    taken = [name for name in inspect.signature(kind).parameters if name != "self"]
    found = {}
    for name, value in given.items():
        if name not in taken:
            raise InputError(
                f"{kind.__name__} takes {', '.join(f'--objective.{each}' for each in taken)}.",
                f"--objective.{name}",
            )
        found[name] = _argument(kind, name, value)
    return found


def as_config(value: Any) -> Any:
    """Returns objectives and schedules, in any structure, in the form that `--config` reads."""
    if isinstance(value, dict):
        return {key: as_config(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_config(each) for each in value]
    if not hasattr(value, "get_config"):
        return value
    entries = {key: as_config(getattr(value, key)) for key in value.get_config()}
    return {
        "class_path": _path(type(value)),
        "init_args": {key: entry for key, entry in entries.items() if key != "name"},
    }


def _path(kind: type) -> str:
    """Returns the import path of a class: the public one of an objective of this package."""
    public = getattr(objectives, kind.__name__, None) is kind
    return f"{objectives.__name__ if public else kind.__module__}.{kind.__name__}"


def _is_known(path: str) -> bool:
    """Tells whether a class may be looked for there: a file may not import any module."""
    module = path.rpartition(".")[0]
    return module.split(".")[0] in ("", "tfp_vae", "keras") or module in sys.modules


def _only_known(value: Any) -> None:
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, (dict, list, tuple)):
            _only_known(each)
    path = value.get("class_path") if isinstance(value, dict) else None
    if path is not None and not _is_known(str(path)):
        raise InputError("Expected a class of tfp_vae or Keras, or of a module in use.", path)


def _argument(kind: type[Objective], name: str, value: Any) -> Any:
    _only_known([value] if not isinstance(value, (dict, list, tuple)) else value)
    parser = ArgumentParser(exit_on_error=False)
    skip = {each for each in inspect.signature(kind).parameters if each != name}
    parser.add_class_arguments(kind, skip=skip, instantiate=False, fail_untyped=False)
    try:
        parsed = parser.parse_object({name: copy.deepcopy(value)})  # which it changes
    except Exception as error:
        what = in_words(get_type_hints(kind.__init__).get(name))
        raise InputError(f"Expected --objective.{name} to be {what}.", _shown(value)) from error
    try:
        return parser.instantiate(parsed)[name]
    except ValueError as error:  # a schedule's own refusal, among what jsonargparse says
        own = re.search(r"(\w+: e|E)xpected (?!an? <).*Received: .*", str(error))
        raise InputError(own[0] if own else str(error)) from error


def in_words(hint: Any) -> str:
    """Returns the name of an argument's type in words, with an example.

    Example:
      >>> in_words(int), in_words(float)
      ('a whole number, such as 5', 'a number, such as 0.5')
    """
    kinds = set(_kinds(hint))
    if LearningRateSchedule in kinds:
        blocks = ", a list of one for each block," if list in kinds else ""
        return f"a number{blocks} or a schedule, such as 4 or tfp_vae.schedules.Cyclical"
    names = {
        int: "a whole number, such as 5",
        float: "a number, such as 0.5",
        bool: "true or false",
        str: "a word",
    }
    found = [words for kind, words in names.items() if kind in kinds]
    return found[0] if found else "what its help says (tfp-vae train --objective.help NAME)"


def _kinds(hint: Any) -> list[Any]:
    """Returns the classes in a type."""
    inner = [kind for part in get_args(hint) for kind in _kinds(part)]
    is_list = get_origin(hint) in (list, tuple, Sequence)
    return [*inner, list] if is_list else inner or [hint]


def _shown(value: Any) -> str:
    if isinstance(value, dict) and value.get("class_path"):
        parts = ", ".join(f"{key}={each}" for key, each in value.get("init_args", {}).items())
        return f"{value['class_path']}({parts})"
    return str(value)
