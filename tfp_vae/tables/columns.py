"""One column of a table: what kind it is, and its values as numbers for a model and back."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import pandas as pd

from tfp_vae.errors import InputError

Kind = Literal["real", "positive", "count", "category", "ordinal", "boolean", "date"]
KINDS: tuple[Kind, ...] = (
    "real", "positive", "count", "category", "ordinal", "boolean", "date"
)  # fmt: skip
_CATEGORICAL = ("category", "ordinal", "boolean")
_SKEWED = 0.4  # a skewness from which on numbers above 0 are modelled by their logarithms


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's name, kind and dtype, and what is needed to invert its numbers.

    Real numbers, counts and dates are brought to mean 0 and standard deviation 1; positive numbers,
    and skewed counts, by their logarithms. Categories are numbered.

    Attributes:
      name: as in the table.
      kind: "real"; "positive": above 0; "count": whole numbers from 0; "category"; "ordinal":
        categories in order; "boolean"; "date".
      dtype: pandas' name of the dtype.
      loc: the mean of the numbers, before scaling.
      scale: their standard deviation, likewise.
      logs: whether the numbers are `log v`, or `log(1 + v)` of a count.
      values: the categories.
      days: whether dates are whole days.

    Example:
      >>> column = Column.of(pd.Series([1.5, None, 2.5], name="height"))
      >>> column.kind, column.encoded(pd.Series([3.0])).tolist(), column.decoded([2.0]).tolist()
      ('real', [2.0], [3.0])
    """

    name: Any
    kind: Kind
    dtype: str
    loc: float = 0.0
    scale: float = 1.0
    logs: bool = False
    values: tuple[Any, ...] = ()
    days: bool = False

    @classmethod
    def of(cls, series: pd.Series, kind: Kind | None = None) -> Column:
        """Returns the column that some values are of; `kind` overrides what is found.

        Raises:
          InputError: no value is known, values are of no kind, or not of the kind that is given.
        """
        known = series.dropna()
        if not len(known):
            raise InputError(f"Expected known values in column {series.name!r}.", "none")
        kind = kind or _kind_of(series, known)
        if kind not in KINDS:
            raise InputError(f"Expected the kind of column {series.name!r} among {KINDS}.", kind)
        dtype = str(series.dtype)
        if kind in _CATEGORICAL:
            return cls(series.name, kind, dtype, values=_categories(series, known))
        logs = kind == "positive"
        if kind == "count":
            logs = _skewness(known.astype(float)) > _SKEWED
        start = cls(series.name, kind, dtype, logs=logs, days=kind == "date" and _whole(known))
        numbers = start._numbers(series)
        loc, scale = float(np.nanmean(numbers)), float(np.nanstd(numbers))
        constant = scale <= 1e-9 * max(1.0, abs(loc))
        return dataclasses.replace(start, loc=loc, scale=1.0 if constant else scale)

    @property
    def is_categorical(self) -> bool:
        """Whether values are numbered categories."""
        return self.kind in _CATEGORICAL

    def encoded(self, series: pd.Series, unseen: str = "error") -> np.ndarray:
        """Returns the values as numbers, NaN where they are not known.

        `unseen`: of categories that are not among `values`: "error", or "unknown".

        Raises:
          InputError: values are not of the column's kind, or are categories not seen before.
        """
        if not self.is_categorical:
            return (self._numbers(series) - self.loc) / self.scale
        known = series.notna().to_numpy()
        index = pd.Index(list(self.values), dtype=object).get_indexer(series.astype(object))
        new = known & (index < 0)
        if new.any() and unseen == "error":
            raise InputError(
                f"Expected categories of column {self.name!r} that were seen in fit (or "
                "unseen='unknown').",
                sorted(map(str, set(series[new])))[:5],
            )
        return np.where(known & ~new, index, np.nan).astype(float)

    def decoded(self, numbers: Any, index: Any = None) -> pd.Series:
        """Returns numbers as values of the column's dtype."""
        numbers = np.asarray(numbers, float)
        if self.is_categorical:
            place = np.clip(np.nan_to_num(numbers), 0, len(self.values) - 1).astype(int)
            found = np.array(self.values, object)[place]
            return _of_dtype(pd.Series(found, index, name=self.name, dtype=object), self)
        numbers = numbers * self.scale + self.loc
        if self.logs:
            numbers = np.exp(np.minimum(numbers, 80.0)) - (self.kind == "count")
        if self.kind == "count":
            numbers = np.maximum(np.round(numbers), 0)
        elif self.dtype.lower().startswith(("int", "uint")):
            numbers = np.round(numbers)
        if self.kind == "date":
            step = 86400.0 if self.days else 1.0
            seconds = np.round(numbers / step) * step
            found = pd.Series(pd.to_datetime(seconds.astype("int64") * 10**9), index)
            return _of_dtype(found.rename(self.name), self)
        return _of_dtype(pd.Series(numbers, index, name=self.name), self)

    def log_slope(self, series: pd.Series) -> np.ndarray:
        """Returns `log |d number / d value|`, what a density of values has beside that of numbers.

        0 of categories, which have probabilities, and where a value is not known.
        """
        if self.is_categorical:
            return np.zeros(len(series))
        slope = np.full(len(series), -np.log(self.scale))
        if self.logs:
            slope -= self._numbers(series)
        return np.where(series.isna(), 0.0, slope)

    def _numbers(self, series: pd.Series) -> np.ndarray:
        """Returns real numbers, before scaling."""
        if self.kind == "date":
            dates = pd.to_datetime(series, errors="coerce")
            self._are_of_kind(series, dates.isna())
            stamps = dates.astype("datetime64[ns]").astype("int64").to_numpy() / 1e9
            return np.where(dates.isna(), np.nan, stamps)
        numbers = (
            pd.to_numeric(series, errors="coerce").astype(float).to_numpy(float, na_value=np.nan)
        )
        wrong = np.isnan(numbers) | np.isinf(numbers)
        if self.kind == "positive":
            wrong |= numbers <= 0
        elif self.kind == "count":
            wrong |= (numbers < 0) | (numbers != np.round(numbers))
        self._are_of_kind(series, wrong)
        if not self.logs:
            return numbers
        return np.log1p(numbers) if self.kind == "count" else np.log(numbers)

    def _are_of_kind(self, series: pd.Series, wrong: Any) -> None:
        wrong = np.asarray(wrong) & series.notna().to_numpy()
        if wrong.any():
            row = series.index[int(np.argmax(wrong))]
            raise InputError(
                f"Expected column {self.name!r} to hold values of kind {self.kind!r}.",
                f"{int(wrong.sum())} others, such as {series[wrong].iloc[0]!r} in row {row!r}",
            )


