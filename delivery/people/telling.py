"""What other systems are told of tasks: signed requests through the outbox, with the user's history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection

from delivery.channels.webhook import WEBHOOK
from delivery.models import Enrolment, Message
from delivery.outbox_repository import Queued
from delivery.people import repository
from delivery.people.models import Task
from delivery.plans import Plan
from playbooks import flow as states
from playbooks.errors import ContentFailed
from storage.clock import Clock
from storage.engine import Database

# What a request tells of, as its `content` in the outbox has it.
OPENED, ESCALATED = "task_opened", "task_escalated"


class Histories(Protocol):
    """Tells what led to a task."""

    def of(self, connection: Connection, task: Task) -> dict[str, Any]:
        """Return what is known of a task's user: scores with reasons, latest events, the decision."""
        ...

    def steps(self, connection: Connection, task: Task) -> list[dict[str, Any]]:
        """Return what became of a task and what was written to it, the first first."""
        ...


class NoHistories:
    """Nothing is known of anybody."""

    def of(self, connection: Connection, task: Task) -> dict[str, Any]:
        return {}

    def steps(self, connection: Connection, task: Task) -> list[dict[str, Any]]:
        return []


def queued(task: Task, what: str, now: datetime) -> Queued:
    """Return what is to be told of a task, as the outbox keeps it."""
    suffix = "told" if what == OPENED else f"told:{task.level}"
    return Queued(f"{task.id}:{suffix}", task.enrolment_id, now, 0, None, WEBHOOK, what, task.state)


class Teller:
    """Makes the requests that tell of tasks."""

    def __init__(self, database: Database, clock: Clock, histories: Histories) -> None:
        self._database, self._clock, self._histories = database, clock, histories

    def message(self, plan: Plan, enrolment: Enrolment, queued: Queued) -> Message:
        """Return what another system is told of a task, as the task is now.

        Raises:
            ContentFailed: the task, or its state in the flow, is gone.
        """
        task_id, _, level = queued.key.partition(":told")
        state = plan.flow.states.get(queued.step)
        with self._database.read() as connection:
            task = repository.get(connection, task_id)
            if task is None or not isinstance(state, states.Task):
                raise ContentFailed(f"the task {task_id!r} of {queued.step!r} is gone")
            history = self._histories.of(connection, task)
        url = state.tell if queued.content == OPENED else state.escalate[int(level[1:]) - 1].tell
        told = {
            "type": queued.content.replace("_", ".", 1),
            "timestamp": queued.queued_at,
            "data": {
                **task.shown(self._clock.now()),
                "version": plan.version,
                "variant": enrolment.arm.id,
                "offer": enrolment.arm.offer,
                "history": history,
            },
        }
        body = msgspec.json.encode(told).decode()
        return Message(queued.key, enrolment.user_id, "", body, queued.queued_at, url or "")
