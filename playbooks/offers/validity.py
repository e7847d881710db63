"""Until when a coupon is good: for a while, until a fixed moment, or to the end of a day of the user's."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, field_validator, model_validator

from playbooks.document import Document

# A coupon that never expires in practice, where a validity leads beyond the calendar.
NEVER = datetime.max.replace(tzinfo=UTC)

_FORMS = ("for", "until", "end_of_day")


class Validity(Document):
    """Just one of: `for` a duration, `until` an instant, to the `end_of_day` of the user's.

    `end_of_day: 0` is the day on which the coupon is issued, 1 the next one, each in the user's own zone.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    for_: Annotated[timedelta | None, Field(alias="for")] = None
    until: AwareDatetime | None = None
    end_of_day: Annotated[int | None, Field(ge=0, le=366)] = None

    @field_validator("for_")
    @classmethod
    def _lasting(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta(0):
            raise ValueError("a coupon must be good for a while; write for example P14D or PT2H")
        return value

    @field_validator("until")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _said_once(self) -> Validity:
        given = [name for name, one in zip(_FORMS, self._values, strict=True) if one is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"just one of {', '.join(_FORMS)} is to be given, not {said}")
        return self

    @property
    def _values(self) -> tuple[object, object, object]:
        return self.for_, self.until, self.end_of_day

    def over(self, now: datetime) -> bool:
        """Whether a coupon issued now would be good for no time at all."""
        return self.until is not None and self.until <= now


def ends(validity: Validity, issued_at: datetime, zone: tzinfo) -> datetime:
    """Return the moment (UTC, exclusive) at which a coupon ends that was issued at another.

    A day ends at the first instant of the next one on the user's clock, also where midnight is skipped or
    comes twice. What leads beyond the calendar ends at `NEVER`. A fixed end may be before the issue
    (see `Validity.over`).

    Args:
        zone: the user's own.
    """
    if validity.until is not None:
        return validity.until
    try:
        if validity.for_ is not None:
            return issued_at + validity.for_
        day = issued_at.astimezone(zone).date() + timedelta(days=(validity.end_of_day or 0) + 1)
        return first_instant(day, zone)
    except OverflowError:
        return NEVER


def first_instant(day: date, zone: tzinfo) -> datetime:
    """Return the first instant at which the clocks of a zone show this day, or a later one.

    A skipped midnight is read with the clocks before the change (PEP 495), which is the change itself; of
    two midnights the first counts.
    """
    return datetime.combine(day, time.min, tzinfo=zone).replace(fold=0).astimezone(UTC)
