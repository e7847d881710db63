"""A staff with tasks, for tests: people.yaml, a flow of one task, and what people see of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from delivery.people.assignment import Owned
from delivery.people.models import Caller, Task
from delivery.people.opening import TaskGiver
from delivery.people.staff import read_staff
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

HOUR = timedelta(hours=1)
PEOPLE = """
zone: Europe/Berlin
hours: {from: "09:00", until: "17:00"}
owners: {account_trait: owner, user_trait: owner}
exports: {rows_per_day: 100}
teams:
  - {id: sales, name: Sales, supervisor: sam}
  - {id: leads, name: Leads, supervisor: eva}
people:
  - {id: ann, name: Ann, team: sales}
  - {id: bob, name: Bob, team: sales, also: ["005B"]}
  - {id: cleo, name: Cleo, team: sales, away: [{from: 2026-03-01, until: 2026-03-10}]}
  - {id: sam, name: Sam, team: leads}
  - {id: eva, name: Eva}
"""
END = {"kind": "end", "result": "done"}
OPS = Caller("ops", everything=True)


class Said:
    """Owners as a test says them, by user."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        self._owners = owners

    def of(self, connection: Connection, user_id: str) -> Owned | None:
        said = self._owners.get(user_id)
        return None if said is None else Owned(said, user_id)

    def said(self, connection: Connection) -> Iterator[Owned]:
        yield from (Owned(said, user) for user, said in self._owners.items())

    def users(self, connection: Connection) -> Iterator[tuple[str, str, Owned]]:
        yield from ((user, "", Owned(said, user)) for user, said in self._owners.items())


class Office:
    """A staff whose flow gives one task to each user."""

    def __init__(
        self,
        database: Database,
        clock: SimulatedClock,
        folder: Path,
        owners: Mapping[str, str] | None = None,
        **task: Any,
    ) -> None:
        (folder / "people.yaml").write_text(PEOPLE)
        self.database, self.clock = database, clock
        state = {"kind": "task", "title": "Call", "assignee": "sales", "due_in": "PT4H", **task}
        state |= {"results": {"won": "end", "lost": "end"}, "on_overdue": "end"}
        body = version_body({"start": "call", "states": {"call": state, "end": END}})
        self._arm = arms_of(body)["milk"]
        self.webhooks = MemoryChannel()
        channels = {"memory": MemoryChannel(), "webhook": self.webhooks}
        staff = read_staff(folder)
        giver = TaskGiver(staff, Said(owners or {}))
        plans = MemoryPlans({1: body}, staff.hours)
        self.delivery = Delivery(database, clock, plans, channels, lambda *_: None, giver=giver)
        self.desk = self.delivery.desk

    def open(self, *users: str) -> list[Task]:
        """Let a run come to its task for each of these users, one turn for all."""
        self.start(*users)
        by_user = {one.user_id: one for one in self.all()}
        return [by_user[user] for user in users]

    def start(self, *users: str) -> None:
        """Begin runs, and deliver what is not in another process's hands."""

        def start(connection: Connection) -> None:
            for user in users:
                decision = decision_for(user, self._arm, self.clock.now(), decision_id=f"run-{user}")
                self.delivery.start(connection, [(decision, self._arm)])

        self.database.write(start, rows=len(users))
        self.delivery.run_until_idle()

    def all(self, caller: Caller = OPS, **chosen: Any) -> list[Task]:
        return self.desk.listed(self.desk.wanted(caller, **chosen), limit=500)

    def facts(self) -> Mapping[str, int]:
        with self.database.read() as connection:
            return ledger.counts(connection)[Kind.TASK]
