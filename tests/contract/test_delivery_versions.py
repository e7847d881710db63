"""Runs and versions on both databases: beginning again, moving, being let out, and runs that do not go on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from delivery import parking_repository, repository
from delivery.errors import RunsLost, UnknownVersion
from delivery.models import Enrolment, Report, Status
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from playbooks.controls import Scope
from playbooks.library import VersionBody
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from tests.contract.test_delivery_controls import controls_of, stop

DAY = timedelta(days=1)
ARMS = arms_of(version_body())
END = {"kind": "end", "result": "done"}


def body_of(states: Mapping[str, Any], **fields: Any) -> VersionBody:
    return version_body({"start": next(iter(states)), "states": {**states, "end": END}, **fields})


def delivery_of(database: Database, clock: SimulatedClock, *bodies: VersionBody) -> Delivery:
    plans = MemoryPlans(dict(enumerate(bodies, start=1)))
    return Delivery(database, clock, plans, {"memory": MemoryChannel()}, lambda *_: None)


def begin(
    database: Database,
    clock: SimulatedClock,
    delivery: Delivery,
    run: str,
    offer: str = "milk",
    user: str = "ann",
) -> str | None:
    """Begin a run unless a rule refuses it; return the rule."""

    def work(connection: Connection) -> str | None:
        arm = ARMS[offer]
        decision = decision_for(user, arm, clock.now(), decision_id=run)
        rule = delivery.refuses(connection, decision, arm)
        if rule is None:
            delivery.start(connection, [(decision, arm)])
        return rule

    rule = database.write(work, rows=2)
    delivery.run_until_idle()
    return rule


def run_of(database: Database, run: str) -> Enrolment:
    with database.read() as connection:
        found = repository.get_enrolment(connection, run)
    assert found is not None
    return found


WAIT = {"wait": {"kind": "wait", "duration": "P7D", "next": "end"}}


@pytest.mark.parametrize(
    ("reentry", "inside", "after", "later", "other"),
    [
        (None, True, True, True, True),
        ({"rule": "never"}, False, False, False, False),
        ({"rule": "after_end"}, False, True, True, False),
        ({"rule": "after_gap", "gap": "P30D"}, False, False, True, False),
        ({"rule": "per_key"}, False, True, True, True),
        ({"rule": "per_key", "key": "category"}, False, True, True, True),
        ({"rule": "per_key", "key": "group"}, False, True, True, False),
    ],
)
def test_a_user_begins_again_as_the_playbook_says(
    database: Database,
    clock: SimulatedClock,
    reentry: dict[str, str] | None,
    inside: bool,
    after: bool,
    later: bool,
    other: bool,
) -> None:
    delivery = delivery_of(database, clock, body_of(WAIT, reentry=reentry))
    began = clock.now()
    assert begin(database, clock, delivery, "first") is None
    assert begin(database, clock, delivery, "bob", user="bob") is None
    refused = "reentry.coupons"
    clock.move_to(began + DAY)
    assert begin(database, clock, delivery, "inside") == (None if inside else refused)
    assert begin(database, clock, delivery, "other", offer="bread") == (None if other else refused)
    clock.move_to(began + 9 * DAY)
    delivery.run_until_idle()
    assert begin(database, clock, delivery, "after") == (None if after else refused)
    clock.move_to(began + 60 * DAY)
    delivery.run_until_idle()
    assert begin(database, clock, delivery, "later") == (None if later else refused)


LISTEN = {
    "rest": {"kind": "wait", "duration": "P3D", "next": "end"},
    "hear": {
        "kind": "wait_for_event",
        "event": "viewed",
        "timeout": "P2D",
        "on_event": "end",
        "on_timeout": "say",
    },
    "say": {"kind": "send", "next": "rest"},
}
NEW = {
    "start": "hear",
    "states": {**LISTEN, "end": END},
}


def test_runs_move_to_another_version_and_go_on_as_of_when_they_came(
    database: Database, clock: SimulatedClock
) -> None:
    delivery = delivery_of(database, clock, body_of(WAIT), version_body(NEW))
    began = clock.now()
    for number in range(7):
        begin(database, clock, delivery, f"r{number}", user=f"u{number}")
    assert delivery.inside.standing("coupons") == {1: {"wait": 7}}
    clock.move_to(began + DAY)
    moved = delivery.inside.move("coupons", 1, 2, {"wait": "hear"}, "ops", "shorter")
    assert (moved, delivery.inside.standing("coupons")) == (7, {2: {"hear": 7}})
    run = run_of(database, "r3")
    assert (run.playbook_version, run.state, run.waiting_for) == (2, "hear", "viewed")
    assert (run.entered_at, run.due_at, run.revision) == (began, began + 2 * DAY, 2)
    clock.move_to(began + 2 * DAY)
    assert delivery.run_until_idle() == Report(advanced=7, queued=7, sent=7)
    with database.read() as connection:
        assert ledger.counts(connection)[Kind.CHANGE] == {"runs_moved": 1}
    # Nobody is left to be moved; what is asked again changes nothing.
    assert delivery.inside.move("coupons", 1, 2, {}, "ops", "") == 0


def _execute(statement: str, connection: Connection) -> None:
    connection.exec_driver_sql(statement)


# So many that reading all runs costs more than looking for some.
_ENDED = """
INSERT INTO enrolments
  (id, user_id, playbook, playbook_version, decision_id, arm, state, entered_at, revision, status)
