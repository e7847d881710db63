"""SQL of the library: immutable versions and their states, drafts, and documents that playbooks share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    Subquery,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from playbooks.library.documents import VersionBody
from playbooks.library.lifecycle import SERVED, State
from playbooks.tables import library_documents, playbook_drafts, playbook_states, playbook_versions
from storage.statements import Statement

# Any number that nobody else uses for an advisory lock.
_LIBRARY = 0x6E706C79
# Names in one question to the database.
_PIECE = 500

_LATEST_ID = Statement(
    select(func.max(library_documents.c.id)).where(library_documents.c.kind == bindparam("of_kind"))
)


class Standing(msgspec.Struct, frozen=True):
    """A version and where it stands; `number` orders the moves of the whole library."""

    playbook: str
    version: int
    state: State
    number: int
    moved_at: datetime
    moved_by: str
    why: str
    made_by: str
    source: str
    before: State | None = None
    approved_by: str | None = None
    needs: tuple[str, ...] = ()
    served_from: datetime | None = None
    report: str | None = None

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.playbook}@{self.version}"


class DraftRow(msgspec.Struct, frozen=True):
    """A draft as it was last saved; `body` is the playbook as JSON."""

    playbook: str
    revision: int
    body: str
    based_on: int | None
    edited_at: datetime
    edited_by: str


def hold(connection: Connection) -> None:
    """Let nobody else change the library until this transaction ends: moves have an order."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LIBRARY)))


def last_number(connection: Connection) -> int:
    """Return the number of the last move, 0 when there was none."""
    return connection.execute(select(func.max(playbook_states.c.number))).scalar() or 0


def standings(connection: Connection, playbook: str | None = None) -> list[Standing]:
    """Return all versions, or those of a playbook, by playbook and version."""
    query = select(playbook_states).order_by(playbook_states.c.playbook, playbook_states.c.version)
    if playbook is not None:
        query = query.where(playbook_states.c.playbook == playbook)
    return [_standing(row) for row in connection.execute(query)]


def current(connection: Connection) -> list[Standing]:
    """Return the versions that are not retired, and the newest of each playbook."""
    newest = _newest(playbook_states)
    query = (
        select(playbook_states)
        .join(newest, newest.c.playbook == playbook_states.c.playbook)
        .where((playbook_states.c.state != State.RETIRED) | (playbook_states.c.version == newest.c.version))
        .order_by(playbook_states.c.playbook, playbook_states.c.version)
    )
    return [_standing(row) for row in connection.execute(query)]


def served(connection: Connection) -> list[Standing]:
    """Return the versions that decisions are made from, by playbook and version."""
    query = (
        select(playbook_states)
        .where(playbook_states.c.state.in_(sorted(SERVED)))
        .order_by(playbook_states.c.playbook, playbook_states.c.version)
    )
    return [_standing(row) for row in connection.execute(query)]


def add_versions(connection: Connection, new: Sequence[tuple[Standing, str]]) -> None:
    """Keep new versions with their bodies."""
    if not new:
        return
    rows = [
        {"playbook": one.playbook, "version": one.version, "published_at": one.moved_at, "body": body}
        for one, body in new
    ]
    connection.execute(insert(playbook_versions), rows)
    connection.execute(insert(playbook_states), [_row(one) for one, _ in new])


def move(connection: Connection, moved: Iterable[Standing]) -> None:
    """Keep where versions stand now."""
    for one in moved:
        connection.execute(
            update(playbook_states)
            .where(playbook_states.c.playbook == one.playbook, playbook_states.c.version == one.version)
            .values(_row(one))
        )


def latest_versions(connection: Connection) -> dict[str, tuple[int, str]]:
    """Return number and body of the latest version of every playbook there ever was."""
    newest = _newest(playbook_versions)
    query = select(playbook_versions).join(
        newest,
        (newest.c.playbook == playbook_versions.c.playbook)
        & (newest.c.version == playbook_versions.c.version),
    )
    return {row.playbook: (row.version, row.body) for row in connection.execute(query)}


def latest_version_number(connection: Connection, playbook: str) -> int | None:
    """Return the number of the latest version of a playbook, None when there is none."""
    query = select(func.max(playbook_versions.c.version)).where(playbook_versions.c.playbook == playbook)
    return connection.execute(query).scalar()


def version_body(connection: Connection, playbook: str, version: int) -> VersionBody | None:
    """Return a playbook as it is under a version, or None."""
    query = select(playbook_versions.c.body).where(
        playbook_versions.c.playbook == playbook, playbook_versions.c.version == version
    )
    body = connection.execute(query).scalar()
    return None if body is None else VersionBody.model_validate_json(body)


