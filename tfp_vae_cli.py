"""The `tfp-vae` command's first step: `--help` and `--version` without importing TensorFlow.

`import tfp_vae` registers its classes with Keras and so imports TensorFlow, several seconds of it.
This module stands beside the package, since inside it Python would import the package first.
"""

import os
import sys

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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own greetings
    try:
        from tfp_vae.cli import run
    except ImportError as error:
        if type(error).__name__ != "BackendError":
            raise
        print(f"tfp-vae: error: {error}", file=sys.stderr)
        return 2
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
