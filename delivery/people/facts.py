"""The facts that tasks leave, and the events by which flows, goals and triggers hear of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from audiences.events import EventBody
from delivery.people.models import Task, TaskFact
from playbooks.goals import TASK_DONE, TASK_ESCALATED
from storage.ledger import Kind, NewFact

# Who sends these events.
SOURCE = "tasks"


def fact(task: Task, label: str, fact_id: str, at: datetime, **said: Any) -> NewFact:
    """Return the fact that something became of a task, as the task is after it."""
    body = TaskFact(
        task.enrolment_id,
        task.decision_id,
        task.playbook,
        task.state,
        task.id,
        task.person,
        task.team,
        **said,
    )
    return NewFact(Kind.TASK, fact_id, label, task.user_id, at, body)


def done_event(task: Task, decision_id: str, result: str, at: datetime) -> NewFact:
    """Return the outcome that a task came to, as an event of the user that names the decision."""
    return _event(task, TASK_DONE, f"{task.id}:{TASK_DONE}", at, decision_id=decision_id, result=result)


def escalated_event(task: Task, at: datetime) -> NewFact:
    """Return that nobody had done a task in time, as an event of the user."""
    fact_id = f"{task.id}:{TASK_ESCALATED}:{task.level}"
    return _event(task, TASK_ESCALATED, fact_id, at, decision_id=task.decision_id, level=task.level)


def _event(task: Task, name: str, fact_id: str, at: datetime, **told: Any) -> NewFact:
    properties = {"task": task.state, "playbook": task.playbook, "task_id": task.id, **told}
    return NewFact(Kind.EVENT, fact_id, name, task.user_id, at, EventBody(properties, source=SOURCE))
