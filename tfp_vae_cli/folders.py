"""Files and folders that a command reads and writes, looked at before TensorFlow loads."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from tfp_vae_cli.options import RunOptions
from tfp_vae_cli.reading import Given
from tfp_vae_cli.refusal import Refusal, did_you_mean
from tfp_vae_cli.yaml_files import of_file

_IN_A_PICTURE = 2500  # images, at most
NEW = ".new"  # where an export writes first, within its folder

# What an evaluation takes from a run's options, and a run that goes on. Runs of before some options
# were there go on without these.
_EVALUATED = ("data", "binarize")
_LATER = ("standardize", "labelled", "length")
_RESUMED = tuple(field.name for field in dataclasses.fields(RunOptions) if field.name not in _LATER)


def check(command: str, given: Given) -> None:
    """Checks that what is to be read is there, and that what is to be written is free.

    Raises:
      Refusal: one of these is not so.
    """
    options = given.options
    if command == "train":
        _check_training(given)
        return
    if command == "table":
        if not Path(options["data"]).is_file():
            raise Refusal("Expected a .csv or .parquet file that is there.", options["data"])
        out = Path(options.get("out", "table"))
        if out.exists():
            raise Refusal("Expected --out to name a new folder.", f"{out}, which is there")
        check_writable(out)
        return
    check_run(options["run"])
    if command == "sample":
        _check_picture(options.get("out", "samples.png"), options.get("num", 0))
    if command == "export":
        check_free(options["out"])
        check_writable(Path(options["out"]))


def check_run(
    path: str | os.PathLike,
    needed: tuple[str, ...] = _EVALUATED,
    files: tuple[str, ...] = ("config.yaml", "model.keras"),
) -> None:
    """Checks that the folder is that of a run, with these options and files."""
    check_files(path, files)
    config = Path(path) / "config.yaml"
    found = of_file("train", str(config))
    lacks = [name for name in needed if name not in found]
    if lacks:
        raise Refusal(f"Expected {config} to hold all options of a run.", f"no {', '.join(lacks)}")


def check_files(path: str | os.PathLike, files: tuple[str, ...]) -> None:
    """Checks that the folder has these files of a run."""
    missing = [name for name in files if not (Path(path) / name).is_file()]
    if missing:
        raise Refusal(
            "Expected the folder of a run, as `tfp-vae train` writes it.",
            f"{path}, without {' and '.join(missing)}",
        )


def left_in(folder: Path) -> set[Path]:
    """Returns what is in a folder, apart from what a run leaves that ended while it loaded.

    Whether that run is still at work, its lock tells.
    """
    return set(folder.iterdir()) - {folder / n for n in (".lock", "figures", "config.new.yaml")}


def check_new(folder: Path) -> None:
    """Checks that a run may begin in a folder."""
    if folder.exists() and (not folder.is_dir() or left_in(folder)):
        raise Refusal(
            "Expected a new or empty folder for the run (--resume goes on with one).", folder
        )


def check_free(path: str | os.PathLike) -> None:
    """Checks that a SavedModel may be written to a folder."""
    folder = Path(path)
    if not folder.exists() or (folder.is_dir() and (folder / "saved_model.pb").exists()):
        return
    if not folder.is_dir() or set(folder.iterdir()) - {folder / NEW}:
        raise Refusal("Expected a new or empty folder, or a SavedModel to write anew.", path)


def check_writable(path: Path) -> None:
    """Checks that a file or folder of this name can be made."""
    there = path.absolute()
    while not there.exists() and not there.is_symlink():
        there = there.parent
    if there != path.absolute() and not there.is_dir():
        raise Refusal(f"Expected {path} to be in a folder.", f"{there}, which is none")
    if not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        raise Refusal(f"Expected to be allowed to write {path}.", f"{there}, which is read-only")


def _check_picture(out: str, num: int) -> None:
    if not out.endswith((".png", ".npy", ".txt")):
        raise Refusal("Expected --out to end in .png, .npy or .txt.", out)
    if out.endswith(".png") and num > _IN_A_PICTURE:
        raise Refusal(
            f"Expected --num up to {_IN_A_PICTURE} in a picture; a .npy file takes any number.", num
        )
    check_writable(Path(out))


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
        check_new(Path(options["out"]))
        check_writable(Path(options["out"]))
    else:
        check_writable(Path("runs"))
    _check_data(options.get("data", "digits"))


def _check_data(name: str) -> None:
    if name == "digits":
        return
    path = Path(name)
    if name.endswith((".npy", ".npz", ".txt")):
        if not path.is_file():
            raise Refusal(
                "Expected a .npy, .npz or .txt file of examples.", f"{name}, which is not there"
            )
        return
    known = _known_to_tfds()
    is_known = name.split("/")[0].split(":")[0] in known  # also where a folder is called so
    if not is_known and (path.exists() or (path.suffix and ":" not in name)):
        raise Refusal(
            "Expected data as a .npy or .npz file: numpy.save('x.npy', array) writes one.", name
        )
    if known:
        check_known(name, known)


def check_known(name: str, known: list[str], error: type[Refusal] = Refusal) -> None:
    """Checks that a name is that of one of TensorFlow's data sets, whatever version and config."""
    if name.split("/")[0].split(":")[0] not in known:
        raise error(
            "Expected 'digits', a .npy or .npz file, or the name of a TensorFlow data set "
            f"(tfds.list_builders()).{did_you_mean(name, [*known, 'digits'], 3)}",
            repr(name),
        )


def _known_to_tfds() -> list[str]:
    """Returns the names of TensorFlow's data sets; none once TensorFlow is there to tell them."""
    if "tensorflow" in sys.modules:
        return []  # `data.load` asks
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)
