"""The command as it was called, for what it tells a person to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def called() -> str:
    """`tfp-vae`, `.venv/bin/tfp-vae` or `.venv/bin/python -m tfp_vae_cli`: what was typed."""
    program = sys.argv[0]
    if Path(program).stem == "tfp-vae":
        return as_typed(program)
    return f"{as_typed(sys.executable)} -m tfp_vae_cli"


def beside(name: str) -> str:
    """Another program of the environment that this one is in, in words that a shell takes."""
    return as_typed(str(Path(sys.executable).parent / name))


def as_typed(program: str) -> str:
    """The shortest words that start a program from the folder at hand.

    Its name where the shell finds it by that, else its path from here if it is below.
    """
    name = Path(program).name
    found = shutil.which(name)
    if program == name or (found and os.path.abspath(found) == os.path.abspath(program)):
        return shlex.quote(name)
    path, here = os.path.abspath(program), os.getcwd()
    return shlex.quote(os.path.relpath(path) if path.startswith(here + os.sep) else path)
