"""A training and a test set, wherever they come from."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from tfp_vae.errors import InputError

TEST_SHARE = 0.1  # where a source has no test split of its own


@dataclasses.dataclass(frozen=True)
class Examples:
    """A training and a test set: images as bytes, vectors of numbers, or sequences.

    Attributes:
      name: where they come from.
      train: uint8, `[n, height, width, channels]`; float32 or int32, `[n, size]`; float32,
        `[n, steps, size]`, series; or int32, `[n, steps]`, tokens. Steps of zeros are padding.
      test: likewise.
      train_labels: integers `[n]`, or None where the source has none.
      test_labels: likewise.
      validation: the source's own validation split, likewise; None where it has none.
      validation_labels: likewise.
      num_tokens: how many tokens there are, padding included; None: the examples are no tokens.
      vocabulary: the word of each token; empty where words are not known.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    validation: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    num_tokens: int | None = None
    vocabulary: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[Any, ...]:
        """(height, width, channels) of one image, (size,) of one vector, (steps, ...) of sequences.

        None stands for the steps of tokens, and of series of which some have padding.
        """
        shape = self.train.shape[1:]
        padded = self.kind == "series" and (self.train[:, -1] == 0).all(axis=-1).any()
        return (None, *shape[1:]) if padded or self.kind == "tokens" else shape

    @property
    def kind(self) -> Literal["images", "reals", "counts", "series", "tokens"]:
        """What the examples are; counts are integers from 0."""
        if self.num_tokens is not None:
            return "tokens"
        if self.train.ndim > 2:
            return "images" if self.train.ndim == 4 else "series"
        return "counts" if self.train.dtype.kind == "i" else "reals"

    @property
    def has_unknown(self) -> bool:
        """Whether entries are NaN, which are not known."""
        splits = [self.train, self.test, *([] if self.validation is None else [self.validation])]
        return self.train.dtype.kind == "f" and any(np.isnan(split).any() for split in splits)

    @property
    def num_classes(self) -> int:
        """The number of labels, which are 0 to `num_classes - 1`.

        Raises:
          InputError: the source has no labels, or others.
        """
        if self.train_labels is None or self.test_labels is None:
            raise InputError("Expected examples with labels, to condition on.", self.name)
        given = (self.train_labels, self.test_labels, self.validation_labels)
        both = np.concatenate([labels for labels in given if labels is not None])
        what = f"Expected integer labels from 0 in {self.name}."
        if both.dtype.kind not in "iu":
            raise InputError(what, both.dtype)
        if both.min() != 0:
            raise InputError(what, f"labels from {both.min()} to {both.max()}")
        return int(both.max()) + 1
