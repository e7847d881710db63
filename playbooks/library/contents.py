"""The contents of a library as people look at them: what there is, its versions, and what differs."""

from __future__ import annotations

from typing import Any

from playbooks.content import repository as content_repository
from playbooks.content.blocks import with_blocks
from playbooks.content.documents import Content
from playbooks.content.repository import ContentVersion
from playbooks.errors import UnknownContent
from playbooks.library import repository
from playbooks.library.diff import Change, content_changes
from playbooks.library.lifecycle import SERVED
from playbooks.library.shelf import CONTENTS
from playbooks.suggesting import closest
from storage.engine import Database


class LibraryContents:
    """Reads the contents of one database; they come in with imports, as a part of a library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def listing(self) -> list[dict[str, Any]]:
        """Return every content: its newest version, its languages, the playbooks that are served with it."""
        with self._database.read() as connection:
            bodies = repository.documents(connection, CONTENTS)
            served = [
                (one.playbook, one.version) for one in repository.current(connection) if one.state in SERVED
            ]
            used = repository.bodies(connection, served)
            newest = content_repository.newest(connection)
        contents = {name: Content.model_validate_json(body) for name, body in bodies.items()}
        users: dict[str, set[str]] = {}
        for (playbook, _), version in used.items():
            for one in version.contents:
                users.setdefault(one.id, set()).add(playbook)
        return [
            {
                "id": name,
                "kind": one.kind,
                "version": newest.get(name, 0),
                "languages": one.languages,
                "channels": sorted({w.channel for w in one.texts if w.channel}),
                "blocks": sorted(with_blocks([name], contents) - {name}),
                "playbooks": sorted(users.get(name, ())),
            }
            for name, one in contents.items()
        ]

    def versions(self, content: str) -> list[ContentVersion]:
        """Return all versions of a content, newest first. Raises UnknownContent."""
        with self._database.read() as connection:
            found = content_repository.versions(connection, content)
            known = [] if found else list(repository.documents(connection, CONTENTS))
        if not found:
            raise UnknownContent(f"there is no content {content!r}{closest(content, known)}")
        return found

    def version(self, content: str, version: int | None = None) -> ContentVersion:
        """Return a version of a content, without a number the newest. Raises UnknownContent."""
        found = self.versions(content)
        for one in found:
            if version in (None, one.version):
                return one
        raise UnknownContent(
            f"there is no version {version} of the content {content!r}; its newest is {found[0].version}"
        )

    def diff(self, content: str, before: int, after: int) -> list[Change]:
        """Return what differs between two versions of a content. Raises UnknownContent."""
        sides = [self.version(content, one).document for one in (before, after)]
        return content_changes(*sides)
