"""Errors in words: one line for each."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import traceback

from tfp_vae_cli.refusal import Refusal

_MOST = 2000  # letters of a message: all recipes have room
_DEFECT = 70  # as sysexits.h has it for a program's own faults


def told(error: BaseException, command: str, debug: bool = False) -> int:
    """Prints an error on one line, and the traceback if asked for; returns the exit code."""
    if isinstance(error, BrokenPipeError):  # who read has seen enough
        return 0
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        text, code = "interrupted", 128 + int(getattr(error, "number", signal.SIGINT))
    else:
        words, code = _words(error)
        text = f"error: {words}"
    with contextlib.suppress(OSError):
        print(f"tfp-vae {command}: {text}", file=sys.stderr, flush=True)
    return code


def _words(error: BaseException) -> tuple[str, int]:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"{where}{error.strerror}{_MAKE_ROOM if full else ''}", 2
    of_tensorflow = getattr(sys.modules.get("tensorflow"), "errors", None)
    is_op = of_tensorflow is not None and isinstance(error, of_tensorflow.OpError)
    text = error.message if is_op else str(error)  # type: ignore[attr-defined]
    text = " ".join(re.sub(r"\{\{.*?\}\}|\[Op:.*", "", text).split())  # where it was in a graph
    text = text if len(text) <= _MOST else f"{text[:_MOST]} ..."
    if "No space left on device" in text:
        return f"{text}{_MAKE_ROOM}", 2
    out_of_memory = is_op and isinstance(error, of_tensorflow.ResourceExhaustedError)  # type: ignore[union-attr]
    if out_of_memory or isinstance(error, MemoryError):
        return f"there is not enough memory: {_LESS}", 2
    if is_op or isinstance(error, (Refusal, OSError)):
        return text, 2
    return f"{type(error).__name__}: {text}. {_UNFORESEEN}", _DEFECT


_LESS = "expected less at once (--widths, --batch_size, --num)."
_UNFORESEEN = "Nobody expected this: --debug shows where, for a report to the makers of tfp-vae."
_MAKE_ROOM = " (what was there before is still there: make room, and do it again or --resume)"


def open_screen() -> None:
    """Opens standard output and error where they were closed, so that they can be written to."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would get its number
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def flush() -> None:
    """Writes out what was printed, if anybody reads.

    Raises:
      OSError: there is no room; Python will not try again.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "standard output") from None
