"""SQL of what is learnt from: matured rewards beside their decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, select

from learning.repository import IN_LIST, REWARD_LABEL
from storage.ledger import Kind
from storage.order import settled
from storage.schema import facts


def rewards_since(connection: Connection, after: int, until: int | None) -> list[int]:
    """Return the `seq` of all first rewards after one, up to and with another, in their order."""
    kind, label = facts.c.kind, facts.c.label
    query = select(facts.c.seq).where(facts.c.seq > after, settled(connection)).order_by(facts.c.seq)
    if after > 0:
        # Few facts are new: they are looked through, and not the index of all rewards there ever were.
        query = query.where(kind.concat("") == Kind.REWARD.value, label.concat("") == REWARD_LABEL)
    else:
        query = query.where(kind == Kind.REWARD, label == REWARD_LABEL)
    if until is not None:
        query = query.where(facts.c.seq <= until)
    return list(connection.execute(query).scalars())


def rewards_with_decisions(connection: Connection, seqs: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return rewards beside their decisions: id, both bodies as JSON.

    Those whose messages were recalled are left out, and those whose decision is gone.
    """
    made, recall = facts.alias("made"), facts.alias("recall")
    recalls = select(recall.c.id).where(recall.c.kind == Kind.RECALL, recall.c.id == facts.c.id)
    query = (
        select(facts.c.id, facts.c.body, made.c.body)
        .join(made, and_(made.c.kind == Kind.DECISION, made.c.id == facts.c.id))
        .where(~recalls.exists())
    )
    found: list[Any] = []
    for start in range(0, len(seqs), IN_LIST):
        some = facts.c.seq.in_(seqs[start : start + IN_LIST])
        found += connection.execute(query.where(some)).all()
    return found
