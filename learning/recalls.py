"""Decisions that evaluations leave out because messages of a playbook were recalled.

What was drawn and recalled says nothing of its arm any more. To leave out these decisions alone would leave
out one arm of all that could have been drawn, and everything that is estimated from the rest would be off. So
all decisions go that were made while the recalled ones were, and could have drawn the playbook.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, select

from playbooks.decision import Decision
from storage.ledger import Kind
from storage.schema import facts
from storage.times import from_micros


class Recalled(msgspec.Struct, frozen=True):
    """Decisions of a playbook were recalled: made from `first` to `last`, both included."""

    playbook: str
    first: datetime
    last: datetime

    def concerns(self, decision: Decision) -> bool:
        """Whether a decision could have drawn what was recalled, whatever it drew."""
        if not self.first <= decision.decided_at <= self.last:
            return False
        prefix = f"{self.playbook}/"
        return any(arm.startswith(prefix) for arm in decision.arms)


def recalled_spans(connection: Connection) -> list[Recalled]:
    """Return of which playbooks decisions were recalled, and from when to when they were made, by recall."""
    marks, made = facts.alias("marks"), facts.alias("made")
    query = (
        select(marks.c.label, func.min(made.c.occurred_at), func.max(made.c.occurred_at))
        .join(made, (made.c.id == marks.c.id) & (made.c.kind == Kind.DECISION))
        .where(marks.c.kind == Kind.RECALL)
        # All marks of one recall say the same: version and why.
        .group_by(marks.c.label, marks.c.body)
        .order_by(marks.c.label)
    )
    return [
        Recalled(playbook, from_micros(first), from_micros(last))
        for playbook, first, last in connection.execute(query)
    ]


def concerned(spans: Sequence[Recalled], decision: Decision) -> bool:
    """Whether any recall leaves a decision out of evaluations."""
    return any(one.concerns(decision) for one in spans)


def note_of(number: int) -> str:
    """Return what an evaluation says of decisions it left out."""
    return (
        f"messages were recalled: {number} decisions that could have drawn what was recalled were left out, "
        "whatever they drew"
    )
