"""What states of flows do, on both databases: kept with the run's new state, once, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from audiences.consent.models import Channel, ConsentBody
from delivery import outbox_repository, repository
from delivery.causes import Drawn
from delivery.errors import NoResult, TaskClosed, TaskUnknown
from delivery.models import Enrolment, Report, Status
from delivery.people.models import Caller, TaskState
from delivery.people.repository import Wanted
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from delivery.view import View
from playbooks.library import VersionBody
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact

DAY = timedelta(days=1)
END = {"kind": "end", "result": "done"}
ARMS = arms_of(version_body())


def body_of(states: Mapping[str, Any], purpose: str = "promotional", **exits: Any) -> VersionBody:
    flow = {"start": next(iter(states)), "states": {**states, "end": END}, "exits": exits}
    body = version_body(flow)
    playbook = body.playbook.model_copy(update={"purpose": purpose})
    return body.model_copy(update={"playbook": playbook})


def started(
    database: Database,
    clock: SimulatedClock,
    bodies: Sequence[VersionBody],
    users: Sequence[str],
    **wired: Any,
) -> Delivery:
    """Start a run of every version for every user; ids are `<user>-<version>`."""
    plans = MemoryPlans(dict(enumerate(bodies, start=1)))
    channels = wired.pop("channels", {"memory": MemoryChannel()})
    delivery = Delivery(database, clock, plans, channels, wired.pop("tags", lambda *_: None), **wired)

    def start(connection: Connection) -> None:
        for version in range(1, len(bodies) + 1):
            for user in users:
                decision = decision_for(
                    user, ARMS["milk"], clock.now(), decision_id=f"{user}-{version}", version=version
                )
                delivery.start(connection, [(decision, ARMS["milk"])])

    database.write(start, rows=len(users) * len(bodies))
    return delivery


def run(database: Database, user: str, version: int = 1) -> Enrolment:
    with database.read() as connection:
        found = repository.get_enrolment(connection, f"{user}-{version}")
    assert found is not None
    return found


def test_transactional_messages_go_before_those_that_waited_longer(
    database: Database, clock: SimulatedClock
) -> None:
    send = {"send": {"kind": "send", "next": "end"}}
    channel = MemoryChannel()
    users = [f"u{number}" for number in range(5)]
    delivery = started(
        database, clock, [body_of(send), body_of(send, "transactional")], users, channels={"memory": channel}
    )
    delivery.executor.advance_due()
    with database.read() as connection:
        claimed = outbox_repository.claim_messages(connection, "memory", clock.now(), 7)
    assert [one.key.split(":")[0][-1] for one in claimed] == ["2"] * 5 + ["1"] * 2
    delivery.run_until_idle()
    assert [key.split(":")[0][-1] for key in channel.handed_over] == ["2"] * 5 + ["1"] * 5


TASK = {
    "call": {
        "kind": "task",
        "title": "Call",
        "assignee": "sales",
        "due_in": "PT4H",
        "results": {"won": "end"},
        "on_overdue": "end",
    }
}


def test_a_task_is_listed_done_once_and_left_when_its_run_goes_on(
    database: Database, clock: SimulatedClock
) -> None:
    delivery = started(database, clock, [body_of(TASK)], ["ann", "bob", "eve"])
    assert delivery.run_until_idle() == Report(advanced=3, tasks=3)
    desk, begun = delivery.desk, clock.now()
    joe, eva = Caller("joe", everything=True), Caller("eva", everything=True)
    page = desk.listed(Wanted(begun), limit=2)
    rest = desk.listed(Wanted(begun), after=(page[-1].due_at, page[-1].id))
    assert [one.user_id for one in (*page, *rest)] == ["ann", "bob", "eve"]
    ann, bob, eve = (one.id for one in (*page, *rest))
    clock.move_to(begun + timedelta(hours=1))
    with pytest.raises(NoResult, match="did you mean 'won'"):
        desk.finish(ann, "wn", joe)
    with pytest.raises(TaskUnknown):
        desk.finish("none", "won", joe)
    done = desk.finish(ann, "won", joe)
    assert (done.standing, done.done_at, done.done_by) == (TaskState.DONE, clock.now(), "joe")
    assert run(database, "ann").status is Status.ENDED
    with pytest.raises(TaskClosed, match="was done by joe"):
        desk.finish(ann, "won", eva)
    assert delivery.hands.take_out("eve-1", "asked", "joe").result == "by_hand"
    with pytest.raises(TaskClosed, match="went on without it"):
        desk.finish(eve, "won", joe)
    clock.move_to(begun + timedelta(hours=4))
    # Due, although nobody has advanced the run yet.
    with pytest.raises(TaskClosed, match="went on without it"):
        desk.finish(bob, "won", joe)
    delivery.run_until_idle()

    def listed(**chosen: Any) -> dict[str, TaskState]:
        return {one.user_id: one.standing for one in desk.listed(Wanted(clock.now(), **chosen))}

    assert listed() == {"ann": TaskState.DONE, "bob": TaskState.LEFT, "eve": TaskState.LEFT}
    assert list(listed(standing=[TaskState.LEFT])) == ["bob", "eve"]
    assert list(listed(standing=[TaskState.DONE], assignee="sales")) == ["ann"]
    assert listed(standing=[TaskState.OPEN]) == listed(assignee="legal") == {}
    with database.read() as connection:
        counted = ledger.counts(connection)
    assert counted[Kind.TASK] == {"opened": 3, "done": 1, "left": 2}
    assert counted[Kind.EVENT] == {"task_done": 1}


AGAIN = {
    "again": {"kind": "decide", "next": "send", "on_nothing": "end"},
    "send": {"kind": "send", "next": "wait"},
    "wait": {"kind": "wait", "duration": "P1D", "next": "end"},
}


def test_what_is_decided_again_is_sent_and_kept(database: Database, clock: SimulatedClock) -> None:
    asked: list[str] = []

    def decide(connection: Connection, enrolment: Enrolment, key: str, at: datetime) -> Drawn:
        asked.append(key)
        return Drawn(f"again-{enrolment.id}", None if enrolment.user_id == "bob" else ARMS["bread"])

    channel = MemoryChannel()
    delivery = started(
        database, clock, [body_of(AGAIN)], ["ann", "bob"], channels={"memory": channel}, decide_again=decide
    )
    assert delivery.run_until_idle() == Report(advanced=2, ended=1, queued=1, sent=1)
    assert sorted(asked) == ["ann-1:1:0", "bob-1:1:0"]
    assert (run(database, "ann").arm, run(database, "ann").decision_id) == (ARMS["bread"], "again-ann-1")
    assert run(database, "bob").decision_id == "bob-1"
    (message,) = channel.messages.values()
    assert "bread" in message.subject


def test_without_a_policy_to_ask_a_run_is_set_aside_with_the_reason(
    database: Database, clock: SimulatedClock
) -> None:
    delivery = started(database, clock, [body_of(AGAIN)], ["ann"])
    assert delivery.run_until_idle().stuck == 1
    assert "no policy to ask again" in str(run(database, "ann").result)


def test_points_that_can_not_be_given_set_aside_one_run_only(
    database: Database, clock: SimulatedClock
) -> None:
    given: list[tuple[str, str, float, str]] = []

    def give(connection: Connection, user: str, score: str, points: float, key: str, at: datetime) -> None:
        if user == "bob":
            connection.exec_driver_sql("SELECT * FROM there_is_no_such_table")
        given.append((user, score, points, key))

    states = {"give": {"kind": "score", "score": "lead", "points": 5, "next": "end"}}
    delivery = started(database, clock, [body_of(states)], ["ann", "bob", "eve"], points=give)
    report = delivery.run_until_idle()
    assert (report.scored, report.stuck, report.ended) == (2, 1, 2)
    assert [one[:1] + one[3:] for one in given] == [("ann", "ann-1:1:0"), ("eve", "eve-1:1:0")]
    assert "points were not given" in str(run(database, "bob").result)


class Seen:
    """Shows users with the tags they are given here; counts how often it is asked."""

    def __init__(self, tags: Mapping[str, set[str]]) -> None:
        self.tags = tags
        self.asked: list[Sequence[str]] = []

    def read(self, users: Sequence[str], now: datetime) -> Mapping[str, View]:
        self.asked.append(users)
        return {user: View(tags=frozenset(self.tags.get(user, ()))) for user in users}


def test_users_are_seen_once_for_all_that_ask_and_never_by_flows_that_do_not(
    database: Database, clock: SimulatedClock
) -> None:
    branch = {
        "ask": {"kind": "branch", "rule": "tag('vip')", "then": "wait", "otherwise": "end"},
        "wait": {"kind": "wait", "duration": "P1D", "next": "end"},
    }
    plain = {"wait": {"kind": "wait", "duration": "P1D", "next": "end"}}
    views = Seen({"ann": {"vip"}})
    delivery = started(database, clock, [body_of(branch), body_of(plain)], ["ann", "bob"], views=views)
    assert delivery.run_until_idle().advanced == 4
    assert views.asked == [["ann", "bob"]]
    assert (run(database, "ann").state, run(database, "bob").state) == ("wait", "end")
    assert {run(database, user, 2).state for user in ("ann", "bob")} == {"wait"}


def test_an_event_for_a_flow_that_asks_is_applied_once_the_user_was_seen(
    database: Database, clock: SimulatedClock
) -> None:
    states = {
        "wait": {
            "kind": "wait_for_event",
            "event": "viewed",
            "timeout": "P1D",
            "on_event": "ask",
            "on_timeout": "end",
        },
        "ask": {"kind": "branch", "rule": "tag('vip')", "then": "rest", "otherwise": "end"},
        "rest": {"kind": "wait", "duration": "P1D", "next": "end"},
    }
    delivery = started(database, clock, [body_of(states)], ["ann", "bob"], views=Seen({"ann": {"vip"}}))
    delivery.run_until_idle()
    now = clock.now()
    facts = [
        NewFact(Kind.EVENT, f"v-{user}", "viewed", user, now, {"properties": {}}) for user in ("ann", "bob")
    ]
    database.write(lambda connection: ledger.append(connection, facts, now), rows=2)
    assert delivery.run_until_idle().events == 2
    assert (run(database, "ann").state, run(database, "bob").state) == ("rest", "end")
    assert not delivery.run_until_idle()


def test_a_denial_ends_the_runs_that_it_concerns(database: Database, clock: SimulatedClock) -> None:
    wait = {"wait": {"kind": "wait", "duration": "P9D", "next": "end"}}
    bodies = [
        body_of(wait, opt_out={"next": "end"}),
        body_of(wait, opt_out={"purposes": ["sale"], "next": "end"}),
        body_of(wait),
    ]
    delivery = started(database, clock, bodies, ["ann", "bob"])
    delivery.run_until_idle()
    clock.move_to(clock.now() + DAY)
    now = clock.now()
    said = [
        NewFact(Kind.CONSENT, f"c-{label}", label, "ann", now, ConsentBody("news", Channel.EMAIL, "page"))
        for label in ("granted", "denied")
    ]
    database.write(lambda connection: ledger.append(connection, said, now), rows=2)
    delivery.run_until_idle()
    assert [run(database, "ann", version).status.value for version in (1, 2, 3)] == [
        "ended",
        "active",
        "active",
    ]
    assert {run(database, "bob", version).status for version in (1, 2, 3)} == {Status.ACTIVE}
