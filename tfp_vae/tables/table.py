"""A table as an array for a model, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfp_vae import layers
from tfp_vae.errors import InputError
from tfp_vae.tables.columns import Column, Kind


@dataclasses.dataclass(frozen=True)
class Table:
    """The columns of a table; arrays have the real ones first, then the categorical ones.

    Attributes:
      columns: in the table's order.

    Example:
      >>> frame = pd.DataFrame({"kind": ["a", "b", None], "size": [1.5, None, 2.5]})
      >>> table = Table.of(frame)
      >>> table.encoded(frame).round(3).tolist()
      [[-1.0, 0.0], [nan, 1.0], [1.0, nan]]
    """

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, data: Any, kinds: Mapping[Any, Kind] | None = None) -> Table:
        """Returns the columns of a DataFrame or an array; `kinds` by name override what is found.

        Raises:
          InputError: there are no rows or columns, names come twice, a column has no known value
            or is of no kind, or `kinds` names no column.
        """
        frame, kinds = as_frame(data), dict(kinds or {})
        if not frame.shape[0] or not frame.shape[1]:
            raise InputError("Expected a table of rows and columns.", f"shape {frame.shape}")
        twice = frame.columns[frame.columns.duplicated()].tolist()
        if twice:
            raise InputError("Expected columns of different names.", f"{twice} more than once")
        if set(kinds) - set(frame.columns):
            raise InputError(
                f"Expected kinds of columns among {list(frame.columns)}.",
                sorted(set(kinds) - set(frame.columns), key=str),
            )
        return cls(tuple(Column.of(frame[name], kinds.get(name)) for name in frame.columns))

    @property
    def ordered(self) -> list[Column]:
        """The columns in the order of arrays."""
        return sorted(self.columns, key=lambda column: column.is_categorical)

    @property
    def num_reals(self) -> int:
        """How many columns are real numbers for a model."""
        return sum(not column.is_categorical for column in self.columns)

    @property
    def categories(self) -> list[int]:
        """How many categories each of the others has."""
        return [len(column.values) for column in self.ordered if column.is_categorical]

    def likelihood(self, reals: layers.columns.Reals = "student_t") -> layers.Columns:
        """Returns the layer of p(x | ...)."""
        return layers.Columns(self.num_reals, self.categories, reals)

    def shown(self) -> layers.ShowColumns:
        """Returns the first layer of an encoder."""
        return layers.ShowColumns(self.num_reals, self.categories)

    def frame(self, data: Any) -> pd.DataFrame:
        """Returns the table's columns of some data, in order.

        Raises:
          InputError: a column is not there.
        """
        frame = as_frame(data)
        names = [column.name for column in self.columns]
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise InputError(f"Expected the columns {names}.", f"none of {missing}")
        return frame[names]

    def encoded(self, data: Any, unseen: str = "error") -> np.ndarray:
        """Returns rows as float32 numbers, NaN where an entry is not known.

        Raises:
          InputError: a column is not there, or a value is of another kind or a category not seen
            before (unless `unseen` is "unknown"), or no entry of a row is known.
        """
        frame = self.frame(data)
        each = [column.encoded(frame[column.name], unseen) for column in self.ordered]
        found = np.stack(each, axis=1).astype(np.float32)
        empty = np.isnan(found).all(axis=1)
        if empty.any():
            raise InputError(
                "Expected at least one known value in each row.",
                f"{int(empty.sum())} rows without, such as row {frame.index[np.argmax(empty)]!r}",
            )
        return found

    def decoded(self, numbers: np.ndarray, index: Any = None) -> pd.DataFrame:
        """Returns rows of numbers as a DataFrame with the dtypes of the table."""
        found = {
            column.name: column.decoded(numbers[:, place], index)
            for place, column in enumerate(self.ordered)
        }
        return pd.DataFrame({column.name: found[column.name] for column in self.columns})

    def completed(self, data: Any, numbers: np.ndarray) -> pd.DataFrame:
        """Returns the data with numbers in place of what is not known, else as they are given."""
        frame = self.frame(data)
        drawn = self.decoded(numbers, frame.index)
        for column in self.columns:
            known = frame[column.name].notna()
            if known.all():
                drawn[column.name] = frame[column.name]
            elif known.any():
                kept = frame[column.name].where(known, drawn[column.name])
                drawn[column.name] = kept.astype(column.dtype)
        return drawn

    def log_slope(self, data: Any) -> np.ndarray:
        """Returns the logarithm of the change of volume of each row, see `Column.log_slope`."""
        frame = self.frame(data)
        return np.sum([column.log_slope(frame[column.name]) for column in self.columns], axis=0)

    def to_config(self) -> list[dict[str, Any]]:
        """Returns the columns in JSON's types."""
        return [dataclasses.asdict(column) for column in self.columns]

    @classmethod
    def from_config(cls, config: list[dict[str, Any]]) -> Table:
        """Returns the table of a config."""
        return cls(tuple(Column(**{**one, "values": tuple(one["values"])}) for one in config))


def as_frame(data: Any) -> pd.DataFrame:
    """Returns a DataFrame; an array has columns 0, 1, ...

    Raises:
      InputError: it is no table.
    """
    if isinstance(data, pd.DataFrame):
        return data
    array = np.asarray(data)
    if array.ndim != 2:
        raise InputError("Expected a DataFrame, or an array of rows and columns.", array.shape)
    return pd.DataFrame(array)