SELECT 'ended' || n, 'u' || n, 'coupons', 1, 'd', '{}', 'end', 0, 1, 'ended'
FROM generate_series(1, 20000) AS n
"""


def test_who_is_under_way_is_due_or_put_aside(database: Database, clock: SimulatedClock) -> None:
    delivery = delivery_of(database, clock, body_of(WAIT))
    for number in range(3):
        begin(database, clock, delivery, f"r{number}", user=f"u{number}")
    database.write(lambda connection: parking_repository.park_runs(connection, [("r1", "pause")], 0), rows=1)
    assert delivery.inside.standing("coupons") == {1: {"wait": 3}}
    assert delivery.inside.standing("nobody_is_in_it") == {}
    if database.is_sqlite:
        return
    for statement in (_ENDED, "ANALYZE enrolments"):
        database.write(partial(_execute, statement))
    with database.read() as connection:
        query = repository.under_way(connection, "nobody_is_in_it").compile(
            connection.engine, compile_kwargs={"literal_binds": True}
        )
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}").scalars())
    assert "Seq Scan on enrolments" not in plan, plan


@pytest.mark.parametrize(
    ("states", "what"),
    [
        ({}, r"3 runs are in 'wait', which version 2 does not have: map it"),
        ({"wait": "her"}, r"leads from 'wait' to 'her', and there is no such state, did you mean 'hear'"),
    ],
)
def test_a_map_that_loses_somebody_moves_nobody(
    database: Database, clock: SimulatedClock, states: dict[str, str], what: str
) -> None:
    delivery = delivery_of(database, clock, body_of(WAIT), version_body(NEW))
    for number in range(3):
        begin(database, clock, delivery, f"r{number}", user=f"u{number}")
    with pytest.raises(RunsLost, match=what):
        delivery.inside.move("coupons", 1, 2, states, "ops", "")
    with pytest.raises(UnknownVersion):
        delivery.inside.move("coupons", 1, 9, states, "ops", "")
    assert delivery.inside.standing("coupons") == {1: {"wait": 3}}


def test_a_version_without_somebodys_offer_takes_nobody(database: Database, clock: SimulatedClock) -> None:
    other = version_body(NEW)
    bread = [one for one in other.offers if one.id == "bread"]
    delivery = delivery_of(database, clock, body_of(WAIT), other.model_copy(update={"offers": bread}))
    begin(database, clock, delivery, "r")
    with pytest.raises(RunsLost, match="no offer or content of coupons/milk"):
        delivery.inside.move("coupons", 1, 2, {"wait": "hear"}, "ops", "")


def test_those_inside_are_let_out(database: Database, clock: SimulatedClock) -> None:
    delivery = delivery_of(database, clock, body_of(WAIT))
    for number in range(3):
        begin(database, clock, delivery, f"r{number}", user=f"u{number}")
    assert delivery.inside.let_out("coupons", 1, "ops", "wrong") == 3
    run = run_of(database, "r1")
    assert (run.status, run.result) == (Status.ENDED, "version_ended")
    assert delivery.inside.standing("coupons") == {}


def test_runs_that_do_not_go_on_are_named_with_the_reason(database: Database, clock: SimulatedClock) -> None:
    plans = MemoryPlans({1: body_of(WAIT)})
    delivery = Delivery(database, clock, plans, {"memory": MemoryChannel()}, lambda *_: None)
    began = clock.now()
    for user in ("paused", "lost"):
        begin(database, clock, delivery, user, user=user)
    assert delivery.hands.late(10) == []
    clock.move_to(began + 7 * DAY)
    stop(controls_of(database, clock), Scope.USER, "paused")
    plans.forget("coupons", 1)
    delivery.run_until_idle()
    plan = MemoryPlans({1: body_of(WAIT)})
    other = Delivery(database, clock, plan, {}, lambda *_: None)
    decision = decision_for("due", ARMS["milk"], clock.now())
    database.write(lambda connection: other.start(connection, [(decision, ARMS["milk"])]))
    clock.move_to(began + 8 * DAY)
    late = other.hands.late(10)
    assert [(one.enrolment_id, one.due_at) for one in late] == [
        ("due", began + 7 * DAY),
        ("paused", began + 7 * DAY),
        ("lost", began),
    ]
    reasons = [one.reason for one in late]
    assert "nobody advances it" in reasons[0]
    assert "paused by the control user:paused" in reasons[1]
    assert "set aside: the library has no version 1" in reasons[2]
    assert len(other.hands.late(2)) == 2
    with pytest.raises(RunsLost, match="1 runs are paused"):
        other.inside.move("coupons", 1, 1, {}, "ops", "")
