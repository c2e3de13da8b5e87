"""The error that a person can mend: wrong data, wrong shapes, a wrong name."""

from typing import Any


class InputError(ValueError):
    """What was given cannot be used. The message says what was expected and what was received.

    The command line prints it as one line and exits with code 2; any other exception is a defect
    and keeps its traceback.
    """

    def __init__(self, expected: str, received: Any = None) -> None:
        ending = "" if received is None else f" Received: {received}"
        super().__init__(f"{expected}{ending}")
