"""Times of day and spans of them, as windows write them: `09:00-20:00`, `22:00-06:00` over midnight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field

# Minutes of a day on the clock, whatever the clock does that day.
DAY = 24 * 60

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_SPAN = re.compile(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})", re.ASCII)


class Span(msgspec.Struct, frozen=True):
    """From `start` (inclusive) to `end` (exclusive), minutes after local midnight, each within 0 and 1440.

    Where the end is not after the start, it is that of the next day.
    """

    start: int
    end: int

    @property
    def over_midnight(self) -> bool:
        """Whether it ends on the day after it began."""
        return self.end <= self.start


def minute_of(text: str) -> int:
    """Return the minute of the day that `09:30` names.

    Raises:
        ValueError: it names none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day; write it as '09:30', in quotes")
    return int(found[1]) * 60 + int(found[2])


def span_of(text: str) -> Span:
    """Return the span that `09:00-20:00` names; it may end at `24:00`.

    Raises:
        ValueError: it names none, or one of no length.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of a day; write it as '09:00-20:00'")
    start = minute_of(found[1])
    end = DAY if found[2] == "24:00" else minute_of(found[2])
    if start == end:
        raise ValueError(f"{text!r} has no length; the whole day is '00:00-24:00'")
    return Span(start, end)


def minutes_of(spans: Sequence[Span]) -> frozenset[int]:
    """Return the minutes of a day that are within some of the spans, those after midnight included."""
    found: set[int] = set()
    for span in spans:
        found.update(range(span.start, DAY if span.over_midnight else span.end))
        if span.over_midnight:
            found.update(range(span.end))
    return frozenset(found)


def _text(value: Any) -> Any:
    # YAML reads 10:00 as the number 600.
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("YAML takes this for a number; write a time of day in quotes: '10:00'")
    return value


def _spelt(value: str) -> str:
    span_of(value)
    return value


def _timely(value: str) -> str:
    minute_of(value)
    return value


SpanText = Annotated[
    str, AfterValidator(_spelt), BeforeValidator(_text), Field(examples=["09:00-20:00", "22:00-06:00"])
]
TimeText = Annotated[str, AfterValidator(_timely), BeforeValidator(_text), Field(examples=["10:00"])]
