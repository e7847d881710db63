"""How things stand, read when somebody scrapes: queues, ages and sizes, each by one cheap query.

What was read is kept for a few seconds, so any number of scrapers costs the same. Counts of queues stop at
`COUNT_LIMIT`: a backlog of millions need not be walked through to know that it is one. What can't be read is
left out of the answer and counted in `nextplay_scrape_failures`; the rest is answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Select, Table, func, select

from audiences.liveness.repository import JUMP, SILENCE, alerts
from decision.delivering import kinds_of, management_of
from decision.processes import API
from delivery.channels.management.health import MINUTES, health
from delivery.tables import enrolments, outbox
from learning.portfolio_learner import PortfolioLearner
from learning.tables import policies
from learning.vw_learner import VwLearner
from storage.engine import Database
from storage.sqlite_writer import SqliteWriter
from storage.writer import PooledWriter

if TYPE_CHECKING:
    from decision.wiring import Service

_log = structlog.get_logger(__name__)

CACHE_SECONDS = 4.0
COUNT_LIMIT = 20_000

# A value by label values; without labels the only key is ().
Values = Mapping[tuple[str, ...], float]


class Standing(Collector):
    """Reads how a service stands."""

    def __init__(self, service: Service, readers: Iterable[str] = ()) -> None:
        """`readers`: names of the parts to read; none: all."""
        self._service = service
        self._readers = frozenset(readers or READERS)
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, at most `CACHE_SECONDS` old."""
        with self._lock:
            if time.monotonic() - self._read_at >= CACHE_SECONDS:
                self._kept = list(self._read())
                self._read_at = time.monotonic()
            return self._kept

    def _read(self) -> Iterator[Metric]:
        for read, families in _READERS:
            if read.__name__ not in self._readers:
                continue
            try:
                found = read(self._service)
            except Exception as error:  # noqa: BLE001 - a part that can't be read must not hide the others
                self._failures[read.__name__] = self._failures.get(read.__name__, 0) + 1
                _log.warning("can't be measured", part=read.__name__, kind=type(error).__name__)
                continue
            for (name, help_, labels), values in zip(families, found, strict=True):
                family = GaugeMetricFamily(name, help_, labels=labels)
                for key, value in values.items():
                    family.add_metric(key, value)
                yield family
        failures = CounterMetricFamily(
            "nextplay_scrape_failures", "Parts that could not be measured.", labels=["part"]
        )
        for part, number in self._failures.items():
            failures.add_metric([part], number)
        yield failures


def writer(service: Service) -> tuple[Values]:
    """Rows waiting in each lane."""
    queue = service.database.writer
    if not isinstance(queue, SqliteWriter | PooledWriter):
        return ({},)
    return ({(lane.name.lower(),): rows for lane, rows in queue.waiting_rows.items()},)


def delivery(service: Service) -> tuple[Values, Values, Values, Values]:
    """Due enrolments and their delay; messages on their way out by state, and their delay."""
    now = service.clock.now()
    with service.database.read() as connection:
        due = _some(enrolments, enrolments.c.due_at <= now).subquery()
        waiting = connection.execute(select(func.count()).select_from(due)).scalar_one()
        first_due = connection.execute(_earliest(enrolments.c.due_at)).scalar()
        open_ = _some(outbox, outbox.c.available_at.is_not(None), outbox.c.state).subquery()
        states = connection.execute(select(open_.c.state, func.count()).group_by(open_.c.state))
        depth: Values = {(state,): float(number) for state, number in states}
        first_open = connection.execute(_earliest(outbox.c.available_at)).scalar()
    return {(): waiting}, {(): _delay(first_due, now)}, depth, {(): _delay(first_open, now)}


def channels(service: Service) -> tuple[Values, ...]:
    """What waits on each channel and for how long, whether its breaker is open, and what came of it."""
    specs, now = service.files.channels, service.clock.now()
    managed = management_of(specs)
    with service.database.read() as connection:
        found = [health(connection, name, kind, managed[name], now) for name, kind in kinds_of(specs).items()]
    return (
        {(one.name,): float(one.waiting) for one in found},
        {(one.name,): _delay(one.oldest_at, now) for one in found},
        {(one.name,): float(one.state in ("broken", "probing")) for one in found},
        {
            (one.name, outcome): float(one.minutes[outcome])
            for one in found
            for outcome in ("taken", "refused", "failed", "busy")
        },
        {(one.name, span): float(quota["left"]) for one in found for span, quota in one.quota.items()},
    )


def policy(service: Service) -> tuple[Values, Values]:
    """Versions published of each policy, and the age of the one that decides."""
    if API not in service.process.roles:
        return {}, {}
    serving = service.decider.snapshot.policy.version
    with service.database.read() as connection:
        numbers = connection.execute(
            select(policies.c.policy, func.max(policies.c.number)).group_by(policies.c.policy)
        )
        published: Values = {(name,): float(number) for name, number in numbers}
        created = connection.execute(
            select(policies.c.created_at).where(policies.c.version == serving)
        ).scalar()
    age = (service.clock.now() - created).total_seconds() if created else float("nan")
    return published, {(): age}


