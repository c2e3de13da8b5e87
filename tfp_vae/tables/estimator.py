"""`TableVAE`: a model of a table by scikit-learn's conventions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from tfp_vae import recipes
from tfp_vae.bridge.writing import replacing
from tfp_vae.errors import InputError
from tfp_vae.layers.columns import Reals
from tfp_vae.tables.columns import Kind
from tfp_vae.tables.table import Table, as_frame

_BATCH = 128  # rows at a time, of scores
_LEAST = 20  # rows from which on some are held out


class Imputed(NamedTuple):
    """A completed table with what is said of its holes, each a DataFrame with the table's dtypes.

    Attributes:
      table: means of numbers, the most probable categories.
      low: the lower quantile of numbers; categories as in `table`.
      high: the upper one.
      draws: completed copies, drawn.
    """

    table: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    draws: list[pd.DataFrame]


class TableVAE(TransformerMixin, BaseEstimator):
    """A VAE of a table: imputations, odd rows, new rows.

    Columns are of different kinds, found from their values; NaN, None and NaT stand for what is not
    known. A share of the rows is held out: training stops where these do no better, and odd rows
    have their p-values by these.

    Args:
      recipe: a published model of `docs/variants.md`, by name.
      latent_size: dimensions of z.
      widths: units of the hidden layers.
      kinds: of columns by name, where what is found is not right; see `tables.Column`.
      reals: the likelihood of numbers: "student_t", or "normal".
      epochs: the most epochs.
      batch_size: rows in a step.
      learning_rate: Adam's.
      validation_share: of the rows, held out; none of fewer than 20.
      patience: epochs without a better `val_loss` after which training stops; the best is kept.
      unseen: of categories that come first after `fit`: "error", or "unknown".
      num_samples: draws of z for each row, for scores and imputations.
      seed: of weights, order and draws.
      verbose: as Keras'.

    Attributes:
      table_: the columns that were found.
      model_: the trained model.
      held_out_scores_: the scores of the held-out rows.
      history_: Keras' history of the training.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> size = rng.normal(size=200)
      >>> frame = pd.DataFrame({"size": size, "kind": np.where(size > 0, "big", "small")})
      >>> frame.loc[0, "kind"] = None
      >>> model = TableVAE(latent_size=1, widths=(16,), epochs=2).fit(frame)
      >>> model.transform(frame)["kind"].isna().sum(), model.sample(3).columns.tolist()
      (0, ['size', 'kind'])
    """

    def __init__(
        self,
        recipe: str = "vae",
        latent_size: int = 8,
        widths: Sequence[int] = (128, 128),
        kinds: Mapping[Any, Kind] | None = None,
        reals: Reals = "student_t",
        epochs: int = 500,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        validation_share: float = 0.1,
        patience: int = 30,
        unseen: str = "error",
        num_samples: int = 200,
        seed: int = 0,
        verbose: Any = 0,
    ) -> None:
        self.recipe, self.latent_size, self.widths = recipe, latent_size, widths
        self.kinds, self.reals, self.epochs = kinds, reals, epochs
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.validation_share, self.patience, self.unseen = validation_share, patience, unseen
        self.num_samples, self.seed, self.verbose = num_samples, seed, verbose

    # -- training ------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> TableVAE:
        """Finds the columns' kinds and trains the model; y is not looked at.

        Raises:
          InputError: see `Table.of` and `Table.encoded`; an option is out of its range.
        """
        self._are_right()
        frame = as_frame(X)
        self.table_ = Table.of(frame, self.kinds)
        x = self.table_.encoded(frame)
        self.n_features_in_ = x.shape[1]
        self.feature_names_in_ = np.array(frame.columns, dtype=object)
        rows = np.random.default_rng(self.seed).permutation(len(x))
        held = round(len(x) * self.validation_share) if len(x) >= _LEAST else 0
        train, held_out = x[np.sort(rows[held:])], x[np.sort(rows[:held])]
        keras.utils.set_random_seed(self.seed)
        self.model_ = self._model(len(train))
        self.model_.compile(keras.optimizers.Adam(self.learning_rate))
        stop = keras.callbacks.EarlyStopping(
            "val_loss", patience=self.patience, restore_best_weights=True
        )
        self.history_ = self.model_.fit(
            train,
            batch_size=min(self.batch_size, len(train)),
            epochs=self.epochs,
            validation_data=(held_out,) if held else None,
            callbacks=[stop] if held else [],
            verbose=self.verbose,
        ).history
        slope = self.table_.log_slope(frame.iloc[np.sort(rows[:held])]) if held else np.zeros(0)
        self.held_out_scores_ = self._log_p(held_out) + slope if held else slope
        return self

    def _model(self, count: int) -> Any:
        steps = self.epochs * -(-count // self.batch_size)
        setting = recipes.Setting(
            (self.n_features_in_,),
            num_examples=count,
            steps=steps,
            latent_size=self.latent_size,
            widths=tuple(self.widths),
            likelihood=lambda shape: self.table_.likelihood(self.reals),
            shown=self.table_.shown,
        )
        if recipes.find(self.recipe).conditional:
            raise InputError("Expected a recipe that needs no labels.", self.recipe)
        return recipes.build(self.recipe, setting)

    def _are_right(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise InputError(
                "Expected validation_share from 0 to less than 1.", self.validation_share
            )
        if self.unseen not in ("error", "unknown"):
            raise InputError("Expected unseen to be 'error' or 'unknown'.", self.unseen)

    def _encoded(self, X: Any) -> np.ndarray:
        if not hasattr(self, "model_"):
            raise InputError(
                "Expected a TableVAE that was fitted: call fit first.", type(self).__name__
            )
        return self.table_.encoded(X, self.unseen)

    # -- odd rows ------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Returns `log p` of the known entries of each row, in nats and the table's own units.

        An importance-weighted estimate by `num_samples` draws. Numbers have densities, categories
        probabilities; tables of the same columns compare, whatever the model.
        """
        return self._log_p(self._encoded(X)) + self.table_.log_slope(X)

    def _log_p(self, x: np.ndarray) -> np.ndarray:
        self.model_.seed_generator.state.assign([self.seed, 1])
        return self.model_.log_likelihood(x, self.num_samples, _BATCH).numpy().astype(float)

    def score(self, X: Any, y: Any = None) -> float:
        """Returns the mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def anomaly_pvalues(self, X: Any) -> np.ndarray:
        """Returns for each row the share of the held-out rows that are at least as odd.

        `(1 + #{held out: score <= score of the row}) / (1 + #held out)`: uniform for rows as those
        of the table, small for odd ones. At least as large as one over the held-out rows.

        Raises:
          InputError: no rows were held out.
        """
        return self.pvalues_of(self.score_samples(X))

    def pvalues_of(self, scores: np.ndarray) -> np.ndarray:
        """Returns the p-values of rows whose `score_samples` are given; see `anomaly_pvalues`."""
        if not len(self.held_out_scores_):
            raise InputError("Expected held-out rows to compare with, validation_share above 0.", 0)
        below = np.searchsorted(np.sort(self.held_out_scores_), scores, "right")
        return (1 + below) / (1 + len(self.held_out_scores_))

    def column_scores(self, X: Any) -> pd.DataFrame:
        """Returns what each entry adds to a row's oddness, in nats; 0 where it is not known.

        `-log p(x_j | the other entries) = log p(the others) - log p(x)`, numbers in units of their
        columns' standard deviations, so that columns compare. Without an entry that does not fit
        the rest of the row, the rest is probable.
        """
        x, frame = self._encoded(X), self.table_.frame(X)
        whole, found = self._log_p(x), []
        for place in range(x.shape[1]):
            others = np.where(np.arange(x.shape[1]) == place, np.float32(np.nan), x)
            some = ~np.isnan(others).all(axis=1)
            rest = np.zeros(len(x))
            rest[some] = self._log_p(others[some])
            found.append(np.where(np.isnan(x[:, place]), 0.0, rest - whole))
        names = [column.name for column in self.table_.ordered]
        return pd.DataFrame(np.stack(found, axis=1), frame.index, names)[frame.columns.tolist()]

    # -- holes ---------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Returns the table with its holes filled: `impute(X).table`, an array for an array."""
        found = self.impute(X).table
        return found if isinstance(X, pd.DataFrame) else found.to_numpy()

    def impute(self, X: Any, num_draws: int = 0, interval: float = 0.9) -> Imputed:
        """Returns the table completed, with an interval for each number and completed copies.

        Args:
          X: rows; those without holes come back as they are.
          num_draws: how many completed copies, for multiple imputation.
          interval: the probability between `low` and `high`.
        """
        levels = ((1 - interval) / 2, (1 + interval) / 2)
        x = self._encoded(X)
        found = self.model_.impute(x, self.num_samples, num_draws, levels, self.seed)
        found = found[self.model_.wiring.main] if isinstance(found, dict) else found
        reals = np.arange(x.shape[1]) < self.table_.num_reals
        tables = [
            np.where(reals, numbers, found.mode)
            for numbers in (found.mean, *found.quantiles.values())
        ]
        tables += list(found.draws)
        done = [self.table_.completed(X, numbers) for numbers in tables]
        return Imputed(done[0], done[1], done[2], done[3:])

    # -- new rows ------------------------------------------------------------------------------

    def sample(self, n_samples: int = 1, seed: int | None = None) -> pd.DataFrame:
        """Returns new rows, drawn from the model, with the table's columns and dtypes."""
        if not hasattr(self, "model_"):
            raise InputError(
                "Expected a TableVAE that was fitted: call fit first.", type(self).__name__
            )
        drawn = self.model_.sample(n_samples, mean=False, seed=self.seed if seed is None else seed)
        drawn = drawn[self.model_.wiring.main] if isinstance(drawn, dict) else drawn
        return self.table_.decoded(np.asarray(drawn))

    # -- files ---------------------------------------------------------------------------------

    def save(self, folder: Any) -> None:
        """Writes the model and the table's columns into a folder, without pickle."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "model.keras") as new:
            self.model_.save(new)
        kinds = None if self.kinds is None else dict(self.kinds)
        about = {
            "params": {**self.get_params(), "kinds": kinds, "widths": list(self.widths)},
            "table": self.table_.to_config(),
            "held_out_scores": self.held_out_scores_.tolist(),
        }
        with replacing(folder / "table.json") as new:
            Path(new).write_text(json.dumps(about, indent=1, default=str), encoding="utf-8")

    @classmethod
    def load(cls, folder: Any) -> TableVAE:
        """Returns what `save` wrote.

        Raises:
          InputError: the folder does not hold it.
        """
        folder = Path(folder)
        if not (folder / "table.json").is_file():
            raise InputError("Expected a folder that TableVAE.save wrote.", str(folder))
        about = json.loads((folder / "table.json").read_text(encoding="utf-8"))
        found = cls(**about["params"])
        found.table_ = Table.from_config(about["table"])
        found.model_ = keras.models.load_model(folder / "model.keras")
        found.n_features_in_ = len(found.table_.columns)
        found.feature_names_in_ = np.array([c.name for c in found.table_.columns], dtype=object)
        found.held_out_scores_ = np.array(about["held_out_scores"])
        return found
