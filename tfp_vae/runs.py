"""A run's folder: the model, the exact configuration, metrics, figures."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import keras
import yaml

from tfp_vae.errors import InputError
from tfp_vae.vae import VAE


class Run:
    """The files of one training run.

    Attributes:
      path: the folder.
      model: `model.keras`, the last good model, optimizer state and all.
      fitted: `fitted.keras`, the same with a prior that was fitted when it was trained; of some
        recipes only.
      config: `config.yaml`, every option of the run; `tfp-vae train --config` repeats it.
      history: `metrics.csv`, a row an epoch.
      results: `results.json`, the final evaluation: what `report.report` gives, and `steps`.
      figures: the folder of PNG figures.
      logs: the folder of TensorBoard logs.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.model = self.path / "model.keras"
        self.fitted = self.path / "fitted.keras"
        self.config = self.path / "config.yaml"
        self.history = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.figures = self.path / "figures"
        self.logs = self.path / "logs"
        self._lock = self.path / ".lock"
        self._made_here: list[Path] = []  # the innermost first
        self._is_new = False

    @classmethod
    def next(cls, stem: str) -> Run:
        """A new run in a folder of its own, the first of `stem-1`, `stem-2`, ... that is not there.

        Making the folder is what chooses it: two processes never get the same.
        """
        number = 1
        while True:
            run = cls(f"{stem}-{number}")
            try:
                run._make_folder()
            except FileExistsError:
                number += 1
            else:
                return run

    @classmethod
    def open(cls, path: str | os.PathLike, with_model: bool = True) -> Run:
        """An existing run; `with_model=False`: also one that ended before it first saved a model.

        Raises:
          InputError: the folder is none, or holds no run.
        """
        run = cls(path)
        needed = (run.config, run.model) if with_model else (run.config,)
        missing = [file.name for file in needed if not file.is_file()]
        if missing:
            raise InputError(
                "Expected the folder of a run, as `tfp-vae train` writes it.",
                f"{path}, without {' and '.join(missing)}",
            )
        return run

    def must_be_new(self) -> None:
        """Raises `InputError` where the folder is there and holds something."""
        if not self.path.exists():
            return
        if not self.path.is_dir() or set(self.path.iterdir()) - {self._lock, self.figures}:
            raise InputError(
                "Expected a new or empty folder for the run (--resume goes on with one).", self.path
            )

    def _make_folder(self, exist_ok: bool = False) -> None:
        parents = [folder for folder in self.path.parents if not folder.exists()]
        is_there = self.path.exists()
        self.path.mkdir(parents=True, exist_ok=exist_ok)
        self._made_here += parents if is_there else [self.path, *parents]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within it no other process is at work on this run, whose folder is made where it is not.

        The operating system gives the lock back when the process ends, however that comes. Folders
        that were made here and hold nothing are taken away again.

        Raises:
          InputError: another process is at work on it.
        """
        self._make_folder(exist_ok=True)
        self._is_new = not set(self.path.iterdir()) - {self._lock}
        lock = filelock.FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                "Expected a run that no other process is at work on.", self.path
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # of Windows, where filelock takes it away
                self._lock.unlink()
            lock.release()
            for folder in self._made_here:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes `config.yaml`, whole or not at all, and makes the folders for the rest."""
        self.figures.mkdir(parents=True, exist_ok=True)
        new = self.config.with_suffix(".new.yaml")
        new.write_text(yaml.safe_dump(config, sort_keys=False))
        os.replace(new, self.config)

    def read_config(self) -> dict[str, Any]:
        """Reads `config.yaml`.

        Raises:
          InputError: it does not hold options.
        """
        try:
            return dict(yaml.safe_load(self.config.read_text()))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise InputError(f"Expected {self.config} to be a run's options.", error) from error

    def forget_from(self, epoch: int) -> None:
        """Takes out the rows of `metrics.csv` of epochs that are about to be done again."""
        if self.history.is_file():
            lines = self.history.read_bytes().splitlines(keepends=True)
            numbers = [line.partition(b",")[0] for line in lines]
            kept = [n.isdigit() and int(n) < epoch for n in numbers]
            new = self.history.with_suffix(".new.csv")
            new.write_bytes(b"".join([*lines[:1], *itertools.compress(lines[1:], kept[1:])]))
            os.replace(new, self.history)

    def losses(self, name: str) -> dict[int, float]:
        """A column of `metrics.csv`: by epoch, counted from 0, the numbers that are there."""
        if not self.history.is_file():
            return {}
        with self.history.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get(name) not in (None, "", "NA")]
        return {int(row["epoch"]): float(row[name]) for row in rows}

    def save_model(self, vae: VAE) -> None:
        """Writes `model.keras`; a run stopped in the middle of it keeps the one before."""
        _save(vae, self.model)

    def save_fitted(self, vae: VAE) -> None:
        """Writes `fitted.keras`, likewise."""
        _save(vae, self.fitted)

    def forget_fitted(self) -> None:
        """Takes `fitted.keras` away: the model that it belongs to is about to change."""
        self.fitted.unlink(missing_ok=True)

    def is_reported(self, step: int) -> bool:
        """Whether `results.json` is of the model at this step."""
        try:
            return json.loads(self.results.read_text())["steps"] == step
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ):  # a run that stopped before, or while it was written
            return False

    def discard(self) -> None:
        """Takes away what a run that is new and did not begin has left in its folder."""
        if self._is_new and not self.model.is_file():
            for left in set(self.path.iterdir()) - {self._lock}:
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def load_model(self) -> VAE:
        """The model to use: `fitted.keras` where it is, else `model.keras`.

        Raises:
          InputError: it is none, or not a VAE.
        """
        return _load(self.fitted if self.fitted.is_file() else self.model)

    def load_trained(self) -> VAE:
        """The model to train further, `model.keras`; likewise."""
        return _load(self.model)

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`."""
        new = self.results.with_suffix(".new.json")
        new.write_text(json.dumps(results, indent=2) + "\n")
        os.replace(new, self.results)


def _save(vae: VAE, file: Path) -> None:
    new = file.with_suffix(".new.keras")
    vae.save(new)
    os.replace(new, file)


def _load(file: Path) -> VAE:
    try:
        model = keras.models.load_model(file)
    except Exception as error:  # a file that is cut off, of another program, or changed by hand
        raise InputError(f"Expected {file} to be a model that loads.", error) from error
    if not isinstance(model, VAE):
        raise InputError(f"Expected {file} to be a VAE.", type(model).__name__)
    return model
