"""A run's files: the models, the exact configuration, metrics, results, figures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tfp_vae.app import model_files
from tfp_vae.app.run_folder import RunFolder
from tfp_vae.bridge.writing import replacing
from tfp_vae.errors import InputError
from tfp_vae_cli.folders import check_files


class Run(RunFolder):
    """The files of one training run.

    Attributes:
      path: the folder.
      model: `model.keras`, the last good model, optimizer state and all.
      fitted: `fitted.keras`, the same with a prior that was fitted after the training; of some
        recipes only.
      config: `config.yaml`, every option of the run; `tfp-vae train --config` repeats the run.
      history: `metrics.csv`, a row an epoch: see `tfp_vae.app.history`.
      results: `results.json`, the final evaluation: what `summary.report` gives, and `steps`.
      figures: the folder of PNG figures.
      logs: the folder of TensorBoard logs.
      words: `vocabulary.txt`, the word of each token, a line each; of a text only.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        self.model = self.path / "model.keras"
        self.fitted = self.path / "fitted.keras"
        self.config = self.path / "config.yaml"
        self.history = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.logs = self.path / "logs"
        self.words = self.path / "vocabulary.txt"

    @classmethod
    def open(cls, path: str | os.PathLike, with_model: bool = True) -> Run:
        """Opens an existing run; `with_model=False`: also one that has not saved a model yet.

        Raises:
          Refusal: the folder is none, or holds no run.
        """
        check_files(path, ("config.yaml", "model.keras") if with_model else ("config.yaml",))
        return cls(path)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes `config.yaml`, whole or not at all, and makes the folders for the rest."""
        self.figures.mkdir(parents=True, exist_ok=True)
        with replacing(self.config) as new:
            new.write_text(yaml.safe_dump(config, sort_keys=False))

    def read_config(self) -> dict[str, Any]:
        """Reads `config.yaml`.

        Raises:
          InputError: the file does not hold options.
        """
        try:
            return dict(yaml.safe_load(self.config.read_text(encoding="utf-8")))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise InputError(f"Expected {self.config} to be a run's options.", error) from error

    def write_words(self, words: Sequence[str]) -> None:
        """Writes `vocabulary.txt`, if there are words."""
        if words:
            with replacing(self.words) as new:
                new.write_text("\n".join(words) + "\n", encoding="utf-8")

    def read_words(self) -> list[str]:
        """Reads `vocabulary.txt`; none where there is no such file."""
        if not self.words.is_file():
            return []
        return self.words.read_text(encoding="utf-8").split("\n")[:-1]

    def save(self, vae: Any, file: Path) -> None:
        """Writes `model.keras` or `fitted.keras`; a run that stops meanwhile keeps the old file.

        The options and the sums of the metrics are in the file's comment: they are of that model
        whatever happens.
        """
        options = self.read_config() if self.config.is_file() else None
        sums = [float(variable) for variable in vae.metrics_variables]
        model_files.save(vae, file, {"options": options, "sums": sums})

    def read_sums(self) -> list[float]:
        """Reads what the metrics had of the epoch in which `model.keras` was saved."""
        return model_files.comment(self.model).get("sums", [])

    def load_model(self) -> Any:
        """Loads the model to use: `fitted.keras` if there is one, else `model.keras`.

        Raises:
          InputError: the file is none, or not a model of this package, or was made by other
            options than `config.yaml` has, those of the data aside.
        """
        file = self.fitted if self.fitted.is_file() else self.model
        return self._load(file, ("data", "binarize"))

    def load_trained(self) -> Any:
        """Loads the model to train further, `model.keras`; likewise, the data included."""
        return self._load(self.model)

    def _load(self, file: Path, free: tuple[str, ...] = ()) -> Any:
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

    def discard(self) -> None:
        """Deletes what a run that is new and did not begin has left in its folder."""
        if not self.model.is_file():
            self._clear_if_new()

    def write_results(self, results: dict[str, Any]) -> None:
        """Writes `results.json`."""
        with replacing(self.results) as new:
            new.write_text(json.dumps(results, indent=2) + "\n")

    def is_reported(self, step: int) -> bool:
        """Returns whether `results.json` is of the model at this step."""
        try:
            return json.loads(self.results.read_text())["steps"] == step
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or edited
            return False
