"""What tasks are, and the facts they leave."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class TaskState(StrEnum):
    """Where a task stands. A left one can't be done any more: its run went on, or ended."""

    OPEN = "open"
    CLAIMED = "claimed"
    ESCALATED = "escalated"
    DONE = "done"
    LEFT = "left"


UNDONE = frozenset({TaskState.OPEN, TaskState.CLAIMED, TaskState.ESCALATED})


class Task(msgspec.Struct, frozen=True):
    """Something a person is to do for a run; `results` are what it can come to.

    `assignee` is whom the flow named, `person` who has it and `team` whose queue it lies in. It is overdue
    from `due_at` on and can be done until `closes_at`. `level` counts escalations, of which `escalate_at` is
    the next; `version` counts changes.
    """

    id: str
    user_id: str
    enrolment_id: str
    decision_id: str
    revision: int
    playbook: str
    state: str
    title: str
    assignee: str
    person: str | None
    team: str | None
    results: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    closes_at: datetime
    claimed_at: datetime | None = None
    snoozed_until: datetime | None = None
    level: int = 0
    escalate_at: datetime | None = None
    done_at: datetime | None = None
    done_by: str | None = None
    result: str | None = None
    note: str | None = None
    answer_id: str | None = None
    left_at: datetime | None = None
    version: int = 1

    @property
    def standing(self) -> TaskState:
        """Where it stands."""
        if self.done_at is not None:
            return TaskState.DONE
        if self.left_at is not None:
            return TaskState.LEFT
        if self.claimed_at is not None:
            return TaskState.CLAIMED
        return TaskState.ESCALATED if self.level else TaskState.OPEN

    @property
    def etag(self) -> str:
        """The version, as HTTP compares it."""
        return f'"{self.version}"'

    def is_overdue(self, now: datetime) -> bool:
        """Whether it was not done by its due time: it still isn't, was done later, or was left."""
        ended = self.done_at or self.left_at or now
        return ended > self.due_at or (self.done_at is None and ended == self.due_at)

    def shown(self, now: datetime) -> dict[str, Any]:
        """Return it as answers have it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {**plain, "standing": self.standing.value, "overdue": self.is_overdue(now)}


class TaskFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the facts about a task: who had it after it, who did it, and what belongs to its label.

    `result` and `note` are of `done`, `note` also of `commented`, `until` of `snoozed`, `level` of
    `escalated`, `due_at` of `opened`; `late` says of `done` and `left` that it was overdue.
    """

    enrolment: str
    decision: str
    playbook: str
    state: str
    task: str = ""
    person: str | None = None
    team: str | None = None
    by: str | None = None
    result: str | None = None
    note: str = ""
    until: datetime | None = None
    due_at: datetime | None = None
    level: int = 0
    late: bool = False


class Caller(msgspec.Struct, frozen=True):
    """Who asks: by which name it is recorded, which person of the staff that is, and whether all is theirs.

    A person sees and does what is their own, their team's, and of those they supervise.
    """

    name: str
    person: str | None = None
    everything: bool = False
