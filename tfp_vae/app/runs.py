"""A run's folder: the model, the exact configuration, metrics, figures."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import yaml

from tfp_vae.app import model_files
from tfp_vae.app.writing import naming, replacing
from tfp_vae.errors import InputError
from tfp_vae.model.vae import VAE


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
        # What one leaves that ended while it loaded.
        self._free = {self._lock, self.figures, self.path / "config.new.yaml"}
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
        if not self.path.is_dir() or set(self.path.iterdir()) - self._free:
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
        self._is_new = not set(self.path.iterdir()) - self._free
        lock = filelock.FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                "Expected a run that no other process is at work on.", self.path
            ) from None
        try:
            for left in (*self.path.glob("*.new.*"), *self.figures.glob("*.new.*")):
                left.unlink()  # by a run that was killed
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
        with replacing(self.config) as new:
            new.write_text(yaml.safe_dump(config, sort_keys=False))

    def read_config(self) -> dict[str, Any]:
        """Reads `config.yaml`.

        Raises:
          InputError: it does not hold options.
        """
        try:
            return dict(yaml.safe_load(self.config.read_text(encoding="utf-8")))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise InputError(f"Expected {self.config} to be a run's options.", error) from error

    def add_row(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds an epoch to `metrics.csv`, the first one below a line of names."""
        row = {"epoch": epoch, **dict(sorted(logs.items()))}
        with naming(self.history):
            head = self._lines()[0] if self.history.is_file() else b""
            names = head.decode(errors="replace").split(",") if head else list(row)
            with self.history.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names, restval="NA", extrasaction="ignore")
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)

    def forget_from(self, epoch: int) -> None:
        """Takes out the rows of `metrics.csv` of epochs that are about to be done again.

        And what is none, or was cut off in the middle.
        """
        if self.history.is_file():
            head, *lines = self._lines()
            kept = [
                line
                for line in lines
                if (number := line.partition(b",")[0]).isdigit()
                and int(number) < epoch
                and line.count(b",") == head.count(b",")
            ]
            if head and not head.startswith(b"epoch,"):
                raise InputError(
                    f"Expected {self.history} to begin with a line of names, epoch the first: "
                    "without this file a run goes on too.",
                    head[:50],
                )
            with replacing(self.history) as new:
                new.write_bytes(b"".join(line + b"\r\n" for line in [head, *kept] if head))

    def _lines(self) -> list[bytes]:
        """The lines of `metrics.csv` that came to their end."""
        *lines, _ = self.history.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
        return lines or [b""]

    def losses(self, name: str) -> dict[int, float]:
        """A column of `metrics.csv`: by epoch, counted from 0, the numbers that are there."""
        found = {}
        if self.history.is_file():
            for row in csv.DictReader(line.decode(errors="replace") for line in self._lines()):
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found[int(row["epoch"])] = float(row[name])
        return found

    def save_model(self, vae: VAE) -> None:
        """Writes `model.keras`; a run stopped in the middle of it keeps the one before."""
        self._save(vae, self.model)

    def save_fitted(self, vae: VAE) -> None:
        """Writes `fitted.keras`, likewise."""
        self._save(vae, self.fitted)

    def _save(self, vae: VAE, file: Path) -> None:
        """Writes a model, with the options that it was made by and the sums of its metrics.

        They are the file's comment, so that they are of that model whatever happens.
        """
        options = self.read_config() if self.config.is_file() else None
        sums = [float(variable) for variable in vae.metrics_variables]
        model_files.save(vae, file, {"options": options, "sums": sums})

    def read_sums(self) -> list[float]:
        """What the metrics had of the epoch in which `model.keras` was saved."""
        return model_files.comment(self.model).get("sums", [])

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
          InputError: it is none, or not a VAE, or was made by other options than `config.yaml`
            has, those of the data aside.
        """
        return self._load(
            self.fitted if self.fitted.is_file() else self.model, ("data", "binarize")
        )

    def load_trained(self) -> VAE:
        """The model to train further, `model.keras`; likewise, the data included."""
        return self._load(self.model)

    def _load(self, file: Path, free: tuple[str, ...] = ()) -> VAE:
        model, made_by = model_files.load(file), model_files.comment(file).get("options") or {}
        now, free = self.read_config(), ("epochs", *free)
        edited = [k for k in made_by if k not in free and now.get(k, made_by[k]) != made_by[k]]
        if edited:
            raise InputError(
                f"Expected {self.config} with the options that {file.name} was made by: "
                + ", ".join(f"{name}: {json.dumps(made_by[name])}" for name in edited),
                ", ".join(f"{name}: {json.dumps(now[name])}" for name in edited),
            )
        return model

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`."""
        with replacing(self.results) as new:
            new.write_text(json.dumps(results, indent=2) + "\n")
