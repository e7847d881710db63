"""Watches every source of events: opens an alert for each silence and jump, and closes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection

from audiences.liveness import repository
from audiences.liveness.repository import JUMP, SILENCE, Alert, Feed
from audiences.liveness.usual import ALARM, HOUR, WEEK_HOURS, WEEKS, Usual, is_jump, silence, usual
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

_log = structlog.get_logger(__name__)

# The name under which a whole source is watched.
WHOLE = ""
# A feed has caught up when so much of what was missed has come, or when it has been back for so long: what
# was lost for good never comes.
_CAUGHT_UP = 0.8
_BACK = timedelta(hours=1)
# Jumps are looked for once a good part of an hour is there to judge by.
_LEAST_SHARE = 0.1


class AlertBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of an alert's facts. `expected` is what usually comes in the time, `seen` what came.

    Of a silence that is minutes with a sign of life when it is opened, of a jump events in the hour.
    """

    alert: str
    source: str
    name: str
    what: str
    since: datetime
    expected: float
    seen: int


class _Watched:
    """What is known of a feed: numbers by hour, and when something came last."""

    __slots__ = ("events", "last_at", "minutes", "usual_events", "usual_minutes")

    def __init__(self) -> None:
        self.events: dict[datetime, int] = {}
        self.minutes: dict[datetime, int] = {}
        self.last_at: datetime | None = None
        self.usual_events: Usual | None = None
        self.usual_minutes: Usual | None = None


