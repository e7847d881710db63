"""Enrolments on both databases: started with their decision, woken by events, advanced when due, once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection

from audiences.events import EventBody
from delivery import repository
from delivery.coupons.wallet import Wallet
from delivery.effects import Effects
from delivery.errors import FlowBroken, UnknownVersion
from delivery.executor import Executor
from delivery.models import Enrolment, EnrolmentFact, Report, Status
from delivery.testing import MemoryPlans, arms_of, decision_for, version_body
from playbooks.models import Playbook
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact

DAY = timedelta(days=1)
BODY = version_body()
ARMS = arms_of(BODY)

TAG_FLOW = {
    "start": "wait",
    "states": {
        "wait": {"kind": "wait", "duration": "P1D", "next": "mark"},
        "mark": {"kind": "tag", "tag": "seen", "expires_after": "P2D", "next": "end"},
        "end": {"kind": "end", "result": "done"},
    },
}


class Tags:
    """Notes the tags it is asked to set; refuses those of one user."""

    def __init__(self, refused: str = "") -> None:
        self.set: list[tuple[str, str, str, datetime, datetime | None]] = []
        self.refused = refused

    def __call__(
        self,
        connection: Connection,
        user_id: str,
        tag: str,
        source: str,
        at: datetime,
        expires_at: datetime | None,
    ) -> None:
        if user_id == self.refused:
            connection.exec_driver_sql("SELECT * FROM there_is_no_such_table")
        self.set.append((user_id, tag, source, at, expires_at))


def executor(
    database: Database,
    clock: SimulatedClock,
    *,
    plans: MemoryPlans | None = None,
    tags: Tags | None = None,
    batch: int = 500,
) -> Executor:
    effects = Effects(Wallet(database, clock), tags or Tags())
    return Executor(database, clock, plans or MemoryPlans({1: BODY}), effects, batch=batch)


def start(
    database: Database, runner: Executor, clock: SimulatedClock, users: Sequence[str], **decided: Any
) -> None:
    def work(connection: Connection) -> None:
        arm = ARMS["milk"]
        runner.start(connection, [(decision_for(user, arm, clock.now(), **decided), arm) for user in users])

    database.write(work, rows=len(users))


def orders(database: Database, now: datetime, *orders: tuple[str, datetime, str]) -> None:
    """Record that users bought one category at a moment, in this order."""
    with database.read() as connection:
        known = sum(ledger.counts(connection).get(Kind.EVENT, {}).values())
    facts = [
        NewFact(
            Kind.EVENT,
            f"m{known + number}",
            "order_completed",
            user,
            at,
            EventBody({"categories": [category]}),
        )
        for number, (user, at, category) in enumerate(orders)
    ]
    database.write(lambda connection: ledger.append(connection, facts, now), rows=len(facts))


def enrolment(database: Database, user: str) -> Enrolment:
    with database.read() as connection:
        found = repository.get_enrolment(connection, user)
    assert found is not None
    return found


def counted(database: Database) -> dict[str, dict[str, int]]:
    with database.read() as connection:
        counts = ledger.counts(connection)
    return {kind.value: labels for kind, labels in counts.items() if kind is not Kind.EVENT}


def test_the_whole_run_of_a_user_who_buys_and_of_one_who_does_not(
    database: Database, clock: SimulatedClock
) -> None:
    runner, begun = executor(database, clock), clock.now()
    start(database, runner, clock, ["ann", "bob"])
    assert enrolment(database, "ann").revision == 0
    assert runner.advance_due() == Report(advanced=2, issued=2, queued=2)
    assert enrolment(database, "ann").due_at == begun + 14 * DAY

    clock.move_to(begun + 20 * DAY)
    orders(
        database,
        clock.now(),
        ("ann", begun + 3 * DAY, "milk"),
        ("bob", begun + 3 * DAY, "bread"),
        ("eve", begun, "milk"),
    )
    assert runner.route_events() == Report(events=3, advanced=1, ended=1, used=1)
    assert runner.advance_due() == Report(advanced=1, ended=1)
    assert counted(database) == {
        "enrolment": {"started": 2, "ended": 2},
        "coupon": {"issued": 2, "used": 1},
        "message": {"queued": 2},
    }
    for user, result, at in (("ann", "used", begun + 3 * DAY), ("bob", "expired", begun + 14 * DAY)):
        after = enrolment(database, user)
        assert (after.status, after.result, after.entered_at) == (Status.ENDED, result, at)
        with database.read() as connection:
            fact = ledger.get(connection, Kind.ENROLMENT, f"{user}:ended")
        assert fact is not None
        assert fact.occurred_at == at
        assert fact.decode(EnrolmentFact) == EnrolmentFact(user, "coupons", 1, "coupons/milk", result)


def test_nothing_happens_twice_while_the_clock_stands(database: Database, clock: SimulatedClock) -> None:
    runner = executor(database, clock)
    start(database, runner, clock, ["ann"])
    orders(database, clock.now(), ("ann", clock.now(), "milk"))
    first = runner.route_events() + runner.advance_due()
    assert first == Report(events=1, advanced=1, ended=1, issued=1, used=1, queued=1)
    assert not runner.route_events() + runner.advance_due()


@pytest.mark.parametrize("late", [timedelta(0), -timedelta(microseconds=1)])
def test_the_moment_of_the_timeout_belongs_to_the_timeout(
    database: Database, clock: SimulatedClock, late: timedelta
) -> None:
    runner, begun = executor(database, clock), clock.now()
    start(database, runner, clock, ["ann"])
    runner.advance_due()
    clock.move_to(begun + 14 * DAY)
    orders(database, clock.now(), ("ann", begun + 14 * DAY + late, "milk"))
    runner.route_events()
    assert enrolment(database, "ann").result == ("used" if late else "expired")


def test_events_of_a_turn_are_applied_in_the_order_in_which_they_happened(
    database: Database, clock: SimulatedClock
) -> None:
    twice = version_body(
        {
            "start": "first",
            "states": {
                name: {
                    "kind": "wait_for_event",
                    "event": "order_completed",
                    "where": f"list_contains(event.categories, '{category}')",
                    "timeout": "P9D",
                    "on_event": then,
                    "on_timeout": "no",
                }
                for name, category, then in (("first", "milk", "second"), ("second", "bread", "yes"))
            }
            | {result: {"kind": "end", "result": result} for result in ("yes", "no")},
        }
    )
    runner, begun = executor(database, clock, plans=MemoryPlans({1: twice})), clock.now()
    start(database, runner, clock, ["ann", "bob"])
    runner.advance_due()
    clock.move_to(begun + 5 * DAY)
    orders(
        database,
        clock.now(),
        ("ann", begun + 2 * DAY, "bread"),
        ("ann", begun + DAY, "milk"),
        ("bob", begun + 2 * DAY, "milk"),
        ("bob", begun + DAY, "bread"),
    )
    assert runner.route_events() == Report(events=4, advanced=2, ended=1)
    assert enrolment(database, "ann").result == "yes"
    bob = enrolment(database, "bob")
    assert (bob.state, bob.entered_at) == ("second", begun + 2 * DAY)


def test_more_than_one_turn_of_events_and_enrolments(database: Database, clock: SimulatedClock) -> None:
    runner, begun = executor(database, clock, batch=7), clock.now()
    users = [f"u{number:02}" for number in range(30)]
    start(database, runner, clock, users)
    assert runner.advance_due().advanced == 30
    clock.move_to(begun + DAY)
    orders(database, clock.now(), *((user, begun + DAY, "milk") for user in users))
    assert runner.route_events() == Report(events=30, advanced=30, ended=30, used=30)


def test_a_turn_takes_as_many_events_as_few_enough_runs_wait_for(
    database: Database, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may be in many runs, and each of their events is for all of them."""
    runner = executor(database, clock, batch=4)
    for user in ("ann", "bob", "cay"):
        for number in range(3):
            start(database, runner, clock, [user], decision_id=f"{user}{number}")
    runner.advance_due()
    clock.move_to(clock.now() + timedelta(hours=1))
    orders(database, clock.now(), *((user, clock.now(), "milk") for user in ("ann", "bob", "cay")))
    turns: list[int] = []
    claim = repository.claim_of_users

    def claimed(connection: Connection, users: Sequence[str]) -> list[Enrolment]:
        found = claim(connection, users)
        turns.append(len(found))
        return found

    monkeypatch.setattr(repository, "claim_of_users", claimed)
    assert runner.route_events() == Report(events=3, advanced=9, ended=9, used=9)
    assert [number for number in turns if number] == [3, 3, 3]


