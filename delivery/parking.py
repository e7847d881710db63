"""Puts aside what a control stops, and back in its place when the control was resumed.

What is put aside leaves its queue, so that it is looked at once, however much there is and however long it
waits. A control that was resumed stays `resuming` until nothing waits for it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import People
from delivery import parking_repository, repository
from delivery.models import Enrolment, Status
from delivery.outbox_repository import Queued
from delivery.routing import READER
from playbooks.controls import Control, Controls, Mode
from playbooks.controls import repository as controls_repository
from storage import readers
from storage.engine import Database
from storage.ledger import Fact
from storage.pace import Pace
from storage.writer import TURN_ROWS


def park_messages(connection: Connection, stopped: Sequence[tuple[Queued, Control]]) -> set[str]:
    """Put messages aside that were claimed in this transaction; return the keys of those that were.

    The others' controls were resumed meanwhile.
    """
    if not stopped:
        return set()
    hold = controls_repository.held(connection, {control.key: control for _, control in stopped}.values())
    aside = [(one.key, control.key) for one, control in stopped if control.key in hold]
    parking_repository.park_messages(connection, aside)
    return {key for key, _ in aside}


class Resumed(msgspec.Struct, frozen=True, gc=False):
    """A run that goes on, as it was when it was put aside, and what happened to its user since."""

    enrolment: Enrolment
    facts: Sequence[Fact]


def park_runs(
    connection: Connection, stopped: Sequence[tuple[Enrolment, Control]], position: int
) -> set[str]:
    """Put runs aside that were claimed in this transaction; return the ids of those that were.

    Args:
        position: up to where the ledger was routed to them.
    """
    if not stopped:
        return set()
    hold = controls_repository.held(connection, {control.key: control for _, control in stopped}.values())
    aside = [(one.id, control.key) for one, control in stopped if control.key in hold]
    parking_repository.park_runs(connection, aside, position)
    return {run for run, _ in aside}


def going(
    connection: Connection,
    controls: Controls,
    people: People,
    found: Sequence[Enrolment],
    position: int | None = None,
) -> Sequence[Enrolment]:
    """Put the runs aside that a control stops, of those that were claimed here; return the others.

    Args:
        position: up to where the ledger was routed to them; None: as far as it was routed.
    """
    if not controls:
        return found
    stopped = [
        (one, control)
        for one in found
        if (control := controls.of_run(one.playbook, people.canonical(one.user_id))) is not None
    ]
    if position is None:
        position = readers.position_of(connection, READER)
    aside = park_runs(connection, stopped, position)
    return [one for one in found if one.id not in aside]


def anything_resumed(connection: Connection) -> bool:
    """Whether a control was resumed and something may still wait for it."""
    return bool(controls_repository.standing(connection, [Mode.RESUMING]))


def parked_runs(connection: Connection, position: int, people: People, limit: int) -> list[Resumed]:
    """Return runs whose control was resumed, with what happened up to a position of the ledger.

    What ended meanwhile, or was moved on by hand, is no longer among them and is forgotten.
    """
    found: list[Resumed] = []
    for control in controls_repository.standing(connection, [Mode.RESUMING]):
        if len(found) >= limit:
            break
        runs = parking_repository.runs_of(connection, control.key, limit - len(found))
        enrolments = repository.enrolments_of(connection, list(runs))
        for run, (ready_at, since) in runs.items():
            one = enrolments.get(run)
            if one is None or one.status is not Status.ACTIVE or one.due_at is not None:
                parking_repository.forget(connection, parking_repository.RUN, [run])
                continue
            facts = parking_repository.facts_between(connection, people.members(one.user_id), since, position)
            found.append(Resumed(msgspec.structs.replace(one, due_at=ready_at), facts))
    return found


def put_back_runs(connection: Connection, found: Sequence[Resumed]) -> None:
    """Put runs back into their queue, as they were."""
    parking_repository.unpark_runs(connection, [(one.enrolment.id, one.enrolment.due_at) for one in found])


def put_back_messages(database: Database, pace: Pace) -> int:
    """Put the messages back whose controls were resumed; return how many there were."""
    total = 0
    with database.read() as connection:
        resuming = controls_repository.standing(connection, [Mode.RESUMING])
    for control in resuming:
        more = True
        while more:
            more, number = database.write(partial(_put_back, control=control, pace=pace), rows=TURN_ROWS)
            total += number
    return total


def _put_back(connection: Connection, control: Control, pace: Pace) -> tuple[bool, int]:
    now = controls_repository.get(connection, control.scope, control.target)
    if now is None or now.mode is not Mode.RESUMING:
        return False, 0

    def some(limit: int) -> tuple[int, int]:
        number = parking_repository.unpark_messages(connection, control.key, limit)
        return number, number

    more, number = pace.turn(connection, some)
    if not more and not parking_repository.anything(connection, control.key):
        controls_repository.settle(connection, control)
    return more, number
