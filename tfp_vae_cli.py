"""The `tfp-vae` command's first step: `--help` and `--version` without importing TensorFlow.

`import tfp_vae` registers its classes with Keras and so imports TensorFlow, several seconds of it.
This module stands beside the package, since inside it Python would import the package first.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__version__ = "0.1.0"

COMMANDS = {
    "train": "Train a variational autoencoder: with no options, on real 8x8 digits.",
    "evaluate": "Print the test ELBO and log-likelihood of a run.",
    "sample": "Draw new images from a run's model.",
    "export": "Write a run's model as a SavedModel.",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code (2 for input that a person can mend)."""
    arguments = sys.argv[1:] if argv is None else argv
    first = arguments[0] if arguments else "--help"
    if first in ("-h", "--help"):
        print("usage: tfp-vae [--help] [--version] COMMAND ...\n\ncommands:")
        print("\n".join(f"  {name:<9} {text}" for name, text in COMMANDS.items()))
        print("\n`tfp-vae COMMAND --help` lists a command's options.")
        return 0
    if first == "--version":
        print(f"tfp-vae {__version__}")
        return 0
    if first not in COMMANDS:
        print(
            f"tfp-vae: error: expected one of {', '.join(COMMANDS)}. Received: {first}",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _without_greetings():
            import tensorflow as tf

            from tfp_vae.cli import run

            tf.config.list_physical_devices()  # where there is no GPU it says so, once
    except ImportError as error:
        if type(error).__name__ != "BackendError":
            raise
        print(f"tfp-vae: error: {error}", file=sys.stderr)
        return 2
    return run(arguments)


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


if __name__ == "__main__":
    sys.exit(main())
