"""The number under which a request is found in the log."""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from itertools import count

_process = secrets.token_hex(4)
_numbers = count(1)
_number: ContextVar[int | None] = ContextVar("nextplay_request", default=None)


def begin_request() -> None:
    """Give what runs in this context from now on a number of its own."""
    _number.set(next(_numbers))


def request_id() -> str | None:
    """Return the id of the request that is being answered here, None outside of any.

    It is ours, never the client's, who could write anything into it.
    """
    number = _number.get()
    return None if number is None else f"{_process}-{number:x}"
