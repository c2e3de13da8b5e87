"""The folder of a run: made, locked, and taken away where nothing came of the run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import filelock

from tfp_vae.errors import InputError
from tfp_vae_cli.folders import check_new, left_in


class RunFolder:
    """The folder of one training run.

    Attributes:
      path: the folder.
      figures: its folder of figures, which holds files of a run that was killed, too.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.figures = self.path / "figures"
        self._lock = self.path / ".lock"
        self._made_here: list[Path] = []  # the innermost first
        self._is_new = False

    @classmethod
    def next(cls, stem: str) -> Self:
        """Makes the first folder of `stem-1`, `stem-2`, ... that is not there.

        Making the folder is what chooses it: two processes never get the same.
        """
        number = 1
        while True:
            run = cls(f"{stem}-{number}")
            try:
                run._make()
            except FileExistsError:
                number += 1
            else:
                return run

    def must_be_new(self) -> None:
        """Raises `Refusal` where the folder is there and holds something."""
        check_new(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder if need be, and keeps other processes from work on this run.

        The operating system gives the lock back when the process ends, however that comes. Folders
        that were made here and hold nothing are taken away again.

        Raises:
          InputError: another process is at work on the run.
        """
        self._make(exist_ok=True)
        self._is_new = not left_in(self.path)
        lock = filelock.FileLock(self._lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            what = "Expected a run that no other process is at work on."
            raise InputError(what, self.path) from None
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

    def _clear_if_new(self) -> None:
        """Takes away what a run has left in a folder that held nothing before."""
        if self._is_new:
            for left in set(self.path.iterdir()) - {self._lock}:
                shutil.rmtree(left) if left.is_dir() else left.unlink()

    def _make(self, exist_ok: bool = False) -> None:
        parents = [folder for folder in self.path.parents if not folder.exists()]
        is_there = self.path.exists()
        self.path.mkdir(parents=True, exist_ok=exist_ok)
        self._made_here += parents if is_there else [self.path, *parents]
