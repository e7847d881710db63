"""SQL of what is learnt from: matured rewards beside their decisions, and windows that are open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select

from learning.repository import CURRENT_REWARD, REWARD_LABEL, Window, pieces, window_of
from learning.rewards import Reward
from learning.tables import reward_windows
from playbooks.models import DO_NOTHING
from storage.ledger import Kind
from storage.order import settled
from storage.schema import facts
from storage.standing_aside import aside
from storage.statements import Statement


def rewards_since(connection: Connection, after: int, until: int | None) -> list[int]:
    """Return the `seq` of all first rewards after one, up to and with another, in their order."""
    # Both are answered by indexes alone: the label of each reward would be looked up in the facts.
    query = (
        select(facts.c.seq)
        .where(facts.c.kind == Kind.REWARD, facts.c.seq > after, settled(connection))
        .order_by(facts.c.seq)
    )
    if until is not None:
        query = query.where(facts.c.seq <= until)
    label = facts.c.label
    others = select(facts.c.seq).where(
        facts.c.kind == Kind.REWARD, or_(label < REWARD_LABEL, label > REWARD_LABEL), facts.c.seq + 0 > after
    )
    found = list(aside(connection.execute(query).scalars()))
    later = set(connection.execute(others).scalars())
    return [seq for seq in found if seq not in later] if later else found


def rewards_with_decisions(connection: Connection, seqs: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return rewards, which are in the order of their `seq`, beside their decisions: id, both bodies as JSON.

    Those whose messages were recalled are left out, and those whose decision is gone.
    """
    wanted = set(seqs)
    if not wanted:
        return []
    rows: Iterable[Sequence[Any]] = _WITH_DECISIONS.run(connection, {"first": seqs[0], "last": seqs[-1]})
    return [(row[1], row[2], row[3]) for row in aside(rows) if row[0] in wanted]


def open_windows(
    connection: Connection, placements: Collection[str], now: datetime, limit: int
) -> list[Window]:
    """Return windows of arms that were delivered and are open, those first that close first."""
    windows = reward_windows.c
    query = (
        select(reward_windows)
        .where(windows.matured.is_(False), windows.closes_at > now, windows.rewarded == 0)
        .where(_delivered(placements), windows.decided_at <= now)
        .order_by(windows.closes_at, windows.user_id, windows.decision_id)
        .limit(limit)
    )
    return [window_of(row) for row in connection.execute(query)]


def closed_windows(
    connection: Connection, placements: Collection[str], limit: int
) -> list[tuple[Window, Reward]]:
    """Return the latest matured windows of delivered arms, each with its reward."""
    windows = reward_windows.c
    decoder = msgspec.json.Decoder(Reward)
    query = (
        select(reward_windows, facts.c.body.label("reward"))
        .join(facts, and_(facts.c.kind == Kind.REWARD, facts.c.id == CURRENT_REWARD))
        .where(windows.matured.is_(True), _delivered(placements))
        .order_by(windows.closes_at.desc(), windows.user_id, windows.decision_id)
        .limit(limit)
    )
    found = []
    for row in connection.execute(query):
        told = dict(row._mapping)
        reward = decoder.decode(told.pop("reward"))
        found.append((Window(**told), reward))
    return found


def _delivered(placements: Collection[str]) -> ColumnElement[bool]:
    windows = reward_windows.c
    return and_(windows.placement.in_(placements), windows.acts.is_(True), windows.arm != DO_NOTHING)


def decisions(connection: Connection, ids: Collection[str]) -> dict[str, str]:
    """Return the records of decisions as JSON, by id, but of those whose messages were recalled."""
    recall = facts.alias("recall")
    recalls = select(recall.c.id).where(recall.c.kind == Kind.RECALL, recall.c.id == facts.c.id)
    found: dict[str, str] = {}
    for some in pieces(ids):
        query = select(facts.c.id, facts.c.body).where(
            facts.c.kind == Kind.DECISION, facts.c.id.in_(some), ~recalls.exists()
        )
        found |= {row.id: row.body for row in connection.execute(query)}
    return found


def _with_decisions() -> Select[Any]:
    made, recall = facts.alias("made"), facts.alias("recall")
    recalls = select(recall.c.id).where(recall.c.kind == Kind.RECALL, recall.c.id == facts.c.id)
    return (
        select(facts.c.seq, facts.c.id, facts.c.body, made.c.body)
        .join(made, and_(made.c.kind == Kind.DECISION, made.c.id == facts.c.id))
        .where(facts.c.kind == Kind.REWARD, facts.c.seq.between(bindparam("first"), bindparam("last")))
        .where(~recalls.exists())
        .order_by(facts.c.seq)
    )


# Between them there are few others: rewards that were corrected later.
_WITH_DECISIONS = Statement(_with_decisions())
