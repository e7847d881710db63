"""Tasks and users as a file: bounded for each person and day, and every one recorded."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from delivery.errors import TooMuchTaken
from delivery.people import repository
from delivery.people.desk import Desk
from delivery.people.models import Caller
from delivery.people.opening import TaskGiver
from delivery.people.repository import Wanted
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

LABEL = "exported"
What = Literal["tasks", "users"]

_TASK = ("id", "user_id", "playbook", "title", "person", "team", "standing", "opened_at", "due_at", "done_at")
_TASK_COLUMNS = (*_TASK, "done_by", "result", "note")
_USER_COLUMNS = ("user_id", "account_id", "owner")
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Exported(msgspec.Struct, frozen=True):
    """A file, how many rows it has, and how many more may be taken on this day."""

    text: str
    rows: int
    left: int


class Exporting:
    """Gives out files."""

    def __init__(self, desk: Desk, giver: TaskGiver) -> None:
        self._desk, self._giver = desk, giver

    def take(self, what: What, wanted: Wanted, caller: Caller, chosen: dict[str, Any]) -> Exported:
        """Return tasks, or users with their owners, as CSV, and record who took how many.

        Args:
            wanted: which; of users `person`, `people` and `teams` say whose.
            chosen: what was asked for, as it is recorded.

        Raises:
            TooMuchTaken: that is more than the person may still take on this day (UTC); nothing is given.
        """
        by = caller.person or caller.name
        most = self._desk.staff.exports.rows_per_day

        def work(connection: Connection) -> Exported:
            now = self._desk.now()
            # Two exports of one person at once must not both find room.
            repository.lock_staff(connection)
            taken = repository.exported(connection, by, now.date())
            rows = self._rows(connection, what, wanted, most - taken + 1)
            if taken + len(rows) > most:
                raise TooMuchTaken(
                    f"{by} may take away {most} rows a day and took {taken}: this would be more than the "
                    f"{max(0, most - taken)} that are left; ask for fewer, or tomorrow"
                )
            self._record(connection, by, now.date(), what, len(rows), chosen)
            columns = _TASK_COLUMNS if what == "tasks" else _USER_COLUMNS
            return Exported(_csv(columns, rows), len(rows), most - taken - len(rows))

        return self._desk.database.write(work, rows=2, lane=Lane.REQUEST)

    def _rows(self, connection: Connection, what: What, wanted: Wanted, limit: int) -> list[Sequence[Any]]:
        if what == "tasks":
            now = self._desk.now()
            found = [one.shown(now) for one in repository.listed(connection, wanted, None, max(0, limit))]
            return [[one[name] for name in _TASK_COLUMNS] for one in found]
        return list(self._giver.owned(connection, self._desk.now(), wanted, max(0, limit)))

    def _record(
        self, connection: Connection, by: str, day: date, what: What, rows: int, chosen: dict[str, Any]
    ) -> None:
        now = self._desk.now()
        repository.count_export(connection, by, day, rows)
        body = {"id": what, "by": by, "rows": rows, "chosen": chosen}
        ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), LABEL, None, now, body)], now)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
