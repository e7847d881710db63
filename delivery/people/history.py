"""What led to a task: where the user stands and why, what happened last, what was decided."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from audiences.errors import UnknownScore
from audiences.events import EventBody
from audiences.identity.people import People
from audiences.scores.service import Scores
from delivery import event_repository
from delivery.people.models import Task, TaskFact
from playbooks.decision import Decision
from storage import ledger
from storage.erasure import is_pseudonym
from storage.ledger import Fact, Kind

# What a person reads before a call.
EVENTS = 20
_POINTS = 10
# Facts about the tasks of one user that are looked through for those of one task.
_STEPS = 500


class UserHistories:
    """Implements `delivery.people.telling.Histories` from the ledger."""

    def __init__(self, people: People, scores: Scores) -> None:
        self._people, self._scores = people, scores

    def of(self, connection: Connection, task: Task) -> dict[str, Any]:
        """Return scores as they stand now, events up to the moment the task was opened, the decision."""
        user = self._people.canonical(task.user_id)
        members = self._people.members(user)
        events = event_repository.until(connection, members, task.opened_at, EVENTS)
        return {
            "user_id": user,
            "scores": self._standings(user),
            "events": [_event(one) for one in events],
            "decision": _decision(ledger.get(connection, Kind.DECISION, task.decision_id)),
            "triggers": [
                {"trigger": one.label, "at": one.occurred_at.isoformat()}
                for one in ledger.of_users(connection, members, kinds=[Kind.TRIGGER], limit=_POINTS)
                if one.occurred_at <= task.opened_at
            ],
        }

    def steps(self, connection: Connection, task: Task) -> list[dict[str, Any]]:
        """Return what became of a task and what was written to it, the first first."""
        found = ledger.of_user(connection, task.user_id, kinds=[Kind.TASK], limit=_STEPS)
        mine = [one for one in found if one.id.startswith(f"{task.id}:")]
        return [_step(one) for one in sorted(mine, key=lambda one: (one.occurred_at, one.seq))]

    def _standings(self, user: str) -> list[dict[str, Any]]:
        standings = []
        for score in self._scores.definitions:
            try:
                standings.append(self._scores.explain(user, score.spec.id, limit=_POINTS))
            except UnknownScore:
                # Nothing was ever counted for the user.
                continue
        return standings


def _event(fact: Fact) -> dict[str, Any]:
    body: EventBody = fact.decode(EventBody)
    return {"name": fact.label, "at": fact.occurred_at.isoformat(), "properties": body.properties}


def _decision(fact: Fact | None) -> dict[str, Any] | None:
    if fact is None or (fact.user_id is not None and is_pseudonym(fact.user_id)):
        return None
    made: Decision = fact.decode(Decision)
    return {
        "decision_id": made.decision_id,
        "decided_at": made.decided_at.isoformat(),
        "placement": made.placement,
        "playbook": made.playbook,
        "arm": made.arms[made.chosen],
        "score": made.scores[made.chosen],
        "propensity": made.propensity,
        "audiences": list(made.audiences),
        "suppressed": {rule: list(what) for rule, what in made.suppressed.items()},
    }


def _step(fact: Fact) -> dict[str, Any]:
    body: TaskFact = fact.decode(TaskFact)
    said = {
        "person": body.person,
        "team": body.team,
        "by": body.by,
        "result": body.result,
        "note": body.note,
        "level": body.level,
        "until": body.until.isoformat() if body.until else None,
    }
    told = {name: value for name, value in said.items() if value}
    return {"what": fact.label, "at": fact.occurred_at.isoformat(), **told}
