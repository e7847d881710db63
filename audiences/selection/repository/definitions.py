"""SQL of what audiences are: versions of definitions made over the API, and uploaded lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import Connection, func, insert, select, update

from audiences.selection.tables import lists, versions


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


def list_of(connection: Connection, audience: str, version: int) -> Upload | None:
    """A version of a list, if there is one."""
    this = lists.c.audience == audience, lists.c.version == version
    row = connection.execute(select(lists).where(*this)).first()
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


def drop_from_lists(connection: Connection, number: int) -> None:
    """Take a user out of every upload."""
    for row in connection.execute(select(lists)).all():
        kept = BitMap.deserialize(row.members)
        if number in kept:
            kept.discard(number)
            this = update(lists).where(lists.c.audience == row.audience, lists.c.version == row.version)
            connection.execute(this.values(members=kept.serialize(), size=len(kept)))


def _upload(row: Any) -> Upload:
    return Upload(row.version, BitMap.deserialize(row.members), row.unknown, row.made_at, row.made_by)
