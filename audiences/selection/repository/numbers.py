"""SQL of numbers: by which number each user is known in bitmaps, for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from audiences.repository import unexpired
from audiences.selection.tables import numbers
from audiences.tables import tags, users
from storage.upserts import insert_into

# Ids of one query; both databases take more parameters than that.
_IN = 500


class Numbered(NamedTuple):
    """A user's number and id."""

    number: int
    user_id: str


def number_users(connection: Connection, user_ids: Sequence[str]) -> None:
    """Give numbers to users who have none."""
    if user_ids:
        statement = insert_into(connection, numbers).on_conflict_do_nothing(index_elements=["user_id"])
        connection.execute(statement, [{"user_id": user} for user in user_ids])


def unnumbered(connection: Connection, limit: int, *, after: str = "") -> list[str]:
    """Users without a number, in the order of their ids, of those after an id."""
    query = (
        select(users.c.user_id)
        .outerjoin(numbers, numbers.c.user_id == users.c.user_id)
        .where(numbers.c.number.is_(None), users.c.user_id > after)
        .order_by(users.c.user_id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def population(connection: Connection) -> list[Numbered]:
    """All users there are, with their numbers, in the order of these."""
    query = select(numbers.c.number, numbers.c.user_id).join(users, users.c.user_id == numbers.c.user_id)
    return [Numbered(*row) for row in connection.execute(query.order_by(numbers.c.number))]


def count_numbered(connection: Connection) -> int:
    """How many users have numbers."""
    return connection.execute(select(func.count()).select_from(numbers)).scalar() or 0


def numbers_after(connection: Connection, number: int) -> Iterable[Numbered]:
    """The users numbered after some number, in the order of their numbers."""
    query = select(numbers.c.number, numbers.c.user_id).where(numbers.c.number > number)
    for row in connection.execute(query.order_by(numbers.c.number).execution_options(yield_per=10_000)):
        yield Numbered(*row)


def numbers_of(connection: Connection, user_ids: Collection[str]) -> dict[str, int]:
    """The numbers of those of some users who are there."""
    found: dict[str, int] = {}
    listed = sorted(user_ids)
    for at in range(0, len(listed), _IN):
        query = (
            select(numbers.c.user_id, numbers.c.number)
            .join(users, users.c.user_id == numbers.c.user_id)
            .where(numbers.c.user_id.in_(listed[at : at + _IN]))
        )
        found |= {row.user_id: row.number for row in connection.execute(query)}
    return found


def names_of(connection: Connection, wanted: Sequence[int]) -> dict[int, str]:
    """The ids of users by their numbers; who is gone is left out."""
    found: dict[int, str] = {}
    for at in range(0, len(wanted), _IN):
        query = select(numbers.c.number, numbers.c.user_id).where(
            numbers.c.number.in_([int(number) for number in wanted[at : at + _IN]])
        )
        found |= {row.number: row.user_id for row in connection.execute(query)}
    return found


def ids_of(connection: Connection, wanted: Sequence[int]) -> list[str]:
    """The ids of users by their numbers, in their order; who is gone is left out."""
    found = names_of(connection, wanted)
    return [found[number] for number in wanted if number in found]


def let_go(connection: Connection, number: int) -> None:
    """Let a number be nobody's from now on."""
    connection.execute(delete(numbers).where(numbers.c.number == number))


def number_of(connection: Connection, user_id: str) -> int | None:
    """The number of a user, who may be gone; None for one who never had any."""
    return connection.execute(select(numbers.c.number).where(numbers.c.user_id == user_id)).scalar()


def numbers_carrying(connection: Connection, tag: str, now: datetime) -> list[Numbered]:
    """The users who carry a tag at a moment, with their numbers."""
    query = select(numbers.c.number, numbers.c.user_id).join(tags, tags.c.user_id == numbers.c.user_id)
    return [Numbered(*row) for row in connection.execute(query.where(tags.c.tag == tag, unexpired(now)))]
