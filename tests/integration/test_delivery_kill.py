"""Delivery killed at random moments: a real process, a real signal, and nothing lost or doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from audiences.events import EventBody
from delivery.channels.mailbox import Mailbox
from delivery.service import Delivery
from delivery.testing import MemoryPlans, arms_of, decision_for, version_body
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact

BEGUN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = BEGUN + timedelta(days=14)
USERS = [f"u{number:04}" for number in range(600)]
# How often the process is killed while it delivers at each moment.
KILLS = ((BEGUN, 2), (LATER, 1))

_RUN = """
import sys
from datetime import datetime
from pathlib import Path
from delivery.channels.mailbox import Mailbox
from delivery.service import Delivery
from delivery.testing import MemoryPlans, version_body
from storage.clock import SimulatedClock
from storage.engine import Database

url, folder, moment = sys.argv[1:]
clock = SimulatedClock(datetime.fromisoformat(moment))
delivery = Delivery(
    Database(url), clock, MemoryPlans({1: version_body()}), {"memory": Mailbox(Path(folder))},
    lambda *_: None, batch=20,
)
delivery.recover()
print("ready", flush=True)
delivery.run_until_idle()
print("idle", flush=True)
"""


def test_a_killed_process_loses_and_doubles_nothing(sqlite_url: str, tmp_path: Path) -> None:
    _begin(sqlite_url)
    chance = random.Random(7)
    killed = 0
    for moment, times in KILLS:
        for _ in range(times):
            killed += _run_and_kill(sqlite_url, tmp_path / "box", moment, chance.uniform(0.0, 0.2))
    assert killed > 0
    database = Database(sqlite_url)
    clock = SimulatedClock(LATER)
    box = {"memory": Mailbox(tmp_path / "box")}
    delivery = Delivery(database, clock, MemoryPlans({1: version_body()}), box, lambda *_: None)
    delivery.recover()
    delivery.run_until_idle()
    with database.read() as connection:
        counts = ledger.counts(connection)
    database.close()
    number, buyers = len(USERS), len(USERS[::3])
    assert counts[Kind.ENROLMENT] == {"started": number, "ended": number}
    assert counts[Kind.COUPON] == {"issued": number, "used": buyers, "expired": number - buyers}
    assert counts[Kind.MESSAGE] == {"queued": number, "sent": number, "delivered": number}
    assert len(list((tmp_path / "box").rglob("*.eml"))) == number


def _begin(url: str) -> None:
    """Start all enrolments and record, for later, the order of every third user."""
    database = Database(url)
    delivery = Delivery(
        database, SimulatedClock(BEGUN), MemoryPlans({1: version_body()}), {}, lambda *_: None
    )
    arm = arms_of(version_body())["milk"]
    for start in range(0, len(USERS), 250):
        users = USERS[start : start + 250]

        def work(connection: Connection, users: Sequence[str] = users) -> None:
            for user in users:
                delivery.start(connection, decision_for(user, arm, BEGUN), arm)

        database.write(work, rows=len(users))
    facts = [
        NewFact(
            Kind.EVENT,
            f"order-{user}",
            "order_completed",
            user,
            BEGUN + timedelta(days=1),
            EventBody({"categories": ["milk"]}),
        )
        for user in USERS[::3]
    ]
    database.write(lambda connection: ledger.append(connection, facts, LATER), rows=len(facts))
    database.close()


def _run_and_kill(url: str, folder: Path, moment: datetime, after: float) -> bool:
    """Run delivery in a process of its own and kill it `after` seconds; say whether it was still busy."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, url, str(folder), moment.isoformat()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    process.kill()
    rest = process.stdout.read()
    process.wait()
    process.stdout.close()
    return rest == ""
