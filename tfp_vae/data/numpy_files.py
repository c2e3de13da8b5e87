"""Examples from .npy and .npz files."""

from __future__ import annotations

import dataclasses
import math
import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from tfp_vae.data.examples import TEST_SHARE, Examples
from tfp_vae.errors import InputError

_SPLITS = ("train", "test", "val", "valid")


def load(path: str, takes: Sequence[str] = ()) -> Examples:
    """Loads a file of `x_train`, `x_test` and more, or of one array, which is split 9 to 1.

    `takes`: the kinds of sequences, "series" and "tokens", that arrays may hold.
    """
    arrays = _read(path)
    if {"x_train", "x_test"} <= set(arrays):
        return _with_tokens(_splits(path, arrays, takes), takes)
    images = _standard(_the_one(path, arrays), path, takes)
    train, test = nine_to_one(len(images))
    return _with_tokens(Examples(path, images[train], images[test]), takes)


def rows(path: str) -> np.ndarray:
    """Loads the rows of a file in their order: those of its one array, else of `x_test`."""
    arrays = _read(path)
    if "x_test" in arrays:
        return _standard(arrays["x_test"], f"{path}[x_test]")
    return _standard(_the_one(path, arrays), path)


def _read(path: str) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):
        raise InputError("Expected a .npy or .npz file of examples.", f"{path}, which is not there")
    try:
        return _arrays(path)
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        what = f"Expected {path} to be a file of numbers, as numpy writes it."
        raise InputError(what, error) from error  # objects, cut-off, other


