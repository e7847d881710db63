"""SQL of scores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, select, update

from audiences.scores.grading import Standing, Status
from audiences.scores.points import Grant
from audiences.scores.tables import beginnings, grants, holding, standings
from storage.upserts import insert_into

# Ids of one IN (…), well below every database's limit.
_SOME = 400


# The place of a line in beginnings that the score itself has.
_ITSELF = ""


class Beginning(NamedTuple):
    """Facts up to `quiet_through` were there before the score; up to `until` they are taken separately."""

    quiet_through: int
    until: int
    taken: int


def beginnings_of(connection: Connection) -> dict[str, Beginning]:
    """Return how each score began."""
    query = select(beginnings).where(beginnings.c.line == _ITSELF)
    return {
        row.score: Beginning(row.quiet_through, row.until, row.taken) for row in connection.execute(query)
    }


def begin(connection: Connection, scores: Collection[str], quiet_through: int, until: int) -> None:
    """Keep how scores begin; one that has begun stays as it is."""
    rows = [
        {"score": score, "line": _ITSELF, "quiet_through": quiet_through, "until": until, "taken": 0}
        for score in sorted(scores)
    ]
    connection.execute(insert_into(connection, beginnings).on_conflict_do_nothing(), rows)


def take_up_to(connection: Connection, score: str, position: int) -> None:
    """Note up to where a score has taken what was there before it."""
    this = update(beginnings).where(beginnings.c.score == score, beginnings.c.line == _ITSELF)
    connection.execute(this.values(taken=position))


def has_begun(connection: Connection, score: str, line: str) -> bool:
    """Say whether the rule of a line was evaluated before."""
    query = select(beginnings.c.line).where(beginnings.c.score == score, beginnings.c.line == line)
    return connection.execute(query).first() is not None


def begin_line(connection: Connection, score: str, line: str) -> None:
    """Note that the rule of a line was evaluated."""
    row = {"score": score, "line": line, "quiet_through": 0, "until": 0, "taken": 0}
    connection.execute(insert_into(connection, beginnings).values(row).on_conflict_do_nothing())


def add_grants(connection: Connection, score: str, new: Sequence[tuple[str, Grant]]) -> None:
    """Keep grants of users (profile, grant); those already kept stay as they are."""
    if not new:
        return
    rows = [{"user_id": user, "score": score, **msgspec.structs.asdict(grant)} for user, grant in new]
    connection.execute(insert_into(connection, grants).on_conflict_do_nothing(), rows)


def grants_of(connection: Connection, score: str, profiles: Collection[str]) -> dict[str, list[Grant]]:
    """Return the grants of each profile that has any."""
    found: dict[str, list[Grant]] = {}
    for some in _shares(sorted(profiles)):
        query = select(
            grants.c.user_id, grants.c.line, grants.c.event_id, grants.c.occurred_at, grants.c.points
        ).where(grants.c.score == score, grants.c.user_id.in_(some))
        for user, line, event_id, occurred_at, points in connection.execute(query):
            found.setdefault(user, []).append(Grant(line, event_id, occurred_at, points))
    return found


def held_by(connection: Connection, score: str, users: Collection[str]) -> dict[str, set[str]]:
    """Return the lines whose rule holds for each of these users who has any."""
    found: dict[str, set[str]] = {}
    for some in _shares(sorted(users)):
        query = select(holding.c.user_id, holding.c.line).where(
            holding.c.score == score, holding.c.user_id.in_(some)
        )
        for user, line in connection.execute(query):
            found.setdefault(user, set()).add(line)
    return found


def holders_of(connection: Connection, score: str, line: str) -> set[str]:
    """Return the users for whom the rule of a line holds."""
    query = select(holding.c.user_id).where(holding.c.score == score, holding.c.line == line)
    return set(connection.execute(query).scalars())


def hold(connection: Connection, score: str, line: str, users: Sequence[str], since: datetime) -> None:
    """Note that the rule of a line holds for these users from now on."""
    rows = [{"score": score, "line": line, "user_id": user, "since": since} for user in users]
    connection.execute(insert_into(connection, holding).on_conflict_do_nothing(), rows)


def let_go(connection: Connection, score: str, line: str, users: Sequence[str]) -> None:
    """Note that the rule of a line holds for these users no more."""
    connection.execute(
        delete(holding).where(holding.c.score == score, holding.c.line == line, holding.c.user_id.in_(users))
    )


def standings_of(connection: Connection, score: str, users: Collection[str]) -> dict[str, Standing]:
    """Return where each of these users stands who does at all."""
    found: dict[str, Standing] = {}
    for some in _shares(sorted(users)):
        query = select(standings).where(standings.c.score == score, standings.c.user_id.in_(some))
        found |= {row.user_id: _standing(row) for row in connection.execute(query)}
    return found


def keep_standings(connection: Connection, score: str, new: Mapping[str, Standing]) -> None:
    """Replace where users stand."""
    if not new:
        return
    statement = insert_into(connection, standings)
    changed = {name: statement.excluded[name] for name in Standing.__struct_fields__}
    rows = [
        {"score": score, "user_id": user, **msgspec.structs.asdict(one), "status": one.status.value}
        for user, one in new.items()
    ]
    connection.execute(
        statement.on_conflict_do_update(index_elements=["score", "user_id"], set_=changed), rows
    )


def due(connection: Connection, score: str, now: datetime, limit: int) -> list[str]:
    """Return users whose grade changes by itself by now, the longest due first."""
    query = (
        select(standings.c.user_id)
        .where(standings.c.score == score, standings.c.due_at.is_not(None), standings.c.due_at <= now)
        .order_by(standings.c.due_at, standings.c.user_id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def grades(connection: Connection) -> Iterable[tuple[str, str, int]]:
    """Return score, user and rank of everybody who has a grade."""
    query = select(standings.c.score, standings.c.user_id, standings.c.rank).where(standings.c.rank > 0)
    return [(row.score, row.user_id, row.rank) for row in connection.execute(query)]


def _standing(row: Any) -> Standing:
    fields = {name: getattr(row, name) for name in Standing.__struct_fields__}
    return Standing(**{**fields, "status": Status(row.status)})


def _shares(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _SOME] for at in range(0, len(ids), _SOME)]
