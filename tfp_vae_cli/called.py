"""The command as it was called, for lines that a person can type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def called() -> str:
    """Returns what was typed: `tfp-vae`, or `.venv/bin/python -m tfp_vae_cli`, or the like."""
    program = sys.argv[0]
    if Path(program).stem == "tfp-vae":
        return as_typed(program)
    return f"{as_typed(sys.executable)} -m tfp_vae_cli"


def beside(name: str) -> str:
    """Returns the words that start another program of this environment."""
    return as_typed(str(Path(sys.executable).parent / name))


def as_typed(program: str) -> str:
    """Returns the shortest words for a program: its name on the PATH, or its path from here."""
    name = Path(program).name
    found = shutil.which(name)
    if program == name or (found and os.path.abspath(found) == os.path.abspath(program)):
        return shlex.quote(name)
    path, here = os.path.abspath(program), os.getcwd()
    return shlex.quote(os.path.relpath(path) if path.startswith(here + os.sep) else path)
