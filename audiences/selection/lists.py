"""Uploaded lists: a CSV of user ids, every id of which is known or named as unknown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from pyroaring import BitMap
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from audiences.errors import AudienceChanged, AudienceError, ListRefused
from audiences.selection import repository
from audiences.selection.catalog import Catalogs
from audiences.selection.numbering import Numberer
from audiences.selection.repository import Upload
from audiences.texts import MAX_ID_LENGTH
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

MAX_BYTES = 64 * 1024 * 1024
_HEADS = ("user_id", "userid", "id")
_SHOWN = 100
_WRONG_SHOWN = 20


class Line(NamedTuple):
    """One row of a file: its number, counted from 1, and its cells without space around them."""

    number: int
    cells: list[str]


class Taken(NamedTuple):
    """What became of an upload. `unknown` are the first of the ids nobody has."""

    version: int
    members: int
    duplicates: int
    unknown_count: int
    unknown: list[str]


def lines_of(body: bytes, columns: int) -> Iterator[Line]:
    """The rows of a CSV, without its head and empty rows.

    Raises:
        ListRefused: it is no UTF-8, or a row has not as many cells as `columns`, or no id.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListRefused(
            f"the file is not UTF-8: byte {error.start} can't be read; save it as UTF-8"
        ) from error
    wrong: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Line] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells) or (not found and not wrong and cells[0].lower() in _HEADS):
                continue
            said = _wrong(cells, columns)
            if said is None:
                found.append(Line(reader.line_num, cells))
            else:
                wrong.append(f"line {reader.line_num}: {said}")
    except csv.Error as error:
        raise ListRefused(f"line {reader.line_num}: this is no CSV: {error}; nothing was taken") from error
    if wrong:
        more = f", and {len(wrong) - _WRONG_SHOWN} more" if len(wrong) > _WRONG_SHOWN else ""
        raise ListRefused("; ".join(wrong[:_WRONG_SHOWN]) + more + "; nothing was taken")
    yield from found


class Lists:
    """Takes uploads of lists."""

    def __init__(self, database: Database, catalogs: Catalogs, canonical: Callable[[str], str]) -> None:
        self._database = database
        self._catalogs = catalogs
        self._canonical = canonical

    def upload(self, audience: str, body: bytes, by: str, now: datetime) -> Taken:
        """Replace the members of a list; they are in from the next evaluation.

        Raises:
            UnknownAudience, AudienceError: there is no such audience, or it is no list.
            ListRefused: a row is wrong, or nobody in it is known; the list stays as it was.
        """
        if not self._catalogs.read().spec(audience).list:
            raise AudienceError(f"the audience {audience!r} is no list: its members come from its definition")
        ids = [line.cells[0] for line in lines_of(body, 1)]
        if not ids:
            raise ListRefused("the file has no ids; nothing was taken")
        named = {user: self._canonical(user) for user in dict.fromkeys(ids)}
        numbers = self._numbers(sorted(set(named.values())))
        unknown = [user for user, canonical in named.items() if canonical not in numbers]
        members = BitMap(numbers.values())
        if not members:
            raise ListRefused(
                f"none of the {len(named)} ids is known, the first of them {unknown[0]!r}; nothing was "
                "taken: send the ids that your events carry"
            )
        with self._database.read() as connection:
            before = repository.latest_list(connection, audience)
        upload = Upload((before.version if before else 0) + 1, members, len(unknown), now, by)
        self._keep(audience, upload)
        return Taken(upload.version, len(members), len(ids) - len(named), len(unknown), unknown[:_SHOWN])

    def take_back(self, audience: str, version: int, by: str, now: datetime, why: str = "") -> None:
        """Let the members before an upload be in the list again, as a new version.

        Raises:
            AudienceChanged: another upload came after it.
            ListRefused: it was the first, so that there were no members before.
        """
        with self._database.read() as connection:
            latest = repository.latest_list(connection, audience)
            before = repository.list_of(connection, audience, version - 1)
        if latest is None or latest.version != version:
            raise AudienceChanged(
                f"the list {audience!r} was uploaded again after version {version}: take that back first"
            )
        if before is None:
            raise ListRefused(f"version {version} of {audience!r} was the first; nobody was in it before")
        self._keep(audience, Upload(version + 1, before.members, before.unknown, now, by), why)

    def _numbers(self, users: list[str]) -> dict[str, int]:
        """The numbers of those users who exist; who has none yet gets one."""
        Numberer(self._database).number_all()
        with self._database.read() as connection:
            return repository.numbers_of(connection, users)

    def _keep(self, audience: str, upload: Upload, why: str = "") -> None:
        change = {
            "what": "audience list",
            "id": audience,
            "version": upload.version,
            "by": upload.made_by,
            "why": why,
            "members": len(upload.members),
        }
        fact = NewFact(Kind.CHANGE, new_id(upload.made_at), "audience", None, upload.made_at, change)

        def work(connection: Connection) -> None:
            repository.add_list(connection, audience, upload)
            ledger.append(connection, [fact], upload.made_at)

        try:
            self._database.write(work, rows=2, lane=Lane.REQUEST)
        except IntegrityError as error:
            raise AudienceChanged(f"somebody else uploaded {audience!r} just now; send it again") from error


def _wrong(cells: list[str], columns: int) -> str | None:
    if len(cells) != columns:
        return f"{len(cells)} cells, not {columns}"
    if not cells[0]:
        return "no user id"
    if len(cells[0]) > MAX_ID_LENGTH:
        return f"a user id has at most {MAX_ID_LENGTH} characters"
    return None
