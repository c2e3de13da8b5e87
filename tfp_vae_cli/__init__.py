"""The `tfp-vae` command's first step: what can be said or refused before TensorFlow is imported.

`import tfp_vae` registers its classes with Keras and so imports TensorFlow, several seconds of it.
This package stands beside that one, since inside it Python would import the other first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

__version__ = "0.1.0"

COMMANDS = {
    "train": "Train a variational autoencoder: with no options, on real 8x8 digits.",
    "evaluate": "Print the test ELBO and log-likelihood of a run.",
    "sample": "Draw new images from a run's model.",
    "export": "Write a run's model as a SavedModel.",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code (2 for input that a person can mend)."""
    from tfp_vae_cli import failure

    words = list(sys.argv[1:] if argv is None else argv)
    arguments = [word for word in words if word != "--debug"]
    failure.open_screen()
    try:
        try:
            code = _main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        failure.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = failure.told(error, " ".join(arguments[:1]), debug=words != arguments)
        with contextlib.suppress(OSError):
            failure.flush()
    return code


def _main(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print("usage: tfp-vae [--help] [--version] [--debug] COMMAND ...\n\ncommands:")
        print("\n".join(f"  {name:<9} {text}" for name, text in COMMANDS.items()))
        print("\n`tfp-vae COMMAND --help` lists a command's options; --debug shows tracebacks.")
        return 0
    if first == "--version":
        print(f"tfp-vae {__version__}")
        return 0
    from tfp_vae_cli import folders, reading
    from tfp_vae_cli.refusal import Refusal, did_you_mean

    if first not in COMMANDS:
        hint = did_you_mean(first, COMMANDS)
        raise Refusal(f"expected one of {', '.join(COMMANDS)}.{hint}", first)
    given = reading.given(first, arguments[1:])
    if not given.asks:
        folders.check(first, given)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what fails is raised too
    with _a_sign_of_life(), _without_greetings():
        import tensorflow as tf

        from tfp_vae.app.cli import run

        tf.config.list_physical_devices()  # where there is no GPU it says so, once
    return run(first, given)


@contextlib.contextmanager
def _a_sign_of_life() -> Iterator[None]:
    """Says on a terminal what takes the time, and lets Ctrl-C end the process while it does.

    A KeyboardInterrupt within TensorFlow's imports may be lost, or come out as another error.
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
def _without_greetings() -> Iterator[None]:
    """Keeps off the screen what TensorFlow's C++ writes while it is loaded, whatever the log level.

    Where loading fails it is shown, all of it.
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