def bodies(connection: Connection, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], VersionBody]:
    """Return versions by playbook and number."""
    wanted = sorted(keys)
    key = tuple_(playbook_versions.c.playbook, playbook_versions.c.version)
    found: dict[tuple[str, int], VersionBody] = {}
    for start in range(0, len(wanted), _PIECE):
        query = select(playbook_versions).where(key.in_(wanted[start : start + _PIECE]))
        for row in connection.execute(query):
            found[row.playbook, row.version] = VersionBody.model_validate_json(row.body)
    return found


def draft(connection: Connection, playbook: str) -> DraftRow | None:
    """Return the draft of a playbook, or None."""
    row = connection.execute(select(playbook_drafts).where(playbook_drafts.c.playbook == playbook)).first()
    return None if row is None else DraftRow(**row._mapping)


def drafts(connection: Connection) -> list[DraftRow]:
    """Return all drafts, by playbook."""
    query = select(playbook_drafts).order_by(playbook_drafts.c.playbook)
    return [DraftRow(**row._mapping) for row in connection.execute(query)]


def keep_draft(connection: Connection, new: DraftRow) -> None:
    """Keep a draft in the place of its revision before."""
    drop_draft(connection, new.playbook)
    connection.execute(insert(playbook_drafts), msgspec.structs.asdict(new))


def drop_draft(connection: Connection, playbook: str) -> None:
    """Forget the draft of a playbook."""
    connection.execute(delete(playbook_drafts).where(playbook_drafts.c.playbook == playbook))


def documents(connection: Connection, kind: str) -> dict[str, str]:
    """Return the shared documents of a kind as JSON, by id, in the order of their ids."""
    query = select(library_documents.c.id, library_documents.c.body).where(library_documents.c.kind == kind)
    return {row.id: row.body for row in connection.execute(query.order_by(library_documents.c.id))}


def latest_document_id(connection: Connection, kind: str) -> str | None:
    """Return the id of the document of a kind whose id comes last, None where there is none."""
    found: str | None = _LATEST_ID.run(connection, {"of_kind": kind}).scalar()
    return found


def latest_document(connection: Connection, kind: str) -> tuple[str, str] | None:
    """Return id and JSON of the document of a kind whose id comes last, None where there is none."""
    query = (
        select(library_documents.c.id, library_documents.c.body)
        .where(library_documents.c.kind == kind)
        .order_by(library_documents.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else (row.id, row.body)


def newest_document_by(connection: Connection, kind: str, by: str) -> str | None:
    """Return the JSON of the document whose id comes last of those of a kind that somebody kept, or None."""
    query = (
        select(library_documents.c.body)
        .where(library_documents.c.kind == kind, library_documents.c.changed_by == by)
        .order_by(library_documents.c.id.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar()
    return found


def document_changes(connection: Connection, kind: str) -> list[tuple[str, datetime, str]]:
    """Return (id, when, by whom) of the documents of a kind, the last id first."""
    columns = (library_documents.c.id, library_documents.c.changed_at, library_documents.c.changed_by)
    query = select(*columns).where(library_documents.c.kind == kind)
    return [(*row,) for row in connection.execute(query.order_by(library_documents.c.id.desc()))]


def keep_documents(connection: Connection, kind: str, new: Mapping[str, str], by: str, now: datetime) -> None:
    """Keep shared documents in the place of those of the same ids."""
    names = list(new)
    for start in range(0, len(names), _PIECE):
        some = library_documents.c.id.in_(names[start : start + _PIECE])
        connection.execute(delete(library_documents).where(library_documents.c.kind == kind, some))
    rows: list[dict[str, Any]] = [
        {"kind": kind, "id": name, "body": body, "changed_at": now, "changed_by": by}
        for name, body in new.items()
    ]
    if rows:
        connection.execute(insert(library_documents), rows)


def _newest(table: Table) -> Subquery:
    """The newest version of every playbook in a table."""
    version = func.max(table.c.version).label("version")
    return select(table.c.playbook, version).group_by(table.c.playbook).subquery()


def _standing(row: Row[Any]) -> Standing:
    given = dict(row._mapping)
    given["state"] = State(given["state"])
    given["before"] = None if given["before"] is None else State(given["before"])
    given["needs"] = tuple(given["needs"].splitlines())
    return Standing(**given)


def _row(one: Standing) -> dict[str, Any]:
    return msgspec.structs.asdict(one) | {"needs": "\n".join(one.needs)}
