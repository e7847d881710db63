"""SQL of who is in which audience: what is staged, what is live, and which changes are still to be told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import Connection, delete, func, insert, select, update

from audiences.selection.changes import Change
from audiences.selection.tables import bitmaps, states
from storage.upserts import insert_into


class State(NamedTuple):
    """What is live of an audience: the run it comes from, which definition, as of when, how many."""

    audience: str
    run: str
    revision: int
    definition: str
    as_of: datetime
    size: int


class Untold(NamedTuple):
    """Changes of an audience that have not all become facts; `quiet` ones start nothing."""

    audience: str
    run: str
    as_of: datetime
    entered: BitMap
    left: BitMap
    told: int
    quiet: bool


def live(connection: Connection) -> dict[str, State]:
    """What is live of each audience."""
    return {row.audience: State(*row) for row in connection.execute(select(states))}


def members(connection: Connection, wanted: Collection[State]) -> dict[str, BitMap]:
    """Who is in some audiences."""
    found = {}
    for state in wanted:
        query = select(bitmaps.c.members).where(
            bitmaps.c.audience == state.audience, bitmaps.c.run == state.run
        )
        blob = connection.execute(query).scalar()
        found[state.audience] = BitMap() if blob is None else BitMap.deserialize(blob)
    return found


def stage(
    connection: Connection, audience: str, run: str, inside: BitMap, moved: Change, *, quiet: bool
) -> None:
    """Keep who will be in an audience once the run is live; `quiet`: its changes are to start nothing."""
    connection.execute(
        insert(bitmaps).values(
            audience=audience,
            run=run,
            members=inside.serialize(),
            entered=moved.entered.serialize(),
            left=moved.left.serialize(),
            told=-1 if moved else None,
            quiet=quiet,
        )
    )


def make_live(connection: Connection, new: Sequence[State]) -> None:
    """Let what was staged count from now on, all at once."""
    if not new:
        return
    statement = insert_into(connection, states)
    changed = {name: statement.excluded[name] for name in ("run", "revision", "definition", "as_of", "size")}
    statement = statement.on_conflict_do_update(index_elements=["audience"], set_=changed)
    connection.execute(statement, [state._asdict() for state in new])


def drop_unused(connection: Connection, limit: int) -> int:
    """Take away bitmaps that are no longer live and whose changes are all told, or never were live."""
    live_run = select(states.c.run).where(states.c.audience == bitmaps.c.audience).scalar_subquery()
    query = select(bitmaps.c.audience, bitmaps.c.run).where(
        func.coalesce(live_run, "") != bitmaps.c.run, bitmaps.c.told.is_(None)
    )
    rows = connection.execute(query.limit(limit)).all()
    for row in rows:
        connection.execute(
            delete(bitmaps).where(bitmaps.c.audience == row.audience, bitmaps.c.run == row.run)
        )
    return len(rows)


def drop_staged(connection: Connection, run: str) -> None:
    """Take away what a run staged that never became live."""
    of_states = select(states.c.run).where(states.c.audience == bitmaps.c.audience).scalar_subquery()
    connection.execute(
        delete(bitmaps).where(bitmaps.c.run == run, func.coalesce(of_states, "") != bitmaps.c.run)
    )


def untold(connection: Connection) -> list[Untold]:
    """Changes of live bitmaps that have not all become facts."""
    query = select(
        bitmaps.c.audience,
        bitmaps.c.run,
        states.c.as_of,
        bitmaps.c.entered,
        bitmaps.c.left,
        bitmaps.c.told,
        bitmaps.c.quiet,
    ).join(states, (states.c.audience == bitmaps.c.audience) & (states.c.run == bitmaps.c.run))
    query = query.where(bitmaps.c.told.is_not(None)).order_by(bitmaps.c.audience)
    return [
        Untold(
            row.audience,
            row.run,
            row.as_of,
            BitMap.deserialize(row.entered),
            BitMap.deserialize(row.left),
            row.told,
            row.quiet,
        )
        for row in connection.execute(query)
    ]


def tell(connection: Connection, audience: str, run: str, before: int, told: int | None) -> bool:
    """Note how far the changes of a run have become facts; False when somebody else did."""
    moved = update(bitmaps).where(
        bitmaps.c.audience == audience, bitmaps.c.run == run, bitmaps.c.told == before
    )
    return connection.execute(moved.values(told=told)).rowcount == 1


def drop_from_bitmaps(connection: Connection, number: int) -> None:
    """Take a user out of every bitmap, live or not."""
    for row in connection.execute(select(bitmaps)).all():
        _forget_in(connection, row, number)


def _forget_in(connection: Connection, row: Any, number: int) -> None:
    # Changes that are still being told keep their places; without its row a number is nobody's.
    names = ["members"] if row.told is not None else ["members", "entered", "left"]
    kept = {name: BitMap.deserialize(row._mapping[name]) for name in names}
    inside = number in kept["members"]
    if not any(number in bitmap for bitmap in kept.values()):
        return
    for bitmap in kept.values():
        bitmap.discard(number)
    this = update(bitmaps).where(bitmaps.c.audience == row.audience, bitmaps.c.run == row.run)
    connection.execute(this.values({name: bitmap.serialize() for name, bitmap in kept.items()}))
    if inside:
        of_run = update(states).where(states.c.audience == row.audience, states.c.run == row.run)
        connection.execute(of_run.values(revision=states.c.revision + 1, size=len(kept["members"])))
