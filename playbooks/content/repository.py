"""SQL of contents: every state that a content of the library was ever in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, insert, select

from playbooks.content.documents import Content
from playbooks.tables import content_versions


class ContentVersion(msgspec.Struct, frozen=True):
    """A content as it was imported; `version` counts from 1."""

    content: str
    version: int
    made_at: datetime
    made_by: str
    body: str

    @property
    def document(self) -> Content:
        """What it says."""
        return Content.model_validate_json(self.body)


def add(connection: Connection, new: Mapping[str, str], by: str, now: datetime) -> None:
    """Keep contents, as JSON by id, each as the next of its versions."""
    if not new:
        return
    known = newest(connection)
    connection.execute(
        insert(content_versions),
        [
            {"content": name, "version": known.get(name, 0) + 1, "made_at": now, "made_by": by, "body": body}
            for name, body in new.items()
        ],
    )


def newest(connection: Connection) -> dict[str, int]:
    """Return the number of the newest version of every content, by id."""
    query = select(content_versions.c.content, func.max(content_versions.c.version))
    return {row[0]: row[1] for row in connection.execute(query.group_by(content_versions.c.content))}


def versions(connection: Connection, content: str) -> list[ContentVersion]:
    """Return all versions of a content, newest first."""
    query = select(content_versions).where(content_versions.c.content == content)
    rows = connection.execute(query.order_by(content_versions.c.version.desc()))
    return [ContentVersion(**row._mapping) for row in rows]
