"""The entry point of `tfp-vae`: checks the words, then imports TensorFlow and does the work."""

from __future__ import annotations

import contextlib
import os
import sys

from tfp_vae_cli import __version__, failure


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code: 2 for input that a person can mend."""
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
    if first == "--version":
        print(f"tfp-vae {__version__}")
        return 0
    from tfp_vae_cli import folders, reading, texts
    from tfp_vae_cli.options import COMMANDS
    from tfp_vae_cli.refusal import Refusal, did_you_mean

    if first in ("-h", "--help"):
        print(texts.overview())
        return 0
    if first not in COMMANDS:
        hint = did_you_mean(first, COMMANDS)
        raise Refusal(f"expected one of {', '.join(COMMANDS)}.{hint}", first)
    given = reading.given(first, arguments[1:])
    text = texts.asked(given)
    if text is not None:
        print(text)
        return 0
    if not given.asks:
        folders.check(first, given)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what fails is raised too
    from tfp_vae_cli.loading import loading

    with loading():
        import tensorflow as tf

        from tfp_vae.app.cli import run

        tf.config.list_physical_devices()  # without a GPU TensorFlow says so, once
    return run(given)
