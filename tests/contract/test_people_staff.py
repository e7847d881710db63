"""What becomes of people's tasks, on both databases: results from elsewhere, reports that add up, leavers."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from delivery.errors import (
    AnswerUnreadable,
    LeftBefore,
    NoResult,
    NotYours,
    PersonUnknown,
    TaskClosed,
    TaskUnknown,
    TooMuchTaken,
)
from delivery.people.models import Caller, TaskState
from delivery.people.report import Report, Tally, report
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import erase
from storage.ledger import Kind
from storage.tombstones import FACTS
from tests.office import HOUR, OPS, Office


def answer(task: str, result: str = "won", **said: str) -> bytes:
    return json.dumps({"task_id": task, "result": result, **said}).encode()


def test_a_result_from_elsewhere_counts_once_and_is_an_outcome(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path, assign="round_robin")
    one, two = office.open("u", "v")
    answers = office.delivery.answers
    with ThreadPoolExecutor(4) as pool:
        took = list(pool.map(lambda _: answers.take("c1", answer(one.id, by="005B")).outcome, range(8)))
    assert sorted(took) == ["duplicate"] * 7 + ["recorded"]
    assert office.desk.task(one.id, OPS).done_by == "bob"
    with database.read() as connection:
        (event,) = ledger.of_user(connection, "u", kinds=[Kind.EVENT])
    properties = json.loads(event.body)["properties"]
    assert (event.label, properties["result"], properties["decision_id"]) == ("task_done", "won", "run-u")
    with pytest.raises(TaskClosed, match="under an id of its own"):
        answers.take("c1", answer(two.id))
    with pytest.raises(TaskClosed, match="was done by bob"):
        answers.take("c2", answer(one.id, "lost"))
    with pytest.raises(NoResult, match="did you mean 'lost'"):
        answers.take("c3", answer(two.id, "lst"))
    with pytest.raises(TaskUnknown):
        answers.take("c3", answer("none"))
    with pytest.raises(PersonUnknown, match="did you mean 'ann'"):
        answers.take("c3", answer(two.id, by="anne"))
    for body in (b"[]", b"\xff", b"{}", answer(two.id, nte="x"), answer(two.id, note="n" * 2001)):
        with pytest.raises(AnswerUnreadable):
            answers.take("c3", body)
    # Nothing of what was refused is left.
    assert office.desk.task(two.id, OPS).standing is TaskState.OPEN
    assert answers.take("c3", answer(two.id, "lost")).outcome == "recorded"


def adds_up(found: Report) -> None:
    fields = ("opened", "done_in_time", "done_late", "left", "open", "overdue", "escalated")
    for some in (found.people, found.teams):
        for field in fields:
            assert sum(getattr(one, field) for one in some.values()) == getattr(found.total, field), field
    for one in (*found.people.values(), *found.teams.values(), found.total):
        assert one.opened == one.done_in_time + one.done_late + one.left + one.open
        assert sum(one.results.values()) == one.done_in_time + one.done_late


def reported(office: Office, start: Any = None) -> Report:
    now = office.clock.now()
    with office.database.read() as connection:
        return report(connection, start or now - timedelta(days=30), now + HOUR, now)


def test_the_report_adds_up_also_without_an_erased_user(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    task: dict[str, Any] = {"assign": "round_robin", "grace": "PT4H", "escalate": [{"share": 1}]}
    office = Office(database, clock, tmp_path, **task)
    tasks, begun = office.open("a", "b", "c", "d", "e"), clock.now()
    clock.move_to(begun + HOUR)
    office.desk.finish(tasks[0].id, "won", Caller("k", "ann"))
    clock.move_to(begun + 5 * HOUR)
    office.delivery.run_until_idle()
    office.desk.finish(tasks[1].id, "lost", Caller("k", "sam"))
    office.desk.reassign(tasks[2].id, "sales", OPS)
    clock.move_to(begun + 8 * HOUR)
    office.delivery.run_until_idle()
    office.open("f")
    found = reported(office)
    adds_up(found)
    assert found.total == Tally(6, 1, 1, 3, 1, 3, 4, 3 * 3600.0, {"won": 1, "lost": 1})
    assert found.people["ann"] == Tally(1, 1, 0, 0, 0, 0, 2, 3600.0, {"won": 1})
    assert (found.people["bob"].escalated, found.people["bob"].opened) == (2, 1)
    assert (found.people["sam"].done_late, found.people["sam"].left) == (1, 2)
    assert found.people[""].left == 1
    erase(database, [FACTS], ["b"], clock.now())
    after = reported(office)
    adds_up(after)
    assert after == found
    assert reported(office, clock.now() - HOUR).total.opened == 1


def test_everything_of_a_leaver_goes_in_one_step(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    owners = {f"u{one}": "ann" for one in range(30)}
    office = Office(database, clock, tmp_path, owners, assign="owner")
    mine = office.open("u0", "u1", "u2")
    assert {one.person for one in mine} == {"ann"}
    done = office.desk.finish(mine[0].id, "won", Caller("k", "ann"))
    clock.move_to(clock.now() + timedelta(days=9))
    late = office.open("u3", "u4", "u5", "u6")
    leaving = office.delivery.leaving
    for to in ("ann", "anne"):
        with pytest.raises(PersonUnknown, match="another person or team"):
            leaving.leave("ann", to, OPS)
    with ThreadPoolExecutor(3) as pool:
        left = list(pool.map(lambda _: leaving.leave("ann", "sales", OPS, "moved on"), range(3)))
    assert sorted(one.tasks for one in left) == [0, 0, 4]
    assert {one.owned for one in left} == {30}
    with pytest.raises(LeftBefore, match="everything went to sales"):
        leaving.leave("ann", "bob", OPS)
    now = {one.id: one.person for one in office.all()}
    assert now[done.id] == "ann"
    assert sorted(str(now[one.id]) for one in late) == ["bob", "bob", "cleo", "cleo"]
    # What is owned is shared out, and each user stays with the same person.
    (first,) = office.open("u7")
    (again,) = [one for one in office.open("u8", "u9") if one.user_id == "u8"]
    exported = office.delivery.exporting.take("users", office.desk.wanted(OPS), OPS, {})
    by_user = {row["user_id"]: row["owner"] for row in csv.DictReader(io.StringIO(exported.text))}
    assert (by_user["u7"], by_user["u8"]) == (first.person, again.person)
    assert set(by_user.values()) == {"bob", "cleo"}
    with pytest.raises(NotYours, match="ann left"):
        office.desk.admit(Caller("k", "ann"))
    with pytest.raises(PersonUnknown, match="ann left"):
        office.desk.reassign(first.id, "ann", OPS)
    leaving.leave("bob", "cleo", OPS)
    assert {one.person for one in office.all(standing=[TaskState.OPEN])} == {"cleo"}
    with database.read() as connection:
        assert ledger.counts(connection)[Kind.CHANGE]["person_left"] == 2


def test_nobody_takes_more_away_than_a_days_worth(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path, title="=cmd|' /C calc'!A0", assign="round_robin")
    office.open(*(f"u{one}" for one in range(40)))
    joe, ann = Caller("joe", everything=True), Caller("k", "ann")

    def take(caller: Caller, **chosen: Any) -> int:
        wanted = office.desk.wanted(caller, **chosen)
        try:
            return office.delivery.exporting.take("tasks", wanted, caller, {}).rows
        except TooMuchTaken:
            return 0

    with ThreadPoolExecutor(4) as pool:
        # Of a day's 100 rows two files of 40 fit.
        assert sorted(pool.map(lambda _: take(joe), range(4))) == [0, 0, 40, 40]
    assert (take(joe, person="bob"), take(joe, person="ann")) == (20, 0)
    found = office.delivery.exporting.take("tasks", office.desk.wanted(ann, person="ann"), ann, {"x": 1})
    rows = list(csv.DictReader(io.StringIO(found.text)))
    assert {row["person"] for row in rows} == {"ann"}
    assert rows[0]["title"].startswith("'=cmd")
    clock.move_to(clock.now() + timedelta(days=1))
    assert take(joe) == 40
    with database.read() as connection:
        facts = [one for one in ledger.read_after(connection, 0, kind=Kind.CHANGE) if one.label == "exported"]
    told = [json.loads(one.body) for one in facts]
    assert [(one["by"], one["rows"]) for one in told] == [
        ("joe", 40),
        ("joe", 40),
        ("joe", 20),
        ("ann", 20),
        ("joe", 40),
    ]
