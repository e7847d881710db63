"""Channels go side by side: a slow one holds up nobody, and has no more in hand than it may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from delivery.channels.management import Management
from delivery.models import Message, Report
from delivery.service import Delivery
from delivery.tables import outbox
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from storage.clock import SimulatedClock
from storage.engine import Database

SECONDS = 10.0
WAITS: Any = {"kind": "wait", "duration": "P9D", "next": "end"}
# `coupons` sends on the channel of its variant, `memory`; `more` on `slow`.
BODIES = {
    version: version_body(
        {
            "start": "send",
            "states": {
                "send": {"kind": "send", "next": "wait", **on},
                "wait": WAITS,
                "end": {"kind": "end", "result": "over"},
            },
        },
        playbook=playbook,
    )
    for version, playbook, on in ((1, "coupons", {}), (2, "more", {"channel": "slow"}))
}
PLANS = MemoryPlans(BODIES)
ARMS = {version: arms_of(body)["milk"] for version, body in BODIES.items()}


def delivery_of(database: Database, clock: SimulatedClock, slow: MemoryChannel, **options: Any) -> Delivery:
    channels = {"memory": options.pop("memory", MemoryChannel()), "slow": slow}
    return Delivery(database, clock, PLANS, channels, lambda *_: None, **options)


def start(database: Database, clock: SimulatedClock, delivery: Delivery, version: int, *users: str) -> None:
    def work(connection: Connection) -> None:
        for user in users:
            arm = ARMS[version]
            decided = decision_for(user, arm, clock.now(), decision_id=f"{user}-{version}", version=version)
            delivery.start(connection, [(decided, arm)])

    database.write(work, rows=len(users))


class Held:
    """Holds every message until it is let go; counts how many were held at once."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _message: Message) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.arrived.release()
        assert self.free.wait(SECONDS)
        with self._lock:
            self.now -= 1

    def wait_for(self, number: int) -> None:
        for _ in range(number):
            assert self.arrived.acquire(timeout=SECONDS)


@pytest.fixture
def held() -> Held:
    return Held()


def test_a_slow_channel_goes_on_by_itself_and_the_others_do_not_wait(
    database: Database, clock: SimulatedClock, held: Held
) -> None:
    fast, slow = MemoryChannel(), MemoryChannel(before=held)
    delivery = delivery_of(database, clock, slow, memory=fast, patience=0.5)
    start(database, clock, delivery, 2, *(f"s{number}" for number in range(5)))
    start(database, clock, delivery, 1, "ann")
    assert delivery.run_until_idle().sent == 1
    assert fast.handed_over == ["ann-1:1:0"]
    # Nobody waits for it a second time, and what others want goes out meanwhile.
    start(database, clock, delivery, 1, "bob")
    assert delivery.run_until_idle().sent == 1
    assert not slow.handed_over
    held.free.set()
    delivery.stop()
    assert delivery.finish(SECONDS)
    # The one that had begun is recorded, the others are left as they were.
    assert delivery.run_until_idle() == Report(sent=1)
    following = delivery_of(database, clock, slow)
    clock.move_to(clock.now() + timedelta(seconds=1))
    assert following.run_until_idle() == Report(sent=4)
    with database.read() as connection:
        assert set(connection.execute(select(outbox.c.attempts)).scalars()) == {1}


def test_as_many_are_handed_over_at_once_as_is_said(
    database: Database, clock: SimulatedClock, held: Held
) -> None:
    slow = MemoryChannel(before=held)
    delivery = delivery_of(database, clock, slow, management={"slow": Management(concurrency=3)})
    start(database, clock, delivery, 2, *(f"s{number}" for number in range(12)))
    runner = in_thread(delivery.run_until_idle)
    held.wait_for(3)
    held.free.set()
    runner.join(SECONDS)
    assert held.most == 3
    assert len(set(slow.handed_over)) == len(slow.handed_over) == 12


def test_what_is_more_urgent_goes_before_what_waits_though_it_came_later(
    database: Database, clock: SimulatedClock
) -> None:
    slow = MemoryChannel()
    delivery = delivery_of(database, clock, slow)
    start(database, clock, delivery, 2, *(f"s{number:02}" for number in range(40)))
    delivery.executor.advance_due()
    clock.move_to(clock.now() + timedelta(seconds=1))
    urgent = "s39-2:1:0"
    database.write(
        lambda connection: connection.execute(outbox.update().where(outbox.c.key == urgent).values(lane=0))
    )
    delivery.run_until_idle()
    assert slow.handed_over[0] == urgent
    assert slow.handed_over[1:] == sorted(slow.handed_over[1:])


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
