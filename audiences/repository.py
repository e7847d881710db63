"""SQL of users and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, text

from audiences.tables import tags, users
from storage.statements import Statement
from storage.times import to_micros
from storage.upserts import insert_into

# In words that both databases understand.
_ADD_USER = Statement(
    text("INSERT INTO users (user_id, first_seen_at) VALUES (:user, :at) ON CONFLICT DO NOTHING")
)


def add_users(connection: Connection, seen: Sequence[tuple[str, datetime]]) -> None:
    """Record those users, each seen at a moment, that were not known yet."""
    first_seen: dict[str, datetime] = {}
    for user_id, moment in seen:
        if user_id not in first_seen or moment < first_seen[user_id]:
            first_seen[user_id] = moment
    if not first_seen:
        return
    _ADD_USER.run_many(
        connection, [{"user": user, "at": to_micros(moment)} for user, moment in sorted(first_seen.items())]
    )


def user_ids(connection: Connection) -> list[str]:
    """Return all known users in the order of their ids."""
    return list(connection.execute(select(users.c.user_id).order_by(users.c.user_id)).scalars())


def count_users(connection: Connection) -> int:
    """Return how many users are known."""
    return connection.execute(select(func.count()).select_from(users)).scalar() or 0


def is_known(connection: Connection, user_id: str) -> bool:
    """Say whether any event of this user was ever recorded."""
    return connection.execute(select(users.c.user_id).where(users.c.user_id == user_id)).first() is not None


def are_known(connection: Connection, user_ids: Sequence[str]) -> set[str]:
    """Return those of some users of whom any event was ever recorded."""
    return set(connection.execute(select(users.c.user_id).where(users.c.user_id.in_(user_ids))).scalars())


def set_tags(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put tags on users; one already there is renewed. Rows have the columns of `tags`."""
    statement = insert_into(connection, tags)
    renewed = {name: statement.excluded[name] for name in ("source", "set_at", "expires_at")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["user_id", "tag"], set_=renewed), list(rows)
    )


def tags_of(connection: Connection, profiles: Sequence[str], now: datetime) -> dict[str, datetime]:
    """Return the tags that a person's profiles carry now, with the moment each was last set."""
    query = select(tags.c.tag, tags.c.set_at).where(tags.c.user_id.in_(profiles), unexpired(now))
    return {row.tag: row.set_at for row in connection.execute(query.order_by(tags.c.set_at))}


def tags_of_each(connection: Connection, profiles: Sequence[str], now: datetime) -> dict[str, set[str]]:
    """Return the tags that each of some profiles carries now, of those that carry any."""
    query = select(tags.c.user_id, tags.c.tag).where(tags.c.user_id.in_(profiles), unexpired(now))
    result: dict[str, set[str]] = {}
    for user_id, tag in connection.execute(query):
        result.setdefault(user_id, set()).add(tag)
    return result


def tagging_of(connection: Connection, profiles: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """Return the tags that a person's profiles carry now, with source, time and expiry, the latest first."""
    query = select(tags).where(tags.c.user_id.in_(profiles), unexpired(now)).order_by(tags.c.set_at.desc())
    return [dict(row._mapping) for row in connection.execute(query)]


def take_tags(connection: Connection, profiles: Sequence[str], tag: str, now: datetime) -> list[str]:
    """Take a tag off those profiles that carry it now; return which did."""
    carried = (tags.c.user_id.in_(profiles), tags.c.tag == tag, unexpired(now))
    return sorted(connection.execute(delete(tags).where(*carried).returning(tags.c.user_id)).scalars())


def tags_by_user(connection: Connection, now: datetime) -> dict[str, set[str]]:
    """Return the tags of every user who carries at least one now."""
    result: dict[str, set[str]] = {}
    for user_id, tag in connection.execute(select(tags.c.user_id, tags.c.tag).where(unexpired(now))):
        result.setdefault(user_id, set()).add(tag)
    return result


def holders_of(connection: Connection, tag: str, now: datetime) -> set[str]:
    """Return the users who carry a tag now."""
    return set(connection.execute(select(tags.c.user_id).where(tags.c.tag == tag, unexpired(now))).scalars())


def unexpired(now: datetime) -> Any:
    """The condition that a tag counts at a moment."""
    return or_(tags.c.expires_at.is_(None), tags.c.expires_at > now)
