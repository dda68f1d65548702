"""The id that follows a request through answer, logs and the prediction log."""

from __future__ import annotations

import itertools
import secrets

LONGEST = 80
_process = secrets.token_hex(8)
_numbers = itertools.count()


def request_id(given: str | None) -> str:
    """The client's own id where it can be kept as text, else a new one: unique, and cheap to make."""
    if given and len(given) <= LONGEST and given.isprintable():
        return given
    return f"{_process}-{next(_numbers)}"