def test_a_pass_also_takes_what_is_due_again_by_its_own_doing(
    database: Database, clock: SimulatedClock
) -> None:
    flow = {
        "start": "first",
        "states": {
            "first": {"kind": "wait", "duration": "PT1H", "next": "second"},
            "second": {"kind": "wait", "duration": "PT1H", "next": "end"},
            "end": {"kind": "end", "result": "done"},
        },
    }
    plans = MemoryPlans({1: version_body(flow)})
    runner, begun = executor(database, clock, plans=plans, batch=7), clock.now()
    for minutes in range(3):
        clock.move_to(begun + timedelta(minutes=minutes))
        start(database, runner, clock, [f"u{minutes}{number}" for number in range(7)])
    clock.move_to(begun + DAY)
    assert runner.advance_due() == Report(advanced=63, ended=21)


def test_a_decision_that_is_not_kept_starts_nothing(database: Database, clock: SimulatedClock) -> None:
    runner = executor(database, clock)

    def fail_after_start(connection: Connection) -> None:
        runner.start(connection, [(decision_for("ann", ARMS["milk"], clock.now()), ARMS["milk"])])
        raise RuntimeError("the decision was not kept")

    with pytest.raises(RuntimeError):
        database.write(fail_after_start)
    assert not runner.advance_due()
    assert counted(database) == {}


