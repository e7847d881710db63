"""A window as it is written: hours, quiet hours, days, holidays, a zone, and what happens outside of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from audiences.zones import EACH_USERS_OWN, Zone
from playbooks.document import Document, Name
from playbooks.suggesting import closest
from playbooks.windows import days_off
from playbooks.windows.hours import DAY, Span, SpanText, TimeText, minute_of, minutes_of, span_of

# Stands for the country of whoever gets the message.
THE_USERS = "user"

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_WHOLE_DAY = (Span(0, DAY),)


def country(value: str) -> str:
    """Return the code of a country, or of a part of one, whose holidays are known.

    Raises:
        ValueError: they are not.
    """
    if not days_off.known(value):
        whole, _, part = value.partition("-")
        if whole in days_off.supported():
            hint = closest(part, days_off.supported()[whole])
            raise ValueError(f"no holidays are known of a part {part!r} of {whole}{hint}")
        hint = closest(whole, days_off.supported())
        raise ValueError(
            f"no holidays are known of a country {whole!r}{hint}; write a code like DE, or DE-BY"
        )
    return value


Country = Annotated[str, AfterValidator(country), Field(examples=["DE", "DE-BY"])]


class Window(Document):
    """When messages may go out.

    `hours` are the spans of a day in which it is open, all day without them; a span over midnight belongs to
    the day on which it begins. `quiet` are spans in which it is closed, on every day. `days` are those on
    which a span may begin. `holidays` closes it on public holidays: of the country of the `user`, or of
    listed ones; a span that begins on a holiday is closed too. `zone` is whose clock is meant: the `user`'s,
    or a named one.

    Outside of the window a message waits until it opens (`hold`), never goes out (`skip`), or goes out at the
    time `at` of the next day on which the window is open then (`reschedule`).
    """

    id: Name
    hours: Annotated[list[SpanText], Field(max_length=24)] = []
    quiet: Annotated[list[SpanText], Field(max_length=24)] = []
    days: Annotated[list[Weekday], Field(min_length=1, max_length=7)] = [
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
    ]
    holidays: Literal["user"] | Annotated[list[Country], Field(min_length=1, max_length=50)] | None = None
    zone: Zone = EACH_USERS_OWN
    outside: Literal["hold", "skip", "reschedule"] = "hold"
    at: TimeText | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        open_ = minutes_of(self.spans) - minutes_of(self.quiet_spans)
        if not open_:
            raise ValueError("it never opens: `quiet` covers all of its hours")
        if (self.outside == "reschedule") != (self.at is not None):
            raise ValueError("`outside: reschedule` and `at`, a time of day, go together")
        if self.at is not None and minute_of(self.at) not in open_:
            raise ValueError(f"`at` {self.at} is itself outside of the window's hours")
        return self

    @cached_property
    def spans(self) -> Sequence[Span]:
        """The hours, read."""
        return tuple(span_of(one) for one in self.hours) or _WHOLE_DAY

    @cached_property
    def quiet_spans(self) -> Sequence[Span]:
        """The quiet hours, read."""
        return tuple(span_of(one) for one in self.quiet)

    @cached_property
    def weekdays(self) -> frozenset[int]:
        """The days by number, Monday 0."""
        return frozenset(WEEK.index(one) for one in self.days)
