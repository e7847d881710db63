"""Tasks for people: opened by flows, listed and done by whoever they are for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery import task_repository as repository
from delivery.models import OpenTask, Task, TaskFact
from delivery.step import Step
from playbooks import flow as states
from storage import ledger
from storage.ledger import Kind, NewFact


def open_tasks(connection: Connection, wishes: Sequence[tuple[Step, OpenTask]], now: datetime) -> None:
    """Open the tasks that runs have come to, in the transaction that keeps the runs."""
    opened: list[Task] = []
    facts: list[NewFact] = []
    for step, wish in wishes:
        state = step.plan.flow.states[wish.state] if step.plan else None
        if not isinstance(state, states.Task):
            continue
        run = step.enrolment
        opened.append(
            Task(
                wish.key,
                run.user_id,
                run.id,
                int(wish.key.rsplit(":", 2)[1]),
                run.playbook,
                wish.state,
                state.title,
                state.assignee,
                tuple(state.results),
                wish.at,
                wish.due_at,
            )
        )
        body = TaskFact(run.id, run.decision_id, run.playbook, wish.state)
        facts.append(NewFact(Kind.TASK, f"{wish.key}:opened", "opened", run.user_id, wish.at, body))
    repository.add(connection, opened)
    ledger.append(connection, facts, now)


def done_fact(task: Task, decision_id: str, result: str, by: str, now: datetime) -> NewFact:
    """Return the fact that a task was done."""
    body = TaskFact(task.enrolment_id, decision_id, task.playbook, task.state, result, by)
    return NewFact(Kind.TASK, f"{task.id}:done", "done", task.user_id, now, body)
