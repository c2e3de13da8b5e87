"""The error that a person can mend: wrong data, wrong shapes, a wrong name."""

from typing import Any

from tfp_vae_cli.refusal import Refusal

_LONGEST = 400  # characters of a value in a message: enough to know it by


class InputError(Refusal):
    """What was given cannot be used. The message says what was expected and what was received.

    A `ValueError`. The command line prints it as one line and exits with code 2.
    """

    # Keras appends to other errors, within a layer's call, what the layer was called with: many
    # lines after the one that says what to do.
    _keras_call_info_injected = True

    def __init__(self, expected: str, received: Any = None) -> None:
        text = "" if received is None else str(received)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]} ... ({len(text):,} characters)"
        super().__init__(f"{expected} Received: {text}" if text else expected)


class InputTypeError(InputError, TypeError):
    """An `InputError` about what kind of thing was given: a `TypeError` too, as Python has it."""
