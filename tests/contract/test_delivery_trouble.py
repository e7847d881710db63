"""Clocks that jump or disagree, and a database that goes away in mid-batch: what delivery makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from delivery.channels.channel import AfterCrash
from delivery.models import Report
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, once, version_body
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.ledger import Kind
from tests.disk import full_disk

HOUR = timedelta(hours=1)
USERS = [f"u{number:02}" for number in range(30)]
COUPONS = version_body()
TAGGED = version_body(
    {
        "start": "mark",
        "states": {
            "mark": {"kind": "tag", "tag": "seen", "next": "send"},
            "send": {"kind": "send", "next": "end"},
            "end": {"kind": "end", "result": "done"},
        },
    }
)


class Tags:
    """Counts the tags it is asked to set."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, *_: object, **__: object) -> None:
        self.number += 1


def at(database: Database, moment: datetime, channel: MemoryChannel, holder: str = "one") -> Delivery:
    """Return a worker whose clock stands at a moment."""
    plans = MemoryPlans({1: COUPONS})
    return Delivery(
        database, SimulatedClock(moment), plans, {"memory": channel}, lambda *_: None, holder=holder
    )


def start(database: Database, delivery: Delivery, moment: datetime, version: int = 1) -> None:
    arm = arms_of(COUPONS)["milk"]

    def work(connection: Connection) -> None:
        for user in USERS:
            delivery.start(connection, [(decision_for(user, arm, moment, version=version), arm)])

    database.write(work, rows=2 * len(USERS))


def counted(database: Database, kind: Kind) -> dict[str, int]:
    with database.read() as connection:
        return dict(ledger.counts(connection)[kind])


def test_clocks_that_disagree_let_runs_go_on_early_or_late_and_once(
    database: Database, clock: SimulatedClock
) -> None:
    begun, channel = clock.now(), MemoryChannel()
    here = at(database, begun, channel)
    start(database, here, begun)
    # Behind by an hour nothing is due yet; ahead by all the time there is, everything is over.
    behind, ahead = at(database, begun - HOUR, channel, "two"), at(database, begun + 360 * HOUR, channel)
    number = len(USERS)
    assert not behind.run_until_idle()
    assert here.run_until_idle() == Report(advanced=number, issued=number, queued=number, sent=number)
    assert ahead.run_until_idle().ended == number
    for worker in (here, behind, ahead):
        assert not worker.run_until_idle()
    assert sorted(channel.handed_over) == sorted(f"{user}:1:1" for user in USERS)
    assert counted(database, Kind.ENROLMENT) == {"started": number, "ended": number}
    assert counted(database, Kind.COUPON) == {"issued": number, "expired": number}
    # What happened is dated by when it was due, not by the clock that was ahead.
    with database.read() as connection:
        ended = ledger.get(connection, Kind.ENROLMENT, "u00:ended")
    assert ended is not None
    assert ended.occurred_at == begun + timedelta(days=14)


@pytest.mark.parametrize("after_crash", AfterCrash)
def test_a_worker_whose_clock_is_ahead_takes_over_a_lease_and_one_of_them_records(
    database: Database, clock: SimulatedClock, after_crash: AfterCrash
) -> None:
    begun, told = clock.now(), list[Report]()
    other = at(database, begun + HOUR, MemoryChannel(after_crash=after_crash), "two")

    def outlived(_: object) -> None:
        if not told:
            told.append(other.run_until_idle())

    slow = MemoryChannel(after_crash=after_crash, after=outlived)
    start(database, one := at(database, begun, slow), begun)
    report = one.run_until_idle()
    # What was leased to the first: where keys are known it is repeated, else nobody knows and that is told.
    (theirs,) = told
    assert theirs.sent + theirs.unknown == len(USERS)
    assert (theirs.unknown == 0) is (after_crash is AfterCrash.REPEAT)
    assert report.sent == 0
    ended = {"sent": theirs.sent, "unknown": theirs.unknown}
    assert counted(database, Kind.MESSAGE) == {"queued": len(USERS)} | {k: n for k, n in ended.items() if n}


def test_a_clock_that_was_set_back_waits_for_a_dead_workers_lease_unless_that_one_returns(
    database: Database, clock: SimulatedClock
) -> None:
    begun, channel = clock.now(), MemoryChannel(before=once(SystemExit()))
    start(database, dies := at(database, begun, channel), begun)
    with pytest.raises(SystemExit):
        dies.run_until_idle()
    earlier = begun - timedelta(days=1)
    assert not at(database, earlier, channel, "two").run_until_idle().sent
    back = at(database, earlier, channel)
    assert back.recover() > 0
    assert back.run_until_idle().sent > 0
    # What was queued and not leased is due when the clock shows its time again.
    at(database, begun, channel, "two").run_until_idle()
    assert len(set(channel.handed_over)) == len(channel.handed_over) == len(USERS)


@contextmanager
def away(database: Database, tags: Tags) -> Iterator[None]:
    """Let the database go away in the middle of the next batch: its disk is full, or it ends connections."""
    if database.is_sqlite:
        with full_disk():
            yield
        return
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    plain = Tags.__call__

    def cut(self: Tags, connection: Connection, *given: Any) -> None:
        plain(self, connection, *given)
        if self.number == len(USERS) // 2:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with engine.connect() as other:
                other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tags, "__call__", cut)
        yield
    engine.dispose()


def test_a_database_that_goes_away_in_mid_batch_has_all_of_it_or_nothing(
    database: Database, clock: SimulatedClock
) -> None:
    channel, tags = MemoryChannel(), Tags()
    delivery = Delivery(database, clock, MemoryPlans({1: TAGGED}), {"memory": channel}, tags)
    start(database, delivery, clock.now())
    with away(database, tags), pytest.raises(DatabaseUnavailable):
        delivery.run_until_idle()
    assert tags.number > 0
    assert counted(database, Kind.ENROLMENT) == {"started": len(USERS)}
    assert channel.handed_over == []
    # It is back: the same worker goes on by itself.
    number = len(USERS)
    assert delivery.run_until_idle() == Report(
        advanced=number, ended=number, tagged=number, queued=number, sent=number
    )
    assert len(set(channel.handed_over)) == len(channel.handed_over) == number
    assert counted(database, Kind.ENROLMENT) == {"started": number, "ended": number}
