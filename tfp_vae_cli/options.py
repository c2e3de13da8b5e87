"""The options of each command, and in words what each of them takes."""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

_MOST = 2**31 - 1  # that TensorFlow counts with

_names = str.split

# Of tables that live beside TensorFlow; tests hold these against them.
RECIPES = _names(
    "vae conditional_vae beta_vae capacity_beta_vae beta_tc_vae dip_vae dip_vae_ii info_vae "
    "wae_mmd_imq wae_mmd_rbf swae iwae miwae ciwae piwae log_cosh_vae sigma_vae gamma_vae "
    "categorical_vae joint_vae hyperspherical_vae planar_flow_vae iaf_vae vamp_prior_vae "
    "mixture_prior_vae ae rae_l2 rae_gp vq_vae two_stage_vae ladder_vae "
    "hierarchical_vamp_vae rq_vae hrq_vae fsq_vae lfq_vae top_down_vae "
    "vq_vae_2"
)
LIKELIHOODS = _names(
    "bernoulli continuous_bernoulli normal shared_normal logistic laplace student_t poisson "
    "negative_binomial zero_inflated_negative_binomial"
)
OBJECTIVES = _names(
    "CIWAE DIP ELBO IWAE MIWAE MMD PIWAE Adversarial BetaTC CodeEntropy RegularizedAE "
    "SlicedWasserstein"
)


class Option(NamedTuple):
    """What an option takes.

    Attributes:
      what: in words.
      example: of a value.
      read: from a word of the command line or a value of a YAML file to the value; raises
        ValueError.
      choices: the names to choose from, where it is one of these.
      is_positional: whether it is given by its place.
    """

    what: str
    example: str
    read: Callable[[Any], Any]
    choices: tuple[str, ...] = ()
    is_positional: bool = False


def _whole(least: int, example: str, most: int = _MOST) -> Option:
    def read(value: Any) -> int:
        if isinstance(value, str):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        if value > most:
            raise ValueError(f" At most {most}.")
        return value

    return Option(f"a whole number from {least}", example, read)


def _positive(example: str) -> Option:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise ValueError
        return float(value)

    return Option("a number above 0", example, read)


def _widths(value: Any) -> list[int]:
    if isinstance(value, str):
        value = ast.literal_eval(value)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [_whole(1, "").read(each) for each in values]


def _choice(what: str, names: list[str], example: str) -> Option:
    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    shown = names if len(names) > 5 else map(repr, names)
    return Option(f"{what} {', '.join(shown)}", example, read, tuple(names))


def _text(what: str, example: str, is_positional: bool = False) -> Option:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValueError
        return os.path.expanduser(value)

    return Option(what, example, read, is_positional=is_positional)


def _flag() -> Option:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

    def read(value: Any) -> bool:
        if not isinstance(value, bool) and str(value).lower() not in words:
            raise ValueError
        return value if isinstance(value, bool) else words[value.lower()]

    return Option("true or false", "true", read, ("true", "false"))


def _or_null(option: Option) -> Option:
    """Takes null too, which is the default."""

    def read(value: Any) -> Any:
        return None if value in (None, "null") else option.read(value)

    return option._replace(read=read)


def _objective(value: Any) -> Any:
    """A name, or a mapping of `class_path`, `init_args` or both, as `config.yaml` has it."""
    if isinstance(value, str):
        value = {"class_path": value}
    if value is None or value == {"class_path": "null"}:
        return None
    known = {"class_path": str, "init_args": dict}
    if not isinstance(value, dict) or not value:
        raise ValueError
    if any(key not in known or not isinstance(value[key], known[key]) for key in value):
        raise ValueError
    name = value.get("class_path", OBJECTIVES[0])
    if "." not in name and name not in OBJECTIVES:
        raise ValueError
    return value


_RUN = _text("the folder of a run, as train writes it", "runs/digits-1", is_positional=True)
_SEED = _whole(0, "1", 2**32 - 1)

OPTIONS: dict[str, dict[str, Option]] = {
    "train": {
        "data": _text("digits, the name of a TensorFlow data set, or a file", "mnist"),
        "recipe": _choice("a recipe, one of", RECIPES, "beta_vae"),
        "likelihood": _or_null(_choice("a likelihood, one of", LIKELIHOODS, "normal")),
        "conditional": _flag(),
        "binarize": _or_null(_choice("one of", ["dynamic", "fixed", "none"], "none")),
        "standardize": _or_null(_flag()),
        "latent_size": _whole(1, "16"),
        "body": _choice("one of", ["mlp", "conv"], "conv"),
        "widths": Option("a list of whole numbers from 1", "'[400, 400]'", _widths),
        "activation": _text("the name of a Keras activation", "relu"),
        "objective": Option("the name of an objective", "IWAE", _objective, tuple(OBJECTIVES)),
        "epochs": _or_null(_whole(1, "20")),
        "batch_size": _whole(1, "128"),
        "learning_rate": _positive("0.001"),
        "seed": _SEED,
        "out": _or_null(_text("the name of a new folder", "runs/first")),
        "resume": _or_null(_text("the folder of a run", "runs/digits-1")),
    },
    "evaluate": {
        "run": _RUN,
        "num_samples": _whole(1, "500"),
        "examples": _or_null(_whole(1, "1000")),
    },
    "sample": {
        "run": _RUN,
        "num": _whole(1, "64"),
        "draw": _or_null(_flag()),
        "out": _text("the name of a .png or .npy file", "samples.png"),
        "seed": _SEED,
    },
    "export": {
        "run": _RUN,
        "out": _text("the folder to write", "saved_model", is_positional=True),
    },
}
