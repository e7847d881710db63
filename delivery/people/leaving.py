"""Somebody leaves: their tasks, and the users they own, go to somebody else in one step."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from delivery.errors import LeftBefore, PersonUnknown
from delivery.people import repository
from delivery.people.assignment import Given
from delivery.people.desk import Desk
from delivery.people.facts import fact
from delivery.people.models import Caller, Task
from delivery.people.opening import TaskGiver, keep_turns
from playbooks.suggesting import closest
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS, Lane

LABEL = "person_left"


class Left(msgspec.Struct, frozen=True):
    """What went to whom when a person left; `owned` is of how many accounts and users."""

    person: str
    to: str
    at: datetime
    tasks: int
    owned: int


class Leaving:
    """Takes people off the staff."""

    def __init__(self, desk: Desk, giver: TaskGiver) -> None:
        self._desk, self._giver = desk, giver

    def leave(self, person: str, to: str, caller: Caller, why: str = "") -> Left:
        """Let everything of a person go to another one or to a team; the same again changes nothing.

        Undone tasks go in this transaction: to the person, or dealt to the team in turn. Whom traits call
        the owner of a user is from then on the successor, of a team always the same person for the same
        user or account. New tasks no longer come to the person.

        Raises:
            PersonUnknown: there is no such person, person or team to go to, or that one left too.
            LeftBefore: the person left before, and everything went to somebody else.
        """
        staff = self._desk.staff
        if person not in staff.people:
            raise PersonUnknown(f"people.yaml has no person {person!r}{closest(person, staff.people)}")
        names = [name for name in staff.names if name != person]
        if to not in names:
            raise PersonUnknown(
                f"everything goes to another person or team, not to {to!r}{closest(to, names)}"
            )

        with self._desk.database.read() as connection:
            owned = self._giver.owned_by(connection, person)

        def work(connection: Connection) -> Left:
            now = self._desk.now()
            roster = self._giver.roster(connection, now)
            before = repository.left(connection, person)
            if before is not None:
                if before[0] != to:
                    raise LeftBefore(
                        f"{person} left on {before[1]:%Y-%m-%d}, and everything went to {before[0]}"
                    )
                return Left(person, to, before[1], 0, owned)
            if to in roster.gone:
                raise PersonUnknown(
                    f"{to} left, and everything went to {roster.gone[to]}: name somebody else"
                )
            repository.leave(connection, person, to, now)
            roster.gone[person] = to
            tasks = repository.undone_by(connection, person)
            moved = [self._moved(connection, one, roster.give(to, "round_robin"), now) for one in tasks]
            keep_turns(connection, roster)
            by = caller.person or caller.name
            facts = [
                fact(
                    one, "reassigned", f"{one.id}:reassigned:{new_id(now)}", now, by=by, note=f"{person} left"
                )
                for one in moved
            ]
            body = {"id": person, "to": to, "tasks": len(moved), "owned": owned, "by": by, "why": why}
            change = NewFact(Kind.CHANGE, new_id(now), LABEL, None, now, body)
            ledger.append(connection, [*facts, change], now)
            return Left(person, to, now, len(moved), owned)

        return self._desk.database.write(work, rows=TURN_ROWS, lane=Lane.REQUEST)

    def _moved(self, connection: Connection, task: Task, given: Given, now: datetime) -> Task:
        return repository.change(
            connection,
            task,
            person=given.person,
            team=given.team or task.team,
            claimed_at=None,
            snoozed_until=None,
        )
