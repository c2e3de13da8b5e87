"""What a person sees while TensorFlow loads."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def a_sign_of_life() -> Iterator[None]:
    """Says on a terminal what takes the time, and lets Ctrl-C end the process meanwhile.

    TensorFlow's imports may lose a KeyboardInterrupt, or turn it into another error.
    """
    screen = os.dup(2)
    shows = sys.stderr.isatty()

    def end(number: int, frame: Any) -> None:
        os.write(screen, b"\ntfp-vae: interrupted\n" if shows else b"tfp-vae: interrupted\n")
        os._exit(130)

    takes_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if takes_over:
            signal.signal(signal.SIGINT, end)
        if shows:
            os.write(screen, b"loading TensorFlow ...")
        yield
    finally:
        if takes_over:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if shows:
            os.write(screen, b"\r\x1b[K")
        os.close(screen)


@contextlib.contextmanager
def without_greetings() -> Iterator[None]:
    """Hides what TensorFlow's C++ writes to the screen while it loads; shows it if loading fails.

    TensorFlow writes some of it whatever the log level.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException as error:
            os.dup2(screen, 2)
            if type(error).__name__ != "BackendError":
                kept.seek(0)
                sys.stderr.write(kept.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
