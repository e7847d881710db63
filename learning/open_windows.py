"""What decisions whose windows are open teach: what they earned so far, weighed for what is still to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from audiences.liveness.repository import silent_since
from learning import lesson_repository
from learning.censoring import Came, Seen, weighed
from learning.judging import Judging, body_of
from learning.lessons import Lessons
from learning.repository import Window
from learning.rewards import Mature
from learning.rows import Rows
from learning.spec import PolicySpec
from playbooks.goal_documents import Goal
from storage.engine import Database

# Open windows that are learned from at once, those first that close first: of them most is known.
_MOST = 20_000
# Closed windows by which delays are told, the latest ones.
_CLOSED = 10_000
# What happened so lately may be on its way into the ledger.
IN_FLIGHT = timedelta(minutes=5)
# Beside what was learned of closed windows fewer open ones than this share of it change nothing much.
SHARE = 0.05

# The metrics that say from how many open windows a version learned, and in how many a success was seen.
EARLY, _SUCCESSES = "early", "early_successes"


class Early(NamedTuple):
    """Rows of open windows, and of how many a success was seen."""

    rows: Rows
    successes: int

    @property
    def metrics(self) -> dict[str, float]:
        """How a version tells of them."""
        return {EARLY: float(len(self.rows)), _SUCCESSES: float(self.successes)}

    def is_told_by(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a version of these metrics learned of as many."""
        return all(metrics.get(name, 0.0) == value for name, value in self.metrics.items())


def without_early(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what a version tells, but for its open windows."""
    return {name: value for name, value in metrics.items() if name not in (EARLY, _SUCCESSES)}


class OpenWindows:
    """Looks at the open windows of one policy's placements.

    Left out are goals whose reward may still change after a success was seen (other aggregations than the
    first outcome, outcomes that speak against more than a few decisions), goals of which too few successes
    are known to tell delays by, and those whose event is silent: there a zero says nothing.
    """

    def __init__(self, database: Database, spec: PolicySpec, judging: Judging, lessons: Lessons) -> None:
        self._database, self._judging, self._lessons = database, judging, lessons
        self._placements = sorted(spec.placements)

    def look(self, now: datetime, *, fewest: float = 0.0) -> Early:
        """Return what open windows teach now; nothing where that would be fewer rows than `fewest`.

        Raises:
            UnknownPlan, FeaturesMismatch: as `Lessons.rows`.
        """
        with self._database.read() as connection:
            windows = lesson_repository.open_windows(connection, self._placements, now, _MOST)
            silent = silent_since(connection)
        windows = [one for one in windows if self._settles(self._goal(one), silent)]
        closed = self._closed() if windows else {}
        taught, successes = [], 0
        for key, some in self._so_far(windows, now).items():
            seen = [_seen(window, mature, now) for window, mature in some]
            counts = weighed(closed.get(key, ()), seen)
            for (window, mature), one, importance in zip(some, seen, counts, strict=True):
                if importance > 0:
                    taught.append((body_of(window, mature), importance))
                    successes += one.delay is not None
        if len(taught) < fewest:
            taught, successes = [], 0
        return Early(self._lessons.early(taught), successes)

    def _so_far(self, windows: Sequence[Window], now: datetime) -> dict[str, list[tuple[Window, Mature]]]:
        found: dict[str, list[tuple[Window, Mature]]] = {}
        for window, mature in self._judging.so_far(windows, now):
            found.setdefault(self._key(window), []).append((window, mature))
        return found

    def _closed(self) -> Mapping[str, Sequence[Came]]:
        with self._database.read() as connection:
            closed = lesson_repository.closed_windows(connection, self._placements, _CLOSED)
        found: dict[str, list[Came]] = {}
        for window, reward in closed:
            succeeded = reward.outcome is not None and reward.delay is not None
            delay = timedelta(seconds=reward.delay or 0.0) if succeeded else None
            found.setdefault(self._key(window), []).append(Came(window.arm, delay, bool(reward.against)))
        return found

    def _goal(self, window: Window) -> Goal | None:
        return self._judging.decided(window).goal

    def _key(self, window: Window) -> str:
        """Return what tells goals apart: versions of a playbook may have the same."""
        goal = self._goal(window)
        return f"{window.playbook}:{'' if goal is None else goal.model_dump_json()}"

    def _settles(self, goal: Goal | None, silent: Mapping[str, datetime]) -> bool:
        if goal is None or goal.aggregation != "first":
            return False
        return goal.event not in silent


def _seen(window: Window, mature: Mature, now: datetime) -> Seen:
    succeeded = mature.outcome is not None
    age = now - window.decided_at - IN_FLIGHT
    return Seen(window.arm, age, mature.delay if succeeded else None, bool(mature.against))
