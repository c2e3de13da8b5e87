"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Gives a name beside a file, to write what takes its place: all of it, or nothing changes."""
    new = file.with_name(f"{file.stem}.new{file.suffix}")
    with naming(file):
        if file.exists() and not file.is_file():  # a device
            yield file
            return
        try:
            yield new
            os.replace(new, file)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink()
            raise


@contextlib.contextmanager
def naming(file: Path) -> Iterator[None]:
    """Names the file in an error of the operating system that does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None or error.errno == errno.ENOSPC:
            error.filename = str(file)
        raise