def _kind_of(series: pd.Series, known: pd.Series) -> Kind:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "ordinal" if dtype.ordered else "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "date"
    if not pd.api.types.is_numeric_dtype(dtype):
        kinds = {type(value) for value in known}
        if kinds == {bool}:
            return "boolean"
        if not kinds <= {str, int, float, bool}:
            raise InputError(
                f"Expected column {series.name!r} to hold numbers, words, booleans or dates.",
                ", ".join(sorted(kind.__name__ for kind in kinds)),
            )
        return "category"
    if pd.api.types.is_complex_dtype(dtype) or np.isinf(known.astype(float)).any():
        raise InputError(f"Expected finite real numbers in column {series.name!r}.", dtype)
    numbers = known.astype(float)
    whole = bool((numbers == numbers.round()).all())
    if whole and set(numbers.unique()) <= {0.0, 1.0}:
        return "boolean"
    if whole and numbers.min() >= 0:
        return "count"
    return "positive" if numbers.min() > 0 and _skewness(numbers) > _SKEWED else "real"


def _skewness(numbers: pd.Series) -> float:
    """Returns Kelly's, which single outliers do not move: 0 of a Normal, 0.46 of an exponential."""
    low, middle, high = np.quantile(numbers, [0.1, 0.5, 0.9])
    return float((high + low - 2 * middle) / (high - low)) if high > low else 0.0


def _categories(series: pd.Series, known: pd.Series) -> tuple[Any, ...]:
    """Returns the categories: in pandas' order, else sorted."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return tuple(series.dtype.categories.tolist())
    values = [value.item() if hasattr(value, "item") else value for value in known.unique()]
    try:
        return tuple(sorted(values))
    except TypeError:  # numbers and words
        return tuple(sorted(values, key=str))


def _whole(known: pd.Series) -> bool:
    """Tells whether dates are whole days."""
    dates = pd.to_datetime(known, errors="coerce").dropna()
    return bool((dates == dates.dt.normalize()).all())


def _of_dtype(series: pd.Series, column: Column) -> pd.Series:
    if column.dtype == "category":
        ordered = column.kind == "ordinal"
        return series.astype(pd.CategoricalDtype(list(column.values), ordered=ordered))
    return series.astype(column.dtype)
