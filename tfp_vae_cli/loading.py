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
def loading() -> Iterator[None]:
    """Says on a terminal what takes the time, and hides what TensorFlow's C++ writes meanwhile.

    TensorFlow writes some of it whatever the log level; if loading fails, it is shown. Ctrl-C ends
    the process: TensorFlow's imports may lose a KeyboardInterrupt, or make another error of it.
    """
    sys.stderr.flush()
    screen, shows = os.dup(2), sys.stderr.isatty()

    def end(number: int, frame: Any) -> None:
        os.write(screen, b"\ntfp-vae: interrupted\n" if shows else b"tfp-vae: interrupted\n")
        os._exit(130)

    takes_over = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with tempfile.TemporaryFile() as hidden:
        try:
            if takes_over:
                signal.signal(signal.SIGINT, end)
            if shows:
                os.write(screen, b"loading TensorFlow ...")
            os.dup2(hidden.fileno(), 2)
            yield
        except BaseException as error:
            if type(error).__name__ != "BackendError":
                hidden.seek(0)
                os.write(screen, hidden.read())
            raise
        finally:
            os.dup2(screen, 2)
            if takes_over:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if shows:
                os.write(screen, b"\r\x1b[K")
            os.close(screen)
