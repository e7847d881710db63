"""What becomes of a message now, given the windows it is bound by: pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from playbooks.windows.document import Windows
from playbooks.windows.moments import LOOK_AHEAD, Place, next_at, next_open, opens
from playbooks.windows.spec import Window

# Windows close each other's openings no more often than this; each round leads at least to another opening.
_ROUNDS = 1_000


class Hold(msgspec.Struct, frozen=True):
    """The message waits until a moment, under the rule that keeps it, mostly a window's."""

    until: datetime
    rule: str


class Skip(msgspec.Struct, frozen=True):
    """The message never goes out, under the rule that says so; `elsewhere`: on another channel it might."""

    rule: str
    elsewhere: bool = False


# None: it goes out now.
Ruling = Hold | Skip | None


def rule_of(window: str) -> str:
    """Return the id under which a window holds and suppresses."""
    return f"window.{window}"


def ruling(windows: Sequence[Window], place: Place, now: datetime) -> Ruling:
    """Return what becomes of a message at a moment: it must find all of its windows open.

    One window that is closed and skips is enough to skip. Otherwise the message waits for the earliest moment
    at which all are open, those that reschedule from their `at` on; windows that are not open together
    within `LOOK_AHEAD` skip.
    """
    closed = [one for one in windows if not opens(one, place, now)]
    if not closed:
        return None
    for one in closed:
        if one.outside == "skip":
            return Skip(rule_of(one.id))
    until = _all_open(windows, place, now)
    rule = rule_of(closed[0].id)
    return Skip(rule) if until is None else Hold(until, rule)


def ruling_of(
    windows: Windows, purpose: str, named: Sequence[str], channel: str, place: Place, now: datetime
) -> Ruling:
    """Return what becomes of a message of a purpose on a channel, bound by rules and by windows it names."""
    binding = windows.of(purpose, channel, place.country, named)
    if binding is None:
        # What the version names was taken out since: nobody can say when it may go out.
        gone = next(name for name in named if windows.get(name) is None)
        return Skip(rule_of(gone))
    return ruling(binding, place, now)


def _all_open(windows: Sequence[Window], place: Place, now: datetime) -> datetime | None:
    moment = now
    for _ in range(_ROUNDS):
        closed = next((one for one in windows if not opens(one, place, moment)), None)
        if closed is None:
            return moment
        find = next_at if closed.outside == "reschedule" else next_open
        later = find(closed, place, moment)
        if later is None or later > now + LOOK_AHEAD:
            return None
        moment = later
    return None
