"""Windows of aggregates: lengths of time counted back from T, as they are written in `aggregates.yaml`."""

from __future__ import annotations

import re
from typing import NamedTuple

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
UNITS = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": WEEK_US}

# Weeks are bits of a 128-bit integer when they are counted, so no window is longer than this.
LONGEST_WEEKS = 126
_WRITTEN = re.compile(r"([1-9][0-9]{0,8})([mhdw])")


class Window(NamedTuple):
    """A length of time: how many of which unit (m minutes, h hours, d days of 24 h, w weeks)."""

    number: int
    unit: str

    @property
    def microseconds(self) -> int:
        return self.number * UNITS[self.unit]

    @property
    def weeks(self) -> int | None:
        """The length in whole weeks, or None if it is no whole number of them."""
        weeks, rest = divmod(self.microseconds, WEEK_US)
        return weeks if rest == 0 else None

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"


def parse_window(written: int | str) -> Window:
    """A window as written: a whole number is weeks, text a number with its unit.

    Raises ValueError: it is neither, or longer than LONGEST_WEEKS.
    """
    match = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
    if match is not None:
        window = Window(int(match[1]), match[2])
    elif isinstance(written, int) and not isinstance(written, bool) and written > 0:
        window = Window(written, "w")
    else:
        raise ValueError(
            f"{written!r} is no window: write a number of weeks (12), or a number with its unit, "
            '"10m" minutes, "12h" hours, "90d" days, "12w" weeks'
        )
    if window.microseconds > LONGEST_WEEKS * WEEK_US:
        raise ValueError(f"{written!r} is longer than {LONGEST_WEEKS} weeks, the longest window there is")
    return window
