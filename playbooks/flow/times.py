"""How times are written in a flow: durations that last, times of day that YAML does not take for numbers."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema


def _lasting(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a wait must be longer than nothing; write for example P3D or PT2H")
    return value


def _written(value: Any) -> Any:
    # YAML 1.1 reads 20:00 without quotes as the number 1200, which would be twenty past midnight.
    if isinstance(value, int | float):
        raise ValueError('write a time of day in quotes, for example "20:00"')
    return value


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a time of day is the user's own: write it without a zone")
    return value


Lasting = Annotated[timedelta, AfterValidator(_lasting)]
# JSON Schema's own times have seconds and a zone.
_CLOCK = WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"})
TimeOfDay = Annotated[time, BeforeValidator(_written), AfterValidator(_local), _CLOCK]


def told(span: timedelta) -> str:
    """Return a duration in words.

    >>> told(timedelta(days=1, hours=2))
    '1 day 2 hours'
    """
    seconds = abs(span).total_seconds()
    parts = []
    for word, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{int(number)} {word}{'' if number == 1 else 's'}")
    return " ".join(parts) or "0 seconds"
