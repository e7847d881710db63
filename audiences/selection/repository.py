"""SQL of audiences: numbers of users, versions of definitions, lists, bitmaps and runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from audiences.selection.tables import bitmaps, lists, numbers, states, versions
from audiences.tables import users
from storage.ledger import Kind
from storage.order import settled
from storage.schema import facts

# Ids of one query; both databases take more parameters than that.
_IN = 500


class Numbered(NamedTuple):
    """A user's number and id."""

    number: int
    user_id: str


class State(NamedTuple):
    """What is live of an audience: the run it comes from, which definition, as of when, how many."""

    audience: str
    run: str
    revision: int
    definition: str
    as_of: datetime
    size: int


class Version(NamedTuple):
    """One version of a definition made over the API; without a body the audience was retired."""

    audience: str
    version: int
    body: str | None
    made_at: datetime
    made_by: str


class Upload(NamedTuple):
    """One upload of a list: who is in it, and how many ids nobody knew."""

    version: int
    members: BitMap
    unknown: int
    made_at: datetime
    made_by: str


class Untold(NamedTuple):
    """Changes of an audience that have not all become facts."""

    audience: str
    run: str
    as_of: datetime
    entered: BitMap
    left: BitMap
    told: int


def number_users(connection: Connection, user_ids: Sequence[str]) -> None:
    """Give numbers to users who have none."""
    if user_ids:
        statement = _insert(connection, numbers).on_conflict_do_nothing(index_elements=["user_id"])
        connection.execute(statement, [{"user_id": user} for user in user_ids])


def unnumbered(connection: Connection, limit: int) -> list[str]:
    """Users without a number."""
    query = (
        select(users.c.user_id)
        .outerjoin(numbers, numbers.c.user_id == users.c.user_id)
        .where(numbers.c.number.is_(None))
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


def end_of_ledger(connection: Connection) -> int:
    """The number below which no fact will appear any more."""
    query = select(func.max(facts.c.seq)).where(settled(connection))
    return connection.execute(query).scalar() or 0


def touched(connection: Connection, position: int, kinds: Collection[Kind]) -> list[str]:
    """Users of whom facts of some kinds were recorded after a position of the ledger."""
    query = (
        select(facts.c.user_id)
        .where(
            facts.c.seq > position,
            facts.c.kind.in_([kind.value for kind in kinds]),
            facts.c.user_id.is_not(None),
            settled(connection),
        )
        .distinct()
    )
    return sorted(connection.execute(query).scalars())


def latest_versions(connection: Connection) -> list[Version]:
    """The latest version of each audience made over the API."""
    newest = (
        select(versions.c.audience, func.max(versions.c.version).label("version"))
        .group_by(versions.c.audience)
        .subquery()
    )
    query = select(versions).join(
        newest, (newest.c.audience == versions.c.audience) & (newest.c.version == versions.c.version)
    )
    return [Version(*row) for row in connection.execute(query.order_by(versions.c.audience))]


def history(connection: Connection, audience: str) -> list[Version]:
    """All versions of an audience made over the API, newest first."""
    query = select(versions).where(versions.c.audience == audience).order_by(versions.c.version.desc())
    return [Version(*row) for row in connection.execute(query)]


def add_version(connection: Connection, version: Version) -> None:
    """Keep a new version; fails with IntegrityError where somebody else made it."""
    connection.execute(insert(versions).values(version._asdict()))


def latest_lists(connection: Connection) -> dict[str, Upload]:
    """The latest upload of each list."""
    newest = (
        select(lists.c.audience, func.max(lists.c.version).label("version"))
        .group_by(lists.c.audience)
        .subquery()
    )
    query = select(lists).join(
        newest, (newest.c.audience == lists.c.audience) & (newest.c.version == lists.c.version)
    )
    return {row.audience: _upload(row) for row in connection.execute(query)}


def latest_list(connection: Connection, audience: str) -> Upload | None:
    """The latest upload of a list, if there was any."""
    query = select(lists).where(lists.c.audience == audience).order_by(lists.c.version.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _upload(row)


def add_list(connection: Connection, audience: str, upload: Upload) -> None:
    """Keep an upload; fails with IntegrityError where somebody else made that version."""
    connection.execute(
        insert(lists).values(
            audience=audience,
            version=upload.version,
            members=upload.members.serialize(),
            size=len(upload.members),
            unknown=upload.unknown,
            made_at=upload.made_at,
            made_by=upload.made_by,
        )
    )


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


def members_of(connection: Connection, audience: str) -> set[str]:
    """The ids of the users who are in an audience now."""
    state = live(connection).get(audience)
    return set() if state is None else set(ids_of(connection, list(members(connection, [state])[audience])))


def stage(
    connection: Connection, audience: str, run: str, inside: BitMap, entered: BitMap, left: BitMap
) -> None:
    """Keep who will be in an audience once the run is live."""
    connection.execute(
        insert(bitmaps).values(
            audience=audience,
            run=run,
            members=inside.serialize(),
            entered=entered.serialize(),
            left=left.serialize(),
            told=-1 if entered or left else None,
        )
    )


def make_live(connection: Connection, new: Sequence[State]) -> None:
    """Let what was staged count from now on, all at once."""
    if not new:
        return
    statement = _insert(connection, states)
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
        bitmaps.c.audience, bitmaps.c.run, states.c.as_of, bitmaps.c.entered, bitmaps.c.left, bitmaps.c.told
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
        )
        for row in connection.execute(query)
    ]


def tell(connection: Connection, audience: str, run: str, before: int, told: int | None) -> bool:
    """Note how far the changes of a run have become facts; False when somebody else did."""
    moved = update(bitmaps).where(
        bitmaps.c.audience == audience, bitmaps.c.run == run, bitmaps.c.told == before
    )
    return connection.execute(moved.values(told=told)).rowcount == 1


def forget(connection: Connection, user_id: str) -> bool:
    """Take a user out of every bitmap and list, and let the number go for ever; False if there was none."""
    query = select(numbers.c.number).where(numbers.c.user_id == user_id)
    number = connection.execute(query).scalar()
    if number is None:
        return False
    for row in connection.execute(select(lists)).all():
        kept = BitMap.deserialize(row.members)
        if number in kept:
            kept.discard(number)
            this = update(lists).where(lists.c.audience == row.audience, lists.c.version == row.version)
            connection.execute(this.values(members=kept.serialize(), size=len(kept)))
    for row in connection.execute(select(bitmaps)).all():
        _forget_in(connection, row, number)
    connection.execute(delete(numbers).where(numbers.c.number == number))
    return True


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


def memberships(connection: Connection) -> dict[str, set[str]]:
    """The audiences of every user who is in at least one."""
    found: dict[str, set[str]] = {}
    states_now = live(connection)
    for audience, bitmap in members(connection, states_now.values()).items():
        for user in ids_of(connection, list(bitmap)):
            found.setdefault(user, set()).add(audience)
    return found


def _upload(row: Any) -> Upload:
    return Upload(row.version, BitMap.deserialize(row.members), row.unknown, row.made_at, row.made_by)


def _insert(connection: Connection, table: Any) -> Any:
    return sqlite_insert(table) if connection.dialect.name == "sqlite" else postgres_insert(table)
