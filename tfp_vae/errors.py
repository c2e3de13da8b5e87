"""The errors of wrong data, wrong shapes, and wrong names."""

from typing import Any

from tfp_vae_cli.refusal import Refusal

_LONGEST = 400  # characters of a value in a message


class InputError(Refusal):
    """A `ValueError` whose message says what was expected, and what was received.

    The command line prints the message as one line and exits with code 2.
    """

    # Else Keras appends the arguments of a layer's call, in many lines.
    _keras_call_info_injected = True

    def __init__(self, expected: str, received: Any = None) -> None:
        text = "" if received is None else str(received)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]} ... ({len(text):,} characters)"
        super().__init__(f"{expected} Received: {text}" if text else expected)


class InputTypeError(InputError, TypeError):
    """An `InputError` about the type of a value: a `TypeError` too."""
