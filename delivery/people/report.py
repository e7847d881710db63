"""The supervisor's report: what became of the tasks of each person and team, from the ledger's facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import msgspec
from sqlalchemy import Connection

from storage import ledger
from storage.ledger import Fact, Kind
from storage.times import MICROSECOND

# Labels of the facts that say who has a task, and what became of it.
_OPENED = "opened"
_LABELS = ("claimed", "reassigned", "escalated", "done", "left")


class _Body(msgspec.Struct, frozen=True):
    """What the facts say of it, also those of users who were erased."""

    person: str | None = None
    team: str | None = None
    due_at: datetime | None = None
    result: str | None = None
    late: bool = False


class Became(msgspec.Struct):
    """What became of one task by a moment, and who has it; `taken_from` had it when it was escalated."""

    opened_at: datetime
    due_at: datetime
    person: str | None
    team: str | None
    done_at: datetime | None = None
    late: bool = False
    result: str | None = None
    is_left: bool = False
    taken_from: list[tuple[str | None, str | None]] = []


class Tally(msgspec.Struct):
    """Tasks of somebody: opened = done_in_time + done_late + left + open.

    `overdue` are those of `left` and `open` that were not done by their due time, `escalated` how often one
    was taken away for that. `median_seconds` is from opening to done, of those done.
    """

    opened: int = 0
    done_in_time: int = 0
    done_late: int = 0
    left: int = 0
    open: int = 0
    overdue: int = 0
    escalated: int = 0
    median_seconds: float | None = None
    results: dict[str, int] = {}


class Report(msgspec.Struct, frozen=True):
    """Tasks opened in [from, to), by who has or had them last; under "" those that nobody had."""

    people: Mapping[str, Tally]
    teams: Mapping[str, Tally]
    total: Tally


def report(connection: Connection, start: datetime, end: datetime, now: datetime) -> Report:
    """Return what became by now of the tasks that were opened in [start, end)."""
    tasks = {
        _task_of(one): _opened(one)
        for one in ledger.happened_between(connection, Kind.TASK, _OPENED, start, end)
    }
    later: list[tuple[str, Fact]] = []
    # What happens at this very moment counts.
    until = now + MICROSECOND
    for label in _LABELS:
        facts = ledger.happened_between(connection, Kind.TASK, label, start, until)
        later += [(task, one) for one in facts if (task := _task_of(one)) in tasks]
    for task, one in sorted(later, key=lambda told: (told[1].occurred_at, told[1].seq)):
        _goes_on(tasks[task], one)
    return tallied(list(tasks.values()), now)


def tallied(tasks: Sequence[Became], now: datetime) -> Report:
    """Count tasks by person and team: every task once in each, and once in the total."""
    people = {one.person or "" for one in tasks} | {who or "" for one in tasks for who, _ in one.taken_from}
    teams = {one.team or "" for one in tasks} | {team or "" for one in tasks for _, team in one.taken_from}
    return Report(
        {
            name: _tally(
                [one for one in tasks if (one.person or "") == name],
                sum((who or "") == name for one in tasks for who, _ in one.taken_from),
                now,
            )
            for name in sorted(people)
        },
        {
            name: _tally(
                [one for one in tasks if (one.team or "") == name],
                sum((team or "") == name for one in tasks for _, team in one.taken_from),
                now,
            )
            for name in sorted(teams)
        },
        _tally(tasks, sum(len(one.taken_from) for one in tasks), now),
    )


def _tally(tasks: Iterable[Became], escalated: int, now: datetime) -> Tally:
    tally, seconds = Tally(escalated=escalated), list[float]()
    for one in tasks:
        tally.opened += 1
        if one.done_at is not None:
            seconds.append((one.done_at - one.opened_at).total_seconds())
            if one.late:
                tally.done_late += 1
            else:
                tally.done_in_time += 1
            tally.results[one.result or ""] = tally.results.get(one.result or "", 0) + 1
        elif one.is_left:
            tally.left += 1
            tally.overdue += one.late
        else:
            tally.open += 1
            tally.overdue += one.due_at <= now
    tally.median_seconds = median(seconds) if seconds else None
    return tally


def _opened(fact: Fact) -> Became:
    body: Any = fact.decode(_Body)
    return Became(fact.occurred_at, body.due_at or fact.occurred_at, body.person, body.team)


def _goes_on(task: Became, fact: Fact) -> None:
    body: Any = fact.decode(_Body)
    if fact.label == "escalated":
        task.taken_from.append((task.person, task.team))
    task.person, task.team = body.person, body.team
    if fact.label == "done":
        task.done_at, task.late, task.result = fact.occurred_at, body.late, body.result
    elif fact.label == "left":
        task.is_left, task.late = True, body.late


def _task_of(fact: Fact) -> str:
    """Return the id of a fact's task, which its own id begins with."""
    return fact.id.rpartition(f":{fact.label}")[0]
