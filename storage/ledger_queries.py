"""Queries of the ledger that are asked many times a second, made once for each of their forms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, column, func, select, text

from storage.order import settled
from storage.schema import cursors, facts
from storage.statements import Statement


def columns() -> Select[Any]:
    """Return the query of all facts, whose rows `fact_of` takes."""
    return select(
        facts.c.seq,
        facts.c.kind,
        facts.c.id,
        facts.c.label,
        facts.c.user_id,
        facts.c.occurred_at,
        facts.c.recorded_at,
        facts.c.body,
    )


def page(
    connection: Connection, after: int, kinds: Sequence[str], labels: Sequence[str], limit: int
) -> list[tuple[Any, ...]]:
    """Return the next rows of facts of some kinds, and of some labels unless none are named."""
    form = connection.dialect.name, len(kinds), len(labels)
    statement = _PAGES.get(form)
    if statement is None:
        statement = _PAGES[form] = _page(connection, len(kinds), len(labels))
    names = (*_named("kind", len(kinds)), *_named("label", len(labels)))
    named = dict(zip(names, (*kinds, *labels), strict=True))
    return statement.rows(connection, {"after": after, "most": limit, **named})


def _page(connection: Connection, kinds: int, labels: int) -> Statement:
    query = columns().where(
        facts.c.seq > bindparam("after"),
        facts.c.kind.in_([bindparam(one) for one in _named("kind", kinds)]),
        settled(connection),
    )
    if labels:
        query = query.where(facts.c.label.in_([bindparam(one) for one in _named("label", labels)]))
    return Statement(query.order_by(facts.c.seq).limit(bindparam("most")))


def _named(of: str, number: int) -> list[str]:
    return [f"{of}{place}" for place in range(number)]


def with_ids(connection: Connection, kinds: Iterable[str], ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the rows of facts of some kinds with one of these ids, as `columns` has them."""
    # Plain texts: Postgres's driver has the members of an enum by other names.
    named: tuple[list[str], list[str]] = list(map(str, kinds)), list(ids)
    if connection.dialect.name == "sqlite":
        # It takes no lists, and a statement for each number of ids would have to be made anew each time.
        given = dict(zip(("kinds", "ids"), (msgspec.json.encode(one).decode() for one in named), strict=True))
        return _WITH_IDS_IN_JSON.rows(connection, given)
    return _WITH_IDS.rows(connection, dict(zip(("kinds", "ids"), named, strict=True)))


_WITH_IDS = Statement(
    columns().where(facts.c.kind == func.any(bindparam("kinds")), facts.c.id == func.any(bindparam("ids")))
)
_WITH_IDS_IN_JSON = Statement(
    columns().where(
        facts.c.kind.in_(select(column("value")).select_from(func.json_each(bindparam("kinds")))),
        facts.c.id.in_(select(column("value")).select_from(func.json_each(bindparam("ids")))),
    )
)
_PAGES: dict[tuple[str, int, int], Statement] = {}
POSITION = Statement(select(cursors.c.position).where(cursors.c.reader == bindparam("of")))
# In words that both databases understand.
ADVANCE = Statement(
    text(
        "INSERT INTO cursors (reader, position, kinds) VALUES (:reader, :position, :kinds) "
        "ON CONFLICT (reader) DO UPDATE SET kinds = excluded.kinds, position = "
        "CASE WHEN excluded.position > cursors.position THEN excluded.position ELSE cursors.position END"
    )
)
# Leaves the cursor alone where it is no more at `before`.
MOVE = Statement(
    text(
        "UPDATE cursors SET position = :position, kinds = :kinds "
        "WHERE reader = :reader AND position = :before"
    )
)