def _the_one(path: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    if len(arrays) != 1:
        raise InputError(
            f"Expected {path} to hold x_train and x_test, or one array.", sorted(arrays)
        )
    return next(iter(arrays.values()))


def nine_to_one(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of a training and of a test set, drawn at random, the same each time."""
    rows = np.random.default_rng(0).permutation(count)
    held_out = max(1, round(count * TEST_SHARE))
    return rows[:-held_out], rows[-held_out:]


def _with_tokens(found: Examples, takes: Sequence[str]) -> Examples:
    if found.kind != "counts" or "tokens" not in takes:
        return found
    splits = (found.train, found.test, found.validation)
    most = max(int(split.max()) for split in splits if split is not None)
    return dataclasses.replace(found, num_tokens=most + 1)


def _splits(path: str, arrays: dict[str, np.ndarray], takes: Sequence[str]) -> Examples:
    third = next((split for split in _SPLITS[2:] if f"x_{split}" in arrays), None)
    names = ["train", "test"] if third is None else ["train", "test", third]
    splits = [_standard(arrays[f"x_{name}"], f"{path}[x_{name}]", takes) for name in names]
    if len({split.dtype for split in splits}) > 1:  # counts that are all integers, and others
        splits = [split.astype(np.float32) for split in splits]
    if len({split.shape[1:] for split in splits}) > 1:
        raise InputError(
            f"Expected examples of one shape in {' and '.join(f'x_{name}' for name in names)} of "
            f"{path}.",
            " and ".join(str(split.shape[1:]) for split in splits),
        )
    labels = [
        _labels(arrays.get(f"y_{name}"), len(split), f"{path}[y_{name}]")
        for name, split in zip(names, splits, strict=True)
    ]
    last = dict(zip(("validation", "validation_labels"), splits[2:] + labels[2:], strict=False))
    return Examples(path, splits[0], splits[1], labels[0], labels[1], **last)  # type: ignore[arg-type]


def _arrays(path: str) -> dict[str, np.ndarray]:
    """Reads the arrays that are needed, none of which declares more numbers than the file has."""
    if not zipfile.is_zipfile(path):
        return {path: np.array(np.load(path, mmap_mode="r"))}  # no map is longer than its file
    with np.load(path) as file:
        names = [f"{what}_{split}" for what in "xy" for split in _SPLITS]
        names = [name for name in names if name in file]
        if not {"x_train", "x_test"} <= set(names):
            names = file.files
            if len(names) != 1:
                return dict.fromkeys(names, np.empty(0))
        for name in names:
            _check_size(file.zip, name)
        return {name: file[name] for name in names}


def _check_size(archive: zipfile.ZipFile, name: str) -> None:
    stored, npy = archive.getinfo(f"{name}.npy").file_size, np.lib.format
    with archive.open(f"{name}.npy") as member:
        old = npy.read_magic(member) == (1, 0)
        shape, _, dtype = (npy.read_array_header_1_0 if old else npy.read_array_header_2_0)(member)
    if math.prod(shape) * dtype.itemsize > stored:
        raise ValueError(f"{name} of shape {shape} in {stored:,} bytes")


def _labels(labels: np.ndarray | None, count: int, what: str) -> np.ndarray | None:
    if labels is not None and labels.shape not in ((count,), (count, 1)):
        raise InputError(f"Expected a label for each of {count} images in {what}.", labels.shape)
    return None if labels is None else labels.reshape(-1)


def _standard(examples: np.ndarray, what: str, takes: Sequence[str] = ()) -> np.ndarray:
    """Returns images as uint8 with channels; vectors and series as float32; counts as int32."""
    is_series = "series" in takes and examples.dtype.kind == "f" and examples.ndim in (2, 3)
    if examples.ndim == 2 and is_series:
        examples = examples[..., np.newaxis]
    if examples.ndim == 3 and not is_series:
        examples = examples[..., np.newaxis]
    if examples.ndim not in (2, 4 - is_series) or len(examples) < 2 or examples.size == 0:
        raise InputError(
            f"Expected {what} to hold at least two images, (n, height, width[, channels]), or "
            "vectors, (n, size).",
            examples.shape,
        )
    if examples.dtype.kind not in "biuf":
        raise InputError(f"Expected finite numbers in {what}.", examples.dtype)
    bad, name = ~np.isfinite(examples), "NaN or inf"
    if examples.ndim == 2:  # NaN is an entry that is not known
        bad, name = np.isinf(examples), "inf"
    if bad.any():
        count = int(bad.any(axis=tuple(range(1, examples.ndim))).sum())
        raise InputError(
            f"Expected finite numbers in {what}.", f"{count} of {len(examples)} rows with {name}"
        )
    if examples.ndim == 2:
        _some_is_known(np.isnan(examples), what)
    if "tokens" in takes and examples.ndim == 2 and examples.min() < 0:
        raise InputError(f"Expected tokens from 0 in {what}.", examples.min())
    return _pixels(examples, what) if examples.ndim == 4 else _vectors(examples, what)


def _some_is_known(unknown: np.ndarray, what: str) -> None:
    """Raises `InputError` where all entries of a row or of a column are NaN."""
    for axis, name in ((1, "row"), (0, "column")):
        empty = unknown.all(axis=axis)
        if empty.any():
            raise InputError(
                f"Expected at least one known entry in each {name} of {what}.",
                f"{int(empty.sum())} of NaN alone, such as {name} {int(np.argmax(empty))}",
            )


def _vectors(examples: np.ndarray, what: str) -> np.ndarray:
    integers = examples.dtype.kind in "biu"
    if integers and examples.max() > np.iinfo(np.int32).max:
        raise InputError(f"Expected counts in {what} below 2**31.", examples.max())
    return examples.astype(np.int32 if integers and examples.min() >= 0 else np.float32)


def _pixels(examples: np.ndarray, what: str) -> np.ndarray:
    if examples.dtype == np.uint8:
        return examples
    top = 255 if examples.dtype.kind in "iu" else 1
    if examples.min() < 0 or examples.max() > top:
        raise InputError(
            f"Expected pixels of {what} as integers in 0..255 or floats in 0..1.",
            f"{examples.dtype} from {examples.min():g} to {examples.max():g}",
        )
    return np.round(examples * (255.0 / top)).astype(np.uint8)
