"""`metrics.csv`: a line of names, then a row for each epoch, counted from 0."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

from tfp_vae.bridge.writing import naming, replacing
from tfp_vae.errors import InputError


def add_row(file: Path, epoch: int, logs: dict[str, float]) -> None:
    """Adds the row of an epoch; the first row comes below a line of names."""
    row = {"epoch": epoch, **dict(sorted(logs.items()))}
    with naming(file):
        head = _lines(file)[0] if file.is_file() else b""
        names = head.decode(errors="replace").split(",") if head else list(row)
        with file.open("a", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, names, restval="NA", extrasaction="ignore")
            if not opened.tell():
                writer.writeheader()
            writer.writerow(row)


def forget_from(file: Path, epoch: int) -> None:
    """Takes out rows of epochs that are about to be done again, and rows that were cut off.

    Raises:
      InputError: the file does not begin with a line of names.
    """
    if not file.is_file():
        return
    head, *lines = _lines(file)
    if head and not head.startswith(b"epoch,"):
        raise InputError(
            f"Expected {file} to begin with a line of names, epoch the first: without this file a "
            "run goes on too.",
            head[:50],
        )
    kept = [
        line
        for line in lines
        if (number := line.partition(b",")[0]).isdigit()
        and int(number) < epoch
        and line.count(b",") == head.count(b",")
    ]
    with replacing(file) as new:
        new.write_bytes(b"".join(line + b"\r\n" for line in [head, *kept] if head))


def column(file: Path, name: str) -> dict[int, float]:
    """Returns the numbers of a column by epoch, as far as there are any."""
    found = {}
    if file.is_file():
        for row in csv.DictReader(line.decode(errors="replace") for line in _lines(file)):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                found[int(row["epoch"])] = float(row[name])
    return found


def _lines(file: Path) -> list[bytes]:
    """Returns the lines that came to their end."""
    *lines, _ = file.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
    return lines or [b""]