class Liveness:
    """The feeds of one service. Not thread-safe: it keeps what it learned until the hour is over."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feeds: dict[Feed, _Watched] = {}
        self._hour: datetime | None = None

    def run(self, now: datetime) -> dict[str, int]:
        """Open and close alerts; return how many of each."""
        self._learn(now)
        with self._database.read() as connection:
            known = {(one.source, one.name, one.what): one for one in repository.alerts(connection)}
        opened = closed = 0
        for alert in known.values():
            closed += self._look_again(alert, now)
        silent = {source for source, name, what in known if what == SILENCE and name == WHOLE}
        # Whole sources come first: a dead source is one cause, not one for each of its events.
        for feed in sorted(self._feeds, key=lambda one: (one[1] != WHOLE, one)):
            source, name = feed
            if (source, name, SILENCE) not in known and (name == WHOLE or source not in silent):
                found = self._silent(feed, now)
                if found is not None:
                    opened += self._open(found, now)
                    silent |= {source} if name == WHOLE else set()
            if (source, name, JUMP) not in known and name != WHOLE:
                found = self._jumped(feed, now)
                if found is not None:
                    opened += self._open(found, now)
        return {"opened": opened, "closed": closed}

    def describe(self, now: datetime) -> list[dict[str, Any]]:
        """Return every feed: what came this hour, what usually comes, its state and since when."""
        self._learn(now)
        with self._database.read() as connection:
            known = {(one.source, one.name): one for one in repository.alerts(connection)}
        hour = _hour(now)
        told = []
        for (source, name), watched in sorted(self._feeds.items()):
            alert = known.get((source, name)) or known.get((source, WHOLE))
            mean = watched.usual_events.mean(hour) if watched.usual_events else float("nan")
            learning = mean != mean  # noqa: PLR0124 - NaN alone differs from itself
            told.append(
                {
                    "source": source,
                    "name": name or None,
                    "this_hour": watched.events.get(hour, 0),
                    "last_hour": watched.events.get(hour - HOUR, 0),
                    "usual_this_hour": None if learning else round(mean, 2),
                    "state": alert.what if alert else "learning" if learning else "live",
                    "since": alert.since if alert else None,
                    "last_at": watched.last_at,
                }
            )
        return told

    def silent(self, event: str) -> datetime | None:
        """Return since when the feed of an event has been silent, None if it is not."""
        with self._database.read() as connection:
            return repository.silent_since(connection).get(event)

    def _learn(self, now: datetime) -> None:
        """Read what came since the last look, and work out anew what is usual once an hour."""
        hour = _hour(now)
        fresh = self._hour == hour
        since = hour - HOUR if fresh else hour - (WEEKS * WEEK_HOURS + 1) * HOUR
        feeds = self._feeds if fresh else {}
        touched: dict[Feed, set[datetime]] = {}
        with self._database.read() as connection:
            for source, name, at, events, minutes, last in repository.volumes(connection, since):
                for feed in ((source, name), (source, WHOLE)):
                    watched = feeds.setdefault(feed, _Watched())
                    # The rows of a whole source are those of its names together.
                    again = at in touched.setdefault(feed, set())
                    touched[feed].add(at)
                    watched.events[at] = events + (watched.events[at] if again else 0)
                    watched.minutes[at] = max(minutes, watched.minutes[at] if again else 0)
                    if last is not None and (watched.last_at is None or last > watched.last_at):
                        watched.last_at = last
        for watched in feeds.values():
            if watched.usual_events is None or watched.usual_minutes is None:
                watched.usual_events = usual(watched.events, hour)
                watched.usual_minutes = usual(watched.minutes, hour)
        self._feeds, self._hour = feeds, hour

    def _silent(self, feed: Feed, now: datetime) -> Alert | None:
        watched = self._feeds[feed]
        if watched.usual_minutes is None or watched.last_at is None:
            return None
        probability, expected = silence(watched.usual_minutes, watched.last_at, now)
        if probability >= ALARM:
            return None
        return self._alert(feed, SILENCE, watched.last_at, expected, now)

    def _jumped(self, feed: Feed, now: datetime) -> Alert | None:
        watched = self._feeds[feed]
        for hour, share in _recent(now):
            number = watched.events.get(hour, 0)
            if watched.usual_events and is_jump(watched.usual_events, hour, number, share):
                expected = watched.usual_events.mean(hour) * share
                return self._alert(feed, JUMP, hour, expected, now)
        return None

    def _alert(self, feed: Feed, what: str, since: datetime, expected: float, now: datetime) -> Alert:
        source, name = feed
        names = [name] if name != WHOLE else [one for of, one in self._feeds if of == source and one != WHOLE]
        return Alert(
            source,
            name,
            what,
            new_id(now),
            since,
            now,
            expected,
            self._arrived(feed, since),
            None,
            tuple(sorted(names)),
        )

    def _arrived(self, feed: Feed, since: datetime) -> int:
        """Return how many events arrived since the hour of a moment."""
        watched = self._feeds.get(feed)
        if watched is None:
            return 0
        return sum(number for hour, number in watched.events.items() if hour >= _hour(since))

    def _look_again(self, alert: Alert, now: datetime) -> int:
        """Close an alert whose cause is gone; return whether it was."""
        feed = (alert.source, alert.name)
        watched = self._feeds.get(feed)
        if watched is None or watched.last_at is None:
            return 0
        if alert.what == JUMP:
            return 0 if self._jumped(feed, now) else self._close(alert, now)
        if watched.last_at <= alert.since:
            return 0
        resumed = alert.resumed_at
        if resumed is None:
            resumed = now
            self._database.write(partial(repository.resume_alert, alert=alert, moment=now))
        missed = _expected(watched, alert.since, resumed)
        came = self._arrived(feed, alert.since) - alert.seen
        if came < _CAUGHT_UP * missed and now - resumed < _BACK:
            return 0
        return self._close(alert, now)

    def _open(self, alert: Alert, now: datetime) -> int:
        def work(connection: Connection) -> None:
            repository.open_alert(connection, alert)
            ledger.append(connection, [_fact(alert, "opened", alert.seen, now)], now)

        self._database.write(work, rows=2)
        said = "events stopped" if alert.what == SILENCE else "far more events than usual"
        _log.warning(
            said, source=alert.source, event_name=alert.name or None, since=alert.since.isoformat(),
            usual=round(alert.expected, 1),
        )  # fmt: skip
        return 1

    def _close(self, alert: Alert, now: datetime) -> int:
        came = self._arrived((alert.source, alert.name), alert.since) - alert.seen

        def work(connection: Connection) -> bool:
            there = repository.close_alert(connection, alert)
            if there:
                ledger.append(connection, [_fact(alert, "closed", came, now)], now)
            return there

        if not self._database.write(work, rows=2):
            return 0
        _log.info("events are as usual again", source=alert.source, event_name=alert.name or None)
        return 1


def _fact(alert: Alert, step: str, seen: int, now: datetime) -> NewFact:
    body = AlertBody(alert.alert_id, alert.source, alert.name, alert.what, alert.since, alert.expected, seen)
    return NewFact(Kind.ALERT, f"{alert.alert_id}:{step}", f"{alert.what}_{step}", None, now, body)


def _expected(watched: _Watched, since: datetime, until: datetime) -> float:
    """Return how many events usually come between two moments."""
    if watched.usual_events is None:
        return 0.0
    expected, hour = 0.0, _hour(since)
    while hour < until:
        share = (min(hour + HOUR, until) - max(hour, since)) / HOUR
        expected += watched.usual_events.mean(hour) * share
        hour += HOUR
    return expected


def _recent(now: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the last two hours and which share of each is over."""
    hour = _hour(now)
    share = (now - hour) / HOUR
    if share >= _LEAST_SHARE:
        yield hour, share
    yield hour - HOUR, 1.0


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