def test_a_decision_of_an_unknown_version_or_offer_is_refused(
    database: Database, clock: SimulatedClock
) -> None:
    runner = executor(database, clock)
    with pytest.raises(UnknownVersion, match="version 2"):
        start(database, runner, clock, ["ann"], version=2)
    strange = ARMS["milk"].__class__("coupons/x", "coupons", "x", "memory", "hello", {})
    with pytest.raises(FlowBroken, match="no offer 'x'"):
        database.write(lambda c: runner.start(c, [(decision_for("ann", strange, clock.now()), strange)]))
    assert counted(database) == {}


def test_work_that_dies_before_its_commit_left_nothing_behind(
    database: Database, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, begun = executor(database, clock), clock.now()
    start(database, runner, clock, ["ann", "bob"])
    clock.move_to(begun + DAY)
    orders(database, clock.now(), ("ann", begun + DAY, "milk"))
    keep = Effects.keep

    def keep_and_die(self: Effects, *args: Any) -> Report:
        keep(self, *args)
        raise RuntimeError("the power went off")

    for turn in (runner.route_events, runner.advance_due):
        with monkeypatch.context() as patched:
            patched.setattr(Effects, "keep", keep_and_die)
            with pytest.raises(RuntimeError, match="power"):
                turn()
    assert counted(database) == {"enrolment": {"started": 2}}
    assert runner.route_events() == Report(events=1, advanced=1, ended=1, issued=1, used=1, queued=1)
    assert runner.advance_due() == Report(advanced=1, issued=1, queued=1)


def test_work_that_the_writer_runs_twice_counts_once(database: Database, clock: SimulatedClock) -> None:
    runner = executor(database, clock)
    start(database, runner, clock, ["ann"])

    def fail(connection: Connection) -> None:
        raise RuntimeError("of another caller, in the same turn")

    # Work of the same turn is rolled back together and run again one by one.
    failing = [database.writer.submit(fail) for _ in range(20)]
    assert runner.advance_due() == Report(advanced=1, issued=1, queued=1)
    assert all(isinstance(one.exception(), RuntimeError) for one in failing)
    assert counted(database)["coupon"] == {"issued": 1}


def test_executors_side_by_side_advance_each_enrolment_once(
    database: Database, clock: SimulatedClock
) -> None:
    users = [f"u{number:03}" for number in range(200)]
    runners = [executor(database, clock, batch=9) for _ in range(4)]
    start(database, runners[0], clock, users)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda runner: runner.advance_due(), runners))
    reports.append(runners[0].advance_due())
    assert sum(reports, Report()) == Report(advanced=200, issued=200, queued=200)
    begun = clock.now()
    clock.move_to(begun + DAY)
    orders(database, clock.now(), *((user, begun + DAY, "milk") for user in users))
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda runner: runner.route_events(), runners))
    reports.append(runners[0].route_events())
    assert sum(reports, Report()) == Report(events=200, advanced=200, ended=200, used=200)


