"""Tasks and people, on both databases: dealt exactly, taken once, escalated once, left by none unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from delivery.errors import NotYours, PersonUnknown, SnoozeRefused, TaskChanged, TaskClosed, TaskTaken
from delivery.people.models import Caller, Task, TaskState
from delivery.people.repository import Wanted
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from tests.office import HOUR, OPS, Office


def users(number: int, prefix: str = "u") -> list[str]:
    return [f"{prefix}{one}" for one in range(number)]


def test_tasks_come_in_turn_to_those_at_work(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path, assign="round_robin")
    assert [one.person for one in office.open(*users(5))] == ["ann", "bob", "ann", "bob", "ann"]
    # The turn is kept.
    assert [one.person for one in office.open(*users(2, "v"))] == ["bob", "ann"]
    clock.move_to(clock.now() + timedelta(days=9))
    assert [one.person for one in office.open(*users(3, "w"))] == ["bob", "cleo", "ann"]


def test_turns_are_exact_under_concurrency(database: Database, clock: SimulatedClock, tmp_path: Path) -> None:
    office = Office(database, clock, tmp_path, assign="round_robin")
    offices = [office, *(Office(database, clock, tmp_path, assign="round_robin") for _ in range(3))]

    def open_some(place: int) -> None:
        for one in range(10):
            offices[place].start(f"p{place}-{one}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_some, range(4)))
    assert Counter(one.person for one in office.all()) == {"ann": 20, "bob": 20}


def test_the_least_loaded_get_tasks_and_owners_their_own(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path, assign="load")
    first = office.open("a", "b", "c")
    assert [one.person for one in first] == ["ann", "bob", "ann"]
    office.desk.finish(first[0].id, "won", OPS)
    office.desk.finish(first[2].id, "won", OPS)
    assert [one.person for one in office.open("d", "e")] == ["ann", "bob"]
    owned = {"x": "005B", "y": "cleo", "z": "nobody"}
    owners = Office(database, clock, tmp_path, owned, assign="owner")
    given = owners.open("x", "y", "z")
    # Cleo is away and nobody is called nobody: the next of the team in turn.
    assert given[0].person == "bob"
    assert {given[1].person, given[2].person} == {"ann", "bob"}


def test_of_two_who_take_a_task_one_gets_it(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path)
    (task,) = office.open("u")
    assert (task.person, task.team, task.standing) == (None, "sales", TaskState.OPEN)
    callers = [Caller("k", "ann"), Caller("k", "bob")] * 4

    def take(caller: Caller) -> str:
        try:
            return str(office.desk.claim(task.id, caller).person)
        except TaskTaken:
            return ""

    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(take, callers))
    assert len(set(took) - {""}) == 1
    taken = office.desk.task(task.id, OPS)
    assert (taken.standing, taken.version, office.facts()["claimed"]) == (TaskState.CLAIMED, 2, 1)
    with pytest.raises(TaskChanged, match='version "2" by now'):
        office.desk.finish(task.id, "won", OPS, match='"1"')
    assert office.desk.finish(task.id, "won", OPS, match='"2"').standing is TaskState.DONE
    with pytest.raises(TaskClosed, match="was done by ops"):
        office.desk.reassign(task.id, "ann", OPS)


def test_people_see_and_do_what_is_theirs(database: Database, clock: SimulatedClock, tmp_path: Path) -> None:
    office = Office(database, clock, tmp_path, assign="round_robin")
    (anns,) = office.open("u")
    ann, sam, eva = Caller("k", "ann"), Caller("k", "sam"), Caller("k", "eva")
    assert [len(office.all(one)) for one in (ann, Caller("k", "bob"), sam, eva)] == [1, 1, 1, 0]
    with pytest.raises(NotYours, match="neither eva's"):
        office.desk.claim(anns.id, eva)
    with pytest.raises(PersonUnknown, match="did you mean 'ann'"):
        office.desk.reassign(anns.id, "anne", ann)
    moved = office.desk.reassign(anns.id, "sam", ann, "the supervisor knows them")
    assert (moved.person, moved.team) == ("sam", "leads")
    with pytest.raises(SnoozeRefused, match="can be done"):
        office.desk.snooze(anns.id, clock.now() + 9 * HOUR, sam)
    office.desk.snooze(anns.id, clock.now() + HOUR, sam)
    assert (len(office.all(sam, snoozed=False)), len(office.all(sam, snoozed=True))) == (0, 1)
    office.desk.comment(anns.id, "calls back at four", sam)
    back = office.desk.reassign(anns.id, "sales", OPS)
    assert (back.person, back.team, back.standing) == (None, "sales", TaskState.OPEN)
    assert office.facts() == {"opened": 1, "reassigned": 2, "snoozed": 1, "commented": 1}
    clock.move_to(clock.now() + 4 * HOUR)
    assert [one.user_id for one in office.all(ann, overdue=True)] == ["u"]
    with pytest.raises(TaskClosed):
        office.desk.claim(anns.id, ann)


STEPS: list[dict[str, Any]] = [{"share": 0.5}, {"overdue_by": "PT1H"}, {"overdue_by": "PT2H", "to": "leads"}]


def test_what_nobody_does_goes_up_step_by_step_and_the_run_goes_on(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    task: dict[str, Any] = {"assign": "round_robin", "grace": "PT3H", "escalate": STEPS}
    office = Office(database, clock, tmp_path, **task)
    (task_,) = office.open("u")
    begun, seen = clock.now(), []
    for hours in (1.9, 2, 4.9, 5, 6, 6.9, 7):
        clock.move_to(begun + hours * HOUR)
        office.delivery.run_until_idle()
        now = office.desk.task(task_.id, OPS)
        seen.append((now.person or now.team, now.level, now.standing.value))
    assert seen == [
        ("ann", 0, "open"),
        ("sam", 1, "escalated"),
        ("sam", 1, "escalated"),
        ("eva", 2, "escalated"),
        ("leads", 3, "escalated"),
        ("leads", 3, "escalated"),
        ("leads", 3, "left"),
    ]
    assert office.facts() == {"opened": 1, "escalated": 3, "left": 1}
    with database.read() as connection:
        assert ledger.counts(connection)[Kind.EVENT] == {"task_escalated": 3}
        times = [one.occurred_at for one in ledger.of_user(connection, "u", kinds=[Kind.TASK])]
    assert times[::-1] == [begun + hours * HOUR for hours in (0, 2, 5, 6, 7)]


def test_escalations_of_several_processes_happen_once(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {"assign": "load", "grace": "P1D", "escalate": [{"share": 1}]}
    offices = [Office(database, clock, tmp_path, **wanted) for _ in range(3)]
    offices[0].open(*users(20))
    clock.move_to(clock.now() + 5 * HOUR)
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda one: one.delivery.run_until_idle().escalated, offices))
    assert sum(reports) == 20
    assert {one.person for one in offices[0].all()} == {"sam"}
    # Late, but done: the outcome is there, and says so.
    done = offices[0].desk.finish(offices[0].all()[0].id, "won", Caller("k", "sam"), "they bought")
    assert (done.done_by, done.note, done.is_overdue(clock.now())) == ("sam", "they bought", True)


def test_due_in_working_hours(database: Database, clock: SimulatedClock, tmp_path: Path) -> None:
    # Monday, 10:00 in Berlin: seven hours are left of the day, the eighth is on Tuesday from nine.
    office = Office(database, clock, tmp_path, working_hours=True, due_in="PT8H")
    (task,) = office.open("u")
    assert task.due_at.isoformat() == "2026-03-03T09:00:00+00:00"


def test_paging(database: Database, clock: SimulatedClock, tmp_path: Path) -> None:
    office = Office(database, clock, tmp_path)
    office.open(*users(5))
    wanted = Wanted(clock.now())
    seen: Sequence[Task] = office.desk.listed(wanted, limit=2)
    found = [*seen]
    while len(seen) == 2:
        seen = office.desk.listed(wanted, (seen[-1].due_at, seen[-1].id), 2)
        found += seen
    assert sorted(one.user_id for one in found) == users(5)
