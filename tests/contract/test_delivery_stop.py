"""Delivery that is told to stop ends with the turn under way, and the rest is done by the next."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from audiences.service import set_tag
from delivery.models import Report
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from storage.clock import SimulatedClock
from storage.engine import Database

BATCH = 10
ENROLLED = 35


def delivery(database: Database, clock: SimulatedClock, channel: MemoryChannel) -> Delivery:
    return Delivery(
        database, clock, MemoryPlans({1: version_body()}), {"memory": channel}, set_tag, batch=BATCH
    )


def enrol(database: Database, running: Delivery, clock: SimulatedClock) -> None:
    arm = arms_of(version_body())["milk"]

    def start(connection: Connection) -> None:
        for number in range(ENROLLED):
            running.start(connection, [(decision_for(f"u{number}", arm, clock.now()), arm)])

    database.write(start, rows=2 * ENROLLED)


def test_a_stopped_delivery_leaves_the_rest_to_the_next(database: Database, clock: SimulatedClock) -> None:
    channel = MemoryChannel()
    stopped = delivery(database, clock, channel)
    enrol(database, stopped, clock)
    stopped.stop()
    assert stopped.run_until_idle() == Report()
    assert stopped.executor.advance_due().advanced == BATCH
    following = delivery(database, clock, channel)
    assert following.run_until_idle().sent == ENROLLED
    clock.move_to(clock.now() + timedelta(minutes=1))
    assert following.run_until_idle() == Report()
