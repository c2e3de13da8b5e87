"""`tfp-vae table`: a file of rows with holes, its holes filled, its odd rows, and new rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tfp_vae.bridge.writing import replacing
from tfp_vae.callbacks import say
from tfp_vae.errors import InputError
from tfp_vae.recipes.base import find
from tfp_vae.tables import Table, TableVAE
from tfp_vae_cli.options import TableOptions

_SHOWN = 5  # odd rows


def table(options: TableOptions) -> int:
    """Trains a `TableVAE` on a file and writes what it says of the rows into a folder."""
    find(options.recipe)
    folder = Path(options.out)
    if folder.exists():
        raise InputError("Expected --out to name a new folder.", options.out)
    frame = read(options.data)
    found = Table.of(frame)
    holes = int(frame.isna().to_numpy().sum())
    kinds = ", ".join(f"{column.name} ({column.kind})" for column in found.columns)
    say(
        f"{options.data}: {len(frame):,} rows, {holes:,} unknown entries of {frame.size:,}; {kinds}"
    )
    model = TableVAE(
        options.recipe, options.latent_size, epochs=options.epochs, seed=options.seed
    ).fit(frame)
    best = int(np.argmin(model.history_.get("val_loss", model.history_["loss"])))
    say(f"trained for {len(model.history_['loss'])} epochs, the best was epoch {best + 1}")
    imputed = model.impute(frame)
    odd = _odd_rows(model, frame)
    new = model.sample(options.rows or len(frame))
    folder.mkdir(parents=True)
    tables = {"imputed": imputed.table, "low": imputed.low, "high": imputed.high, "new_rows": new}
    for name, one in tables.items():
        _write(folder / f"{name}.csv", one)
    _write(folder / "odd_rows.csv", odd, index=True)
    model.save(folder / "model")
    say(f"odd rows, of {len(frame):,}:\n{odd.head(_SHOWN).to_string()}")
    say(
        f"{folder}: imputed.csv, low.csv and high.csv (nine in ten of the unknown numbers are "
        f"between), odd_rows.csv, new_rows.csv ({len(new):,}), model (TableVAE.load)"
    )
    return 0


def read(path: str) -> pd.DataFrame:
    """Reads a .csv or .parquet file.

    Raises:
      InputError: there is no such file, or it cannot be read; of a broken line its number.
    """
    if not Path(path).is_file():
        raise InputError("Expected a .csv or .parquet file of rows.", f"{path}, which is not there")
    try:
        return (
            pd.read_parquet(path) if path.endswith(".parquet") else _with_dates(pd.read_csv(path))
        )
    except (ValueError, OSError) as error:  # pandas' own errors are of these kinds
        raise InputError(f"Expected {path} to be a table, one row a line.", error) from error


def _with_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the frame, columns of words that all are dates (2020-12-31) as such."""
    for name in frame.columns[[pd.api.types.is_string_dtype(dtype) for dtype in frame.dtypes]]:
        dates = pd.to_datetime(frame[name], format="ISO8601", errors="coerce")
        if dates.notna().any() and (dates.notna() == frame[name].notna()).all():
            frame[name] = dates
    return frame


def _odd_rows(model: TableVAE, frame: pd.DataFrame) -> pd.DataFrame:
    """Returns all rows, the oddest first: p-value, log p, and the column that adds most."""
    found = pd.DataFrame({"log_p": model.score_samples(frame)}, frame.index)
    if len(model.held_out_scores_):
        found.insert(0, "p_value", model.pvalues_of(found["log_p"].to_numpy()))
    found["oddest_column"] = model.column_scores(frame).idxmax(axis=1)
    found.index.name = "row"
    return found.sort_values("log_p")


def _write(path: Path, frame: pd.DataFrame, index: bool = False) -> None:
    with replacing(path) as new:
        frame.to_csv(new, index=index)