def test_an_enrolment_of_a_lost_version_is_set_aside_and_the_others_go_on(
    database: Database, clock: SimulatedClock
) -> None:
    plans = MemoryPlans({1: BODY, 2: BODY})
    runner = executor(database, clock, plans=plans)
    start(database, runner, clock, ["ann"], version=2)
    start(database, runner, clock, ["bob"])
    plans.forget("coupons", 2)
    assert runner.advance_due() == Report(advanced=2, stuck=1, issued=1, queued=1)
    ann = enrolment(database, "ann")
    assert (ann.status, ann.due_at) == (Status.STUCK, None)
    assert "no version 2" in str(ann.result)
    assert counted(database)["enrolment"] == {"started": 2, "stuck": 1}
    assert not runner.advance_due()


def test_a_decision_puts_the_tags_of_its_playbook_on_the_user(
    database: Database, clock: SimulatedClock
) -> None:
    given = [{"tag": "offered"}, {"tag": "of_late", "expires_after": "P3D"}]
    body = version_body()
    playbook = Playbook.model_validate({**body.playbook.model_dump(by_alias=True), "tags": given})
    plans = MemoryPlans({1: body.model_copy(update={"playbook": playbook})})
    tags = Tags()
    start(database, executor(database, clock, plans=plans, tags=tags), clock, ["ann"])
    source, now = "decision.coupons", clock.now()
    assert tags.set == [
        ("ann", "offered", source, now, None),
        ("ann", "of_late", source, now, now + 3 * DAY),
    ]


def test_a_tag_is_listed_once() -> None:
    with pytest.raises(ValidationError, match="tags lists offered more than once"):
        Playbook.model_validate(
            {**version_body().playbook.model_dump(by_alias=True), "tags": [{"tag": "offered"}] * 2}
        )


def test_tags_are_set_with_their_source_and_expiry(database: Database, clock: SimulatedClock) -> None:
    tags, begun = Tags(), clock.now()
    runner = executor(database, clock, plans=MemoryPlans({1: version_body(TAG_FLOW)}), tags=tags)
    start(database, runner, clock, ["ann"])
    runner.advance_due()
    clock.move_to(begun + 9 * DAY)
    assert runner.advance_due() == Report(advanced=1, ended=1, tagged=1)
    assert tags.set == [("ann", "seen", "playbook.coupons", begun + DAY, begun + 3 * DAY)]


def test_a_tag_that_can_not_be_set_holds_up_only_its_own_enrolment(
    database: Database, clock: SimulatedClock
) -> None:
    tags, begun = Tags(refused="bob"), clock.now()
    runner = executor(database, clock, plans=MemoryPlans({1: version_body(TAG_FLOW)}), tags=tags)
    start(database, runner, clock, ["ann", "bob", "eve"])
    runner.advance_due()
    clock.move_to(begun + DAY)
    assert runner.advance_due() == Report(advanced=3, ended=2, stuck=1, tagged=2)
    assert [user for user, *_ in tags.set] == ["ann", "eve"]
    assert "there_is_no_such_table" in str(enrolment(database, "bob").result)


def test_a_claim_reads_its_index_in_order(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    claims = {
        "ix_enrolments_due_at_id": (
            "SELECT * FROM enrolments WHERE due_at >= 0 AND due_at <= ? ORDER BY due_at, id LIMIT 9"
        ),
        "ix_enrolments_user_id_status_playbook (user_id=? AND status=?)": (
            "SELECT * FROM enrolments WHERE user_id IN (?, 'ann') AND status = 'active' "
            "AND due_at IS NOT NULL"
        ),
        "ix_enrolments_user_id_status_playbook (user_id=?)": (
            "SELECT * FROM enrolments WHERE user_id IN (?, 'ann') AND playbook = 'coffee'"
        ),
        "ix_enrolments_active_playbook_playbook_version_id": (
            "SELECT * FROM enrolments WHERE playbook = 'coffee' AND playbook_version = ? "
            "AND status = 'active' AND id > 'a' ORDER BY id LIMIT 9"
        ),
        "ix_outbox_channel_lane_available_at_key": (
            "SELECT * FROM outbox WHERE channel = 'sms' AND lane = 1 AND available_at <= ? "
            "ORDER BY channel, lane, available_at, key LIMIT 9"
        ),
        "ix_coupons_closes_at_id": (
            "SELECT * FROM coupons WHERE closes_at <= ? ORDER BY closes_at, id LIMIT 9"
        ),
    }
    with database.read() as connection:
        for index, claim in claims.items():
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim}", (1,)).fetchall())
            assert index in plan
            assert "TEMP B-TREE" not in plan
    database.close()
