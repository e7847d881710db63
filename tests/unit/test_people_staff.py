"""people.yaml: read whole or refused with every problem; who works when; and its page."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiences.rules import Schema
from decision.fitting_flows import InFlows, unfit
from delivery.errors import FlowBroken
from delivery.people.hours import Hours, after, hours_of
from delivery.people.staff import Person, Staff, read_staff
from playbooks.errors import LibraryError
from playbooks.flow import Flow, Task

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "people.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
BERLIN = ZoneInfo("Europe/Berlin")


def staff_of(folder: Path, text: str) -> Staff:
    (folder / "people.yaml").write_text(text)
    return read_staff(folder)


def test_the_page_describes_what_is_read(tmp_path: Path) -> None:
    staff = staff_of(tmp_path, BLOCKS[0])
    assert [one.id for one in staff.people.values()] == ["ann", "bob", "eva", "sam"]
    assert (staff.supervisor_of("ann", None), staff.supervisor_of("sam", None)) == ("sam", "eva")
    # Who supervises the own team has nobody above there.
    assert staff.supervisor_of("eva", None) is None
    assert (staff.called("0055g00000A1"), staff.called("nobody")) == ("ann", None)
    assert (staff.hours["support"].zone.key, staff.hours["eva"].days) == ("Europe/Lisbon", frozenset({0, 2}))
    described = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## To whom")[0], re.M))
    assert described == set(yaml.safe_load(BLOCKS[0]))
    task = Task.model_validate(yaml.safe_load(BLOCKS[1])["call"])
    assert [one.to for one in task.escalate] == [None, "eva"]
    fields = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("| field of a task |")[1].split("\n\n")[0], re.M))
    older = {"kind", "title", "assignee", "assign", "results", "on_overdue"}
    assert fields == Task.model_fields.keys() - older
    used = {name for one in yaml.safe_load(BLOCKS[0])["people"] for name in one}
    assert used == Person.model_fields.keys() - {"zone"}


def test_without_the_file_there_is_nobody(tmp_path: Path) -> None:
    assert read_staff(tmp_path) == Staff()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "people: [{id: ann, name: Ann, tea: sales}]",
            "people.0.tea: there is no such field, did you mean 'team'",
        ),
        (
            "people: [{id: ann, name: Ann, team: sale}]\nteams: [{id: sales, name: S}]",
            "people.0.team: no team 's",
        ),
        (
            "teams: [{id: sales, name: S, supervisor: sam}]",
            "teams.0.supervisor: no person 'sam'; there are none",
        ),
        ("people: [{id: a, name: A}, {id: a, name: B}]", "the id 'a' is used 2 times"),
        ("people: [{id: a, name: A, also: [x]}, {id: b, name: B, also: [x]}]", "2 people are called 'x'"),
        ("people: [{id: a, name: A, supervisor: a}]", "can't be their own supervisor"),
        ("people: [{id: a, name: A, away: [{from: 2026-03-02, until: 2026-03-01}]}]", "the last day"),
        ('hours: {from: "17:00", until: "09:00"}', "work ends after it begins"),
        ("hours: {from: 09:00, until: 17:00}", "write a time of day in quotes"),
        ("zone: user", "work in one zone"),
        ("zone: Europe/Berln", "no time zone 'Europe/Berln'"),
        ("exports: {rows_per_day: -1}", "exports.rows_per_day"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LibraryError, match=re.escape(said)) as refused:
        staff_of(tmp_path, text)
    assert "people.yaml" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"escalate": [{"share": 1}]}, "give the task a `grace`"),
        ({"escalate": [{"overdue_by": "PT2H"}], "grace": "PT2H"}, "give the task a `grace`"),
        ({"escalate": [{"share": 0.5}, {"share": 0.5}]}, "in that order"),
        ({"escalate": [{}]}, "say when in one way"),
        ({"tell": "http://crm.example/hook"}, "goes over https"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(fields: dict[str, object], said: str) -> None:
    task = {"kind": "task", "title": "Call", "due_in": "PT4H", "results": {"won": "x"}, "on_overdue": "y"}
    with pytest.raises(ValidationError, match=re.escape(said)):
        Task.model_validate({**task, **fields})


def test_hours_stand_still_at_night_and_follow_the_clocks() -> None:
    week = Hours(BERLIN, frozenset(range(5)), time(9), time(17))
    friday = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
    assert after(week, friday, timedelta(hours=1)) == datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
    # After the night in which the clocks are put forward nine o'clock is an hour earlier.
    late = datetime(2026, 3, 27, 16, 0, tzinfo=UTC)
    assert after(week, late, timedelta(hours=1)) == datetime(2026, 3, 30, 8, 0, tzinfo=UTC)
    with pytest.raises(FlowBroken, match="within three years"):
        after(week, friday, timedelta(days=365))
    with pytest.raises(FlowBroken, match="write `hours`"):
        hours_of({}, "sales")


@settings(max_examples=50)
@given(
    st.timedeltas(timedelta(0), timedelta(days=365)),
    st.timedeltas(timedelta(minutes=1), timedelta(hours=60)),
    st.timedeltas(timedelta(minutes=1), timedelta(hours=60)),
)
def test_working_time_adds_up(since: timedelta, one: timedelta, other: timedelta) -> None:
    week = Hours(BERLIN, frozenset({0, 2, 4}), time(8), time(16, 30))
    start = datetime(2026, 1, 1, tzinfo=UTC) + since
    first = after(week, start, one)
    assert after(week, first, other) == after(week, start, one + other)
    day = week.on(first.astimezone(BERLIN).date())
    assert day is not None
    assert day[0] < first <= day[1]


def test_flows_name_people_that_there_are(tmp_path: Path) -> None:
    staff = staff_of(tmp_path, "teams: [{id: sales, name: S}]\npeople: [{id: ann, name: Ann, team: sales}]")
    task = {"kind": "task", "title": "Call", "due_in": "PT4H", "results": {"won": "end"}, "on_overdue": "end"}

    def wrong(known: Staff, **fields: object) -> list[tuple[str, str]]:
        states = {"call": {**task, **fields}, "end": {"kind": "end", "result": "done"}}
        flow = Flow.model_validate({"start": "call", "states": states})
        return list(unfit(flow, InFlows(Schema({}), (), known), (), ()))

    assert wrong(staff, assignee="sales", assign="load") == wrong(Staff(), assignee="anybody") == []
    for known, fields, place, said in (
        (staff, {"assignee": "sale"}, "assignee", "did you mean 'sales'"),
        (Staff(), {"assignee": "sales", "assign": "load"}, "assign", "name a person or team"),
        (staff, {"assignee": "ann", "assign": "owner"}, "assign", "says nothing of owners"),
        (staff, {"assignee": "ann", "working_hours": True}, "working_hours", "write `hours`"),
        (staff, {"escalate": [{"share": 0.5, "to": "an"}]}, "escalate.0.to", "did you mean 'ann'"),
    ):
        ((field, message),) = wrong(known, **fields)
        assert (field, said in message) == (f"flow.states.call.{place}", True), message


def test_nobody_works_on_the_public_holidays_of_their_country(tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text(
        "zone: Europe/Berlin\nholidays: DE\nhours: {from: '09:00', until: '17:00'}\n"
        "teams:\n  - {id: munich, name: Munich, holidays: DE-BY}\n"
        "people:\n  - {id: eva, name: Eva, team: munich}\n  - {id: tim, name: Tim}\n"
    )
    staff = read_staff(tmp_path)
    # Tuesday, 5 January 2027, 16:00; the day after is Epiphany, in Bavaria alone.
    start = datetime(2027, 1, 5, 15, tzinfo=UTC)
    assert after(staff.hours["tim"], start, timedelta(hours=2)) == datetime(2027, 1, 6, 9, tzinfo=UTC)
    assert after(staff.hours["eva"], start, timedelta(hours=2)) == datetime(2027, 1, 7, 9, tzinfo=UTC)
    # The first of January is all of Germany's.
    assert staff.hours[""].on(date(2027, 1, 1)) is None
    (tmp_path / "people.yaml").write_text("holidays: Bavaria\n")
    with pytest.raises(LibraryError, match="no holidays are known of a country 'Bavaria'"):
        read_staff(tmp_path)
