"""Files and folders that a command reads and writes, looked at before TensorFlow loads."""

from __future__ import annotations

import os
from pathlib import Path

from tfp_vae_cli.options import OPTIONS
from tfp_vae_cli.reading import Given, of_file
from tfp_vae_cli.refusal import Refusal, did_you_mean

_IN_A_PICTURE = 2500  # images, at most
NEW = ".new"  # where an export writes first, within its folder

# What an evaluation takes from a run's options, and a run that goes on.
_EVALUATED = ("data", "binarize")
_RESUMED = tuple(name for name in OPTIONS["train"] if name not in ("out", "resume", "standardize"))


def check(command: str, given: Given) -> None:
    """Raises `Refusal` unless what is to be read is there, and what is to be written is free."""
    options = given.options
    if command == "train":
        _check_training(given)
        return
    check_run(options["run"])
    if command == "sample":
        if not options.get("out", ".png").endswith((".png", ".npy")):
            raise Refusal("Expected --out to end in .png or .npy.", options["out"])
        out = Path(options.get("out", "samples.png"))
        if out.suffix == ".png" and options.get("num", 0) > _IN_A_PICTURE:
            raise Refusal(
                f"Expected --num up to {_IN_A_PICTURE} in a picture; a .npy file takes any number.",
                options["num"],
            )
        check_writable(out)
    if command == "export":
        check_free(options["out"])
        check_writable(Path(options["out"]))


def check_run(
    path: str,
    needed: tuple[str, ...] = _EVALUATED,
    files: tuple[str, ...] = ("config.yaml", "model.keras"),
) -> None:
    """Raises `Refusal` unless the folder is that of a run, with these options and files."""
    missing = [name for name in files if not (Path(path) / name).is_file()]
    if missing:
        raise Refusal(
            "Expected the folder of a run, as `tfp-vae train` writes it.",
            f"{path}, without {' and '.join(missing)}",
        )
    config = Path(path) / "config.yaml"
    found = of_file("train", str(config))
    lacks = [name for name in needed if name not in found]
    if lacks:
        raise Refusal(f"Expected {config} to hold all options of a run.", f"no {', '.join(lacks)}")


def check_free(path: str | os.PathLike) -> None:
    """Raises `Refusal` unless a SavedModel may be written there."""
    folder = Path(path)
    if not folder.exists() or (folder.is_dir() and (folder / "saved_model.pb").exists()):
        return
    if not folder.is_dir() or set(folder.iterdir()) - {folder / NEW}:
        raise Refusal("Expected a new or empty folder, or a SavedModel to write anew.", path)


def check_writable(path: Path) -> None:
    """Raises `Refusal` unless a file or folder of this name can be made."""
    there = path.absolute()
    while not there.exists() and not there.is_symlink():
        there = there.parent
    if there != path.absolute() and not there.is_dir():
        raise Refusal(f"Expected {path} to be in a folder.", f"{there}, which is none")
    if not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        raise Refusal(f"Expected to be allowed to write {path}.", f"{there}, which is read-only")


def _check_training(given: Given) -> None:
    options = given.options
    if options.get("resume"):
        if given.own.get("out"):
            raise Refusal(
                "--resume goes on in the run's own folder: expected no --out.", given.own["out"]
            )
        # A run that was killed before it first saved its model begins anew.
        check_run(options["resume"], _RESUMED, ("config.yaml",))
        check_writable(Path(options["resume"]))
    elif options.get("out"):
        out = Path(options["out"])
        # What a run leaves that ended while it loaded; whether it is there still, the lock tells.
        ended = {out / ".lock", out / "figures", out / "config.new.yaml"}
        if out.exists() and (not out.is_dir() or set(out.iterdir()) - ended):
            raise Refusal(
                "Expected a new or empty folder for the run (--resume goes on with one).", out
            )
        check_writable(out)
    else:
        check_writable(Path("runs"))
    _check_data(options.get("data", "digits"))


def _check_data(name: str) -> None:
    if name == "digits":
        return
    if name.endswith((".npy", ".npz")):
        if not Path(name).is_file():
            raise Refusal(
                "Expected a .npy or .npz file of examples.", f"{name}, which is not there"
            )
        return
    known = _known_to_tfds()
    is_known = name.split("/")[0].split(":")[0] in known  # also where a folder is called so
    if not is_known and (Path(name).exists() or (Path(name).suffix and ":" not in name)):
        raise Refusal(
            "Expected data as a .npy or .npz file: numpy.save('x.npy', array) writes one.", name
        )
    if known and not is_known:
        hint = did_you_mean(name, [*known, "digits"], 3)
        raise Refusal(
            "Expected 'digits', a .npy or .npz file, or the name of a TensorFlow data set "
            f"(tfds.list_builders()).{hint}",
            repr(name),
        )


def _known_to_tfds() -> list[str]:
    """The names of TensorFlow's data sets; none where they cannot be told without TensorFlow."""
    import sys

    if "tensorflow" in sys.modules:
        return []  # `data.load` asks
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)
