"""One user's values as rules compute with them.

A number becomes a float and a timestamp whole microseconds since 1970, both NaN when missing; text,
conditions and lists stay as they are, None when missing. NaN handed in counts as missing everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import SupportsFloat

import numpy as np

from audiences.rules.errors import RuleValueError
from audiences.rules.schema import Type

NAN = math.nan
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Held = float | int | str | bool | list[str] | list[float] | None


def missing(value: object) -> bool:
    """Whether a value is None, NaN or NaT."""
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, datetime | np.datetime64):
        return value != value  # noqa: PLR0124 - NaT alone differs from itself
    return value is None


def number(name: str, value: object) -> float:
    """A number as a float; NaN for None. Raises RuleValueError for what isn't a number."""
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if value is None:
        return NAN
    if isinstance(value, SupportsFloat) and not isinstance(value, str | np.datetime64 | np.timedelta64):
        return float(value)
    raise _misfit(name, Type.NUMBER, value)


def text(name: str, value: object) -> str | None:
    """A text, None for None or NaN. Raises RuleValueError for what isn't text."""
    if missing(value):
        return None
    if not isinstance(value, str):
        raise _misfit(name, Type.TEXT, value)
    return str(value)


def condition(name: str, value: object) -> bool | None:
    """True or False, None for None or NaN. Raises RuleValueError for what isn't a truth value."""
    if missing(value):
        return None
    if not isinstance(value, bool | np.bool_):
        raise _misfit(name, Type.BOOL, value)
    return bool(value)


def moment(name: str, value: object) -> float:
    """Microseconds since 1970 (an int) of an aware datetime, a datetime64 or an int; NaN for None.

    Raises RuleValueError for naive datetimes and for what isn't a time.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        since = value - EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if missing(value):
        return NAN
    if isinstance(value, datetime):
        raise RuleValueError(f'the value of "{name}" is a time without a zone: give an aware datetime')
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    if isinstance(value, int | np.integer):
        return int(value)
    raise _misfit(name, Type.TIMESTAMP, value)


def clock(now: datetime | None) -> int:
    """Microseconds of `now`. Raises RuleValueError without one, or for a naive one."""
    if now is None:
        raise RuleValueError("a rule uses now() or days_since(…): give the moment as now=…")
    return int(moment("now", now))


def texts(name: str, value: object) -> list[str] | None:
    """The texts of a list, missing ones left out; None for None."""
    if value is None:
        return None
    return [
        kept for kept in (text(name, item) for item in _items(name, Type.TEXTS, value)) if kept is not None
    ]


def numbers(name: str, value: object) -> list[float] | None:
    """The numbers of a list, missing ones left out; None for None."""
    if value is None:
        return None
    return [
        kept
        for kept in (number(name, item) for item in _items(name, Type.NUMBERS, value))
        if not math.isnan(kept)
    ]


def _items(name: str, kind: Type, value: object) -> Iterable[object]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _misfit(name, kind, value)
    return value


def _misfit(name: str, kind: Type, value: object) -> RuleValueError:
    return RuleValueError(
        f'the value of "{name}" is {type(value).__name__}, and must be {kind.phrase} or None'
    )


HELD: dict[Type, Callable[[str, object], Held]] = {
    Type.NUMBER: number,
    Type.TEXT: text,
    Type.BOOL: condition,
    Type.TIMESTAMP: moment,
    Type.TEXTS: texts,
    Type.NUMBERS: numbers,
}
