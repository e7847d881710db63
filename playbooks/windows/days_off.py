"""Public holidays by country, from the `holidays` package; a calendar is made when it is first asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def supported() -> Mapping[str, Sequence[str]]:
    """Return the countries whose holidays are known (ISO 3166-1), with their parts (ISO 3166-2)."""
    import holidays  # noqa: PLC0415 - a second, and only for libraries with holidays

    return {
        country: tuple(parts)
        for country, parts in holidays.list_supported_countries(include_aliases=False).items()
    }


def known(code: str) -> bool:
    """Whether the holidays of a country `DE`, or of its part `DE-BY`, are known."""
    country, _, part = code.partition("-")
    return country in supported() and (not part or part in supported()[country])


def prepare(codes: Iterable[str]) -> None:
    """Make the calendars of some countries now: that takes seconds, in which nobody should wait for them."""
    for code in codes:
        is_holiday(date(2026, 1, 1), code)


def is_holiday(day: date, code: str) -> bool:
    """Whether a day is a public holiday in a country `DE` or its part `DE-BY`; False where none are known."""
    return known(code) and day in _calendar(code)


@lru_cache(maxsize=256)
def _calendar(code: str) -> Any:
    import holidays  # noqa: PLC0415 - as above

    country, _, part = code.partition("-")
    # It works out each year when a day of it is asked for.
    return holidays.country_holidays(country, subdiv=part or None)
