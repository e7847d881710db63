"""What of a user's uses matters to matching: how many lie in each window, and where a limit is reached; pure.

When exactly somebody used something tells them apart from everybody else. But a limit is reached or not, and
records keep counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from playbooks.constraints.binding import Terms
from playbooks.constraints.counting import Uses
from playbooks.constraints.documents import Calendar
from playbooks.constraints.windows import length
from storage.times import to_micros


class Pattern(NamedTuple):
    """Users with equal `limits` are alike to matching, those with equal `counts` also to the record."""

    limits: Hashable
    counts: Hashable


_NOTHING = Pattern((), ())


class UsePatterns:
    """Tells by their uses apart whom limits of these terms tell apart."""

    def __init__(self, terms: Sequence[Terms]) -> None:
        windows: dict[timedelta | Calendar, int] = {}
        # Windows, by their places, and limits of what is counted under a name; none where it only counts.
        self._limits: dict[str, set[tuple[int, int]]] = {}
        for under in terms:
            for one in under.counted:
                place = windows.setdefault(one.window, len(windows))
                for arm in under.arms:
                    known = self._limits.setdefault(one.key(arm), set())
                    if one.stops != frozenset():
                        known.add((place, one.limit))
        self._windows = tuple(windows)
        # What contacts take from a value fades from moment to moment.
        self._by_moment = any(one.tiring for one in terms)

    def begins(self, zone: str, now: datetime) -> list[int]:
        """Return after which moment (microseconds) a use counts, in each window on a zone's clock."""
        return [to_micros(now - length(window, ZoneInfo(zone), now)) for window in self._windows]

    def of(self, uses: Uses, begins: Sequence[int]) -> Pattern:
        """Return the pattern of a user's uses."""
        if not uses:
            return _NOTHING
        counts: list[tuple[str, Hashable]] = []
        reached: list[tuple[str, Hashable]] = []
        for name in sorted(uses):
            limits = self._limits.get(name)
            if limits is None:
                continue
            moments = uses[name]
            own = tuple([sum([moment > begin for moment in moments]) for begin in begins])
            counts.append((name, own))
            if any(own[place] >= limit for place, limit in limits):
                reached.append((name, own))
        if self._by_moment:
            return Pattern(tuple([(name, tuple(uses[name])) for name in sorted(uses)]), tuple(counts))
        return Pattern(tuple(reached), tuple(counts))
