"""Controls on both databases: what is stopped waits, within a second, and goes on where it was."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone
from delivery import parking, parking_repository, repository
from delivery.controls_api import listing
from delivery.models import Message, Report
from delivery.outbox_repository import Queued
from delivery.service import Delivery
from delivery.tables import outbox
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from playbooks.controls import Control, Mode, Scope, rule_of
from playbooks.controls import repository as controls_repository
from playbooks.controls.service import ControlService, Targets
from playbooks.errors import NothingStopped, UnknownTarget
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact

# `coupons` under version 1, `more` under version 2.
BODIES = {1: version_body(), 2: version_body(playbook="more")}
PLANS = MemoryPlans(BODIES)
ARMS = {version: arms_of(body)["milk"] for version, body in BODIES.items()}
HOUR = timedelta(hours=1)


class Aliases(EveryoneAlone):
    """`ann_at_work` is Ann."""

    def canonical(self, user_id: str) -> str:
        return "ann" if user_id == "ann_at_work" else user_id

    def members(self, user_id: str) -> tuple[str, ...]:
        return ("ann", "ann_at_work") if self.canonical(user_id) == "ann" else (user_id,)


def controls_of(database: Database, clock: SimulatedClock) -> ControlService:
    def missing(_connection: Connection, name: str) -> str | None:
        return f"there is no {name}" if name == "nothing" else None

    scopes = (Scope.PLAYBOOK, Scope.CHANNEL, Scope.USER)
    return ControlService(database, clock, Targets(dict.fromkeys(scopes, missing), Aliases().canonical))


@pytest.fixture
def controls(database: Database, clock: SimulatedClock) -> ControlService:
    return controls_of(database, clock)


def delivery_of(
    database: Database, clock: SimulatedClock, channel: MemoryChannel, holder: str = "one", **options: Any
) -> Delivery:
    channels = {"memory": channel}
    return Delivery(database, clock, PLANS, channels, lambda *_: None, Aliases(), holder=holder, **options)


def start(
    database: Database, clock: SimulatedClock, delivery: Delivery, *users: str, version: int = 1
) -> None:
    arm = ARMS[version]

    def work(connection: Connection) -> None:
        for user in users:
            decided = decision_for(
                user, arm, clock.now(), decision_id=f"{user}-{arm.playbook}", version=version
            )
            delivery.start(connection, [(decided, arm)])

    database.write(work, rows=len(users))


def told(channel: MemoryChannel) -> list[str]:
    return [key.partition(":")[0] for key in channel.handed_over]


def waits(database: Database, clock: SimulatedClock, controls: ControlService) -> dict[str, dict[str, int]]:
    return {f"{one['scope']}:{one['target']}": one["waiting"] for one in listing(database, clock, controls)}


def stop(controls: ControlService, scope: Scope, target: str, mode: Mode = Mode.PAUSE) -> Control:
    return controls.stop(scope, target, mode, by="ops", why="complaints")


def test_messages_of_a_paused_playbook_wait_and_go_on_in_their_order(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    users = [f"u{number:03}" for number in range(30)]
    for user in users:
        start(database, clock, delivery, user)
        clock.move_to(clock.now() + timedelta(seconds=1))
    start(database, clock, delivery, "eve", version=2)
    delivery.executor.advance_due()
    stop(controls, Scope.PLAYBOOK, "coupons")
    assert delivery.run_until_idle().held == 30
    # Others go on, and what waits is not looked at again.
    assert told(channel) == ["eve-more"]
    assert delivery.run_until_idle() == Report()
    assert waits(database, clock, controls) == {"playbook:coupons": {"messages": 30, "runs": 0}}
    controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="settled")
    delivery.run_until_idle()
    assert told(channel)[1:] == [f"{user}-coupons" for user in users]
    assert waits(database, clock, controls) == {}
    # Waiting was no attempt, and everything went out once.
    assert len(set(channel.handed_over)) == 31
    with database.read() as connection:
        assert set(connection.execute(select(outbox.c.attempts)).scalars()) == {1}


def test_a_run_that_waited_goes_first_through_what_happened_meanwhile(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann", "bob", "eve")
    delivery.run_until_idle()
    stop(controls, Scope.PLAYBOOK, "coupons")
    clock.move_to(clock.now() + HOUR)
    # Ann buys while her run is not due, Bob after his was, Eve never.
    buys(database, clock, "ann_at_work")
    assert not delivery.run_until_idle().ended
    clock.move_to(clock.now() + timedelta(days=13))
    buys(database, clock, "bob")
    clock.move_to(clock.now() + timedelta(days=2))
    assert not delivery.run_until_idle().ended
    assert waits(database, clock, controls)["playbook:coupons"]["runs"] == 3
    controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="")
    report = delivery.run_until_idle()
    assert results(database) == {"ann-coupons": "used", "bob-coupons": "used", "eve-coupons": "expired"}
    assert (report.ended, report.used) == (3, 2)


def buys(database: Database, clock: SimulatedClock, user: str) -> None:
    body = EventBody({"categories": ["milk"]})
    fact = NewFact(Kind.EVENT, f"{user}:{clock.now()}", "order_completed", user, clock.now(), body)
    database.write(lambda connection: ledger.append(connection, [fact], clock.now()))


def results(database: Database) -> dict[str, str | None]:
    with database.read() as connection:
        ids = [f"{user}-coupons" for user in ("ann", "bob", "eve")]
        return {key: one.result for key, one in repository.enrolments_of(connection, ids).items()}


def test_what_a_slow_batch_has_in_hand_stops_within_a_second(
    database: Database, clock: SimulatedClock
) -> None:
    sent_at: list[float] = []

    def slowly(_: Message) -> None:
        time.sleep(0.01)
        sent_at.append(time.monotonic())

    channel = MemoryChannel(before=slowly)
    delivery = delivery_of(database, clock, channel)
    users = [f"u{number:03}" for number in range(400)]
    start(database, clock, delivery, *users)
    delivery.executor.advance_due()
    runner = threading.Thread(target=delivery.run_until_idle)
    runner.start()
    while len(sent_at) < 20:
        time.sleep(0.005)
    # As another process would: a service of its own over the same rows.
    controls = controls_of(database, clock)
    stopped_at = time.monotonic()
    stop(controls, Scope.EVERYTHING, "")
    runner.join(20)
    assert not runner.is_alive()
    assert max(sent_at) - stopped_at < 1
    assert len(sent_at) < 200
    assert waits(database, clock, controls)["everything:"]["messages"] == 400 - len(sent_at)
    controls.resume(Scope.EVERYTHING, "", by="ops", why="")
    channel.before = None
    delivery.run_until_idle()
    assert sorted(channel.handed_over) == sorted({f"{user}-coupons:1:1" for user in users})


def test_everything_paused_leaves_all_as_it_is(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann", "bob")
    stop(controls, Scope.EVERYTHING, "")
    assert delivery.run_until_idle() == Report()
    assert waits(database, clock, controls) == {"everything:": {"messages": 0, "runs": 2}}
    controls.resume(Scope.EVERYTHING, "", by="ops", why="")
    assert delivery.run_until_idle().sent == 2


def test_a_stopped_user_is_stopped_in_every_profile(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann", "bob", "ann_at_work")
    delivery.executor.advance_due()
    assert stop(controls, Scope.USER, "ann_at_work").target == "ann"
    delivery.run_until_idle()
    assert told(channel) == ["bob-coupons"]
    with database.read() as connection:
        facts = ledger.of_user(connection, "ann", kinds=[Kind.CHANGE])
    # The name of the user is that of the fact: an erasure finds it, and the body does not have it.
    assert [fact.label for fact in facts] == ["control"]
    assert "ann" not in facts[0].body


def test_a_channel_that_is_drained_sends_what_was_queued_before(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann")
    delivery.executor.advance_due()
    clock.move_to(clock.now() + HOUR)
    stop(controls, Scope.CHANNEL, "memory", Mode.DRAIN)
    start(database, clock, delivery, "bob")
    delivery.run_until_idle()
    assert told(channel) == ["ann-coupons"]
    stop(controls, Scope.CHANNEL, "memory")
    controls.resume(Scope.CHANNEL, "memory", by="ops", why="")
    delivery.run_until_idle()
    assert told(channel) == ["ann-coupons", "bob-coupons"]


def test_what_is_stopped_twice_waits_for_both(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann")
    delivery.executor.advance_due()
    stop(controls, Scope.PLAYBOOK, "coupons")
    stop(controls, Scope.USER, "ann")
    delivery.run_until_idle()
    controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="")
    delivery.run_until_idle()
    assert not channel.handed_over
    assert waits(database, clock, controls) == {"user:ann": {"messages": 1, "runs": 0}}
    controls.resume(Scope.USER, "ann", by="ops", why="")
    delivery.run_until_idle()
    assert told(channel) == ["ann-coupons"]


def test_a_drained_playbook_lets_its_runs_go_on_and_begins_none(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann")
    drained = stop(controls, Scope.PLAYBOOK, "coupons", Mode.DRAIN)
    assert delivery.run_until_idle().sent == 1
    with database.read() as connection:
        found = controls_repository.in_force(connection)
    assert found.of_decision("coupons", "bob") == drained
    assert rule_of(drained) == "control.playbook.coupons"
    assert found.of_decision("more", "bob") is None


def test_nothing_is_put_aside_for_a_control_that_was_resumed_meanwhile(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    """Otherwise it would wait for ever: who put things back has looked already."""
    channel = MemoryChannel()
    delivery = delivery_of(database, clock, channel)
    start(database, clock, delivery, "ann")
    delivery.executor.advance_due()
    paused = stop(controls, Scope.PLAYBOOK, "coupons")
    controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="")
    delivery.run_until_idle()
    message = Queued("ann-coupons:1:1", "ann-coupons", clock.now(), 0, None, "memory", "hello", "")
    assert database.write(lambda c: parking.park_messages(c, [(message, paused)])) == set()
    with database.read() as connection:
        assert parking_repository.waiting(connection) == {}


def test_changes_are_facts_and_what_is_not_there_is_said(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    with pytest.raises(UnknownTarget, match="there is no nothing"):
        stop(controls, Scope.PLAYBOOK, "nothing")
    with pytest.raises(UnknownTarget, match="no target"):
        stop(controls, Scope.EVERYTHING, "coupons")
    with pytest.raises(NothingStopped, match="playbook 'coupons' is not stopped"):
        controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="")
    first = stop(controls, Scope.PLAYBOOK, "coupons")
    clock.move_to(clock.now() + HOUR)
    # The same again changes nothing.
    assert stop(controls, Scope.PLAYBOOK, "coupons") == first
    stop(controls, Scope.PLAYBOOK, "coupons", Mode.DRAIN)
    controls.resume(Scope.PLAYBOOK, "coupons", by="eve", why="settled")
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.CHANGE)
        bodies = [fact.decode(dict) for fact in facts]
    assert [(one["mode"], one["by"]) for one in bodies] == [
        ("pause", "ops"),
        ("drain", "ops"),
        ("resume", "eve"),
    ]
    assert bodies[2]["why"] == "settled"
    with pytest.raises(NothingStopped):
        controls.resume(Scope.PLAYBOOK, "coupons", by="ops", why="")