def learner(service: Service) -> tuple[Values, Values]:
    """Whether the learner's processes run, and how many were lost. They start with the first rewards."""
    learner = service.training.learner if service.training is not None else None
    members = learner.members.values() if isinstance(learner, PortfolioLearner) else [learner]
    processes = [one for one in members if isinstance(one, VwLearner)]
    if not processes:
        return {}, {}
    up = all(one.pid is not None for one in processes)
    return {(): float(up)}, {(): float(sum(max(0, one.starts - 1) for one in processes))}


def features(service: Service) -> tuple[Values]:
    """Age of the latest snapshot of the features; nothing before the first."""
    latest = latest_snapshot(service.features.snapshots.root)
    return ({} if latest is None else {(): (service.clock.now() - latest).total_seconds()},)


def feeds(service: Service) -> tuple[Values]:
    """Alerts of liveness that are open."""
    found: dict[tuple[str, ...], float] = {(SILENCE,): 0.0, (JUMP,): 0.0}
    with service.database.read() as connection:
        for alert in alerts(connection):
            found[alert.what,] += 1
    return (found,)


def database(service: Service) -> tuple[Values]:
    """Bytes on disk."""
    return ({(part,): float(size) for part, size in sizes(service.database).items()},)


def latest_snapshot(root: Path) -> datetime | None:
    """Return the moment as of which the features were last computed below `root`, from the files' names."""
    names = [max((path.stem for path in view.glob("[0-9]*.parquet")), default="") for view in root.glob("*")]
    latest = max(names, default="")
    return datetime.strptime(latest, "%Y%m%dT%H%M%S_%fZ").replace(tzinfo=UTC) if latest else None


def sizes(opened: Database) -> dict[str, int]:
    """Return the bytes a database takes on disk: its `file` and `wal` on SQLite, its `tables` on Postgres."""
    if not opened.is_sqlite:
        with opened.read() as connection:
            size: int = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return {"tables": size}
    return file_sizes(Path(str(opened.url.database)))


def file_sizes(path: Path) -> dict[str, int]:
    """Return the bytes of a SQLite database: its `file` and its write-ahead log, `wal`."""
    wal = path.with_name(path.name + "-wal")
    return {"file": path.stat().st_size, "wal": wal.stat().st_size if wal.exists() else 0}


def _some(table: Table, condition: ColumnElement[bool], *columns: ColumnElement[str]) -> Select[Any]:
    return select(*(columns or (table.primary_key.columns[0],))).where(condition).limit(COUNT_LIMIT)


def _earliest(column: ColumnElement[datetime]) -> Select[Any]:
    # In the words of the partial index, which holds no nulls.
    return select(column).where(column.is_not(None)).order_by(column).limit(1)


def _delay(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())


_Family = tuple[str, str, list[str]]
_Reader = Callable[["Service"], tuple[Values, ...]]

_READERS: tuple[tuple[_Reader, tuple[_Family, ...]], ...] = (
    (writer, (("nextplay_writer_waiting_rows", "Rows that wait to be written.", ["lane"]),)),
    (
        delivery,
        (
            ("nextplay_enrolments_due", f"Enrolments due now; {COUNT_LIMIT} means that or more.", []),
            ("nextplay_enrolments_delay_seconds", "By how long the first due enrolment is late.", []),
            ("nextplay_outbox_depth", f"Messages not settled; {COUNT_LIMIT} means that or more.", ["state"]),
            ("nextplay_outbox_delay_seconds", "By how long the first message to hand over is late.", []),
        ),
    ),
    (
        channels,
        (
            (
                "nextplay_channel_waiting",
                f"Messages that wait on a channel; {COUNT_LIMIT} means that or more.",
                ["channel"],
            ),
            ("nextplay_channel_delay_seconds", "For how long the first due one waits.", ["channel"]),
            ("nextplay_channel_broken", "1 while the channel's breaker is open.", ["channel"]),
            (
                "nextplay_channel_attempts",
                f"Attempts in the last {MINUTES} minutes: taken, refused, failed or busy.",
                ["channel", "outcome"],
            ),
            ("nextplay_channel_quota_left", "Messages left of a quota.", ["channel", "span"]),
        ),
    ),
    (
        policy,
        (
            ("nextplay_policy_versions", "Versions published of a policy.", ["policy"]),
            ("nextplay_policy_age_seconds", "Age of the policy version that decides.", []),
        ),
    ),
    (
        learner,
        (
            ("nextplay_learner_alive", "1 while the learner's process runs; it starts when needed.", []),
            ("nextplay_learner_restarts", "Learner's processes that were lost and replaced.", []),
        ),
    ),
    (features, (("nextplay_features_age_seconds", "Age of the latest snapshot of the features.", []),)),
    (feeds, (("nextplay_feed_alerts", "Feeds of events that are silent, or jump.", ["what"]),)),
    (database, (("nextplay_database_bytes", "What the database takes on disk.", ["part"]),)),
)

# The names of all parts, and of those that are the jobs'.
READERS = tuple(read.__name__ for read, _ in _READERS)
OF_JOBS = (learner.__name__,)
