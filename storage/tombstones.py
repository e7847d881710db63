"""What is left of an erased person's facts: they stay countable, and evaluations that read them valid.

Each fact keeps its kind, label and times. Its body becomes a tombstone with the numbers that evaluations
need, its user a random pseudonym, the same in all facts of one erasure, so that intervals can go on
grouping by user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, update

from storage.erasure import Erasing, Rows
from storage.ledger import Kind
from storage.schema import facts
from storage.statements import Statement

# What a tombstone keeps of a body. Not a decision's draw and request key: the draw is a hash that also
# covers the user id, and who knows the key could find the user by trying.
_OF_ARM = ("decision_id", "placement", "decided_at", "policy", "playbook")
_OF_DRAW = ("library", "suppressed", "arms", "scores", "weights", "probabilities", "chosen", "propensity")
_OF_ANSWER = ("playbook_version", "refused_by", "fallback", "test")
_KEPT: Mapping[Kind, frozenset[str]] = {
    Kind.DECISION: frozenset({*_OF_ARM, *_OF_DRAW, *_OF_ANSWER}),
    Kind.REWARD: frozenset({*_OF_ARM, "arm", "acts", "value", "cost", "delay", "version", "goal"}),
    # Who of the staff did what in which time; nothing of the user.
    Kind.TASK: frozenset({"playbook", "state", "person", "team", "due_at", "late", "result", "level"}),
}
# Names whose value must go but that readers expect.
_NULLED: Mapping[Kind, frozenset[str]] = {Kind.REWARD: frozenset({"outcome"})}

_REPLACE = Statement(
    update(facts)
    .where(facts.c.seq == bindparam("number"))
    .values(
        {"id": bindparam("new_id"), "user_id": bindparam("pseudonym"), "body": bindparam("tombstone")},
    )
)


def tombstone(kind: Kind, body: str) -> str:
    """Return what is left of a body of a kind, as JSON."""
    decoded = msgspec.json.decode(body)
    left: dict[str, Any] = {"erased": True}
    if isinstance(decoded, dict):
        kept, nulled = _KEPT.get(kind, frozenset()), _NULLED.get(kind, frozenset())
        left |= {name: value for name, value in decoded.items() if name in kept}
        left |= dict.fromkeys(name for name in decoded if name in nulled)
    return msgspec.json.encode(left).decode()


def _replace(connection: Connection, whom: Erasing, limit: int) -> int:
    query = select(facts.c.seq, facts.c.kind, facts.c.id, facts.c.body)
    rows = connection.execute(query.where(facts.c.user_id == whom.user_id).limit(limit)).all()
    _REPLACE.run_many(
        connection,
        [
            {
                "number": seq,
                "new_id": _without(fact_id, whom, seq),
                "pseudonym": whom.pseudonym,
                "tombstone": tombstone(Kind(kind), body),
            }
            for seq, kind, fact_id, body in rows
        ],
    )
    return len(rows)


def _without(fact_id: str, whom: Erasing, number: int) -> str:
    """Return a fact's id with the user's replaced, where that is all of it or a part between colons.

    The fact's number keeps apart what differed by the ids of one person only.
    """
    return re.sub(rf"(?<![^:]){re.escape(whom.user_id)}(?![^:])", f"{whom.pseudonym}.{number}", fact_id)


FACTS = Rows("facts", [facts], _replace)
