"""Drafts: playbooks while they are edited. A save names the revision it read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec
from sqlalchemy import Connection

from playbooks.errors import DraftChanged, RevisionMissing, UnknownPlaybook
from playbooks.library import repository
from playbooks.library.diff import Change, differences, told
from playbooks.library.documents import Draft
from playbooks.library.problems import Problem
from playbooks.library.repository import DraftRow
from playbooks.library.shelf import with_shelf
from playbooks.models import Playbook

# What is wrong with playbooks beyond each by itself, as the service that is to serve them knows it.
Check = Callable[[Draft], Sequence[Problem]]


class OpenDraft(msgspec.Struct, frozen=True):
    """A draft as it is now; `problems` keep it from being handed in, not from being saved."""

    playbook: Playbook
    etag: str
    revision: int
    based_on: int | None
    edited_at: datetime
    edited_by: str
    problems: Sequence[Problem]


def read_draft(connection: Connection, playbook: str, check: Check) -> OpenDraft:
    """Return the draft of a playbook.

    Raises:
        UnknownPlaybook: it has none.
    """
    row = repository.draft(connection, playbook)
    if row is None:
        raise UnknownPlaybook(
            f"the playbook {playbook!r} has no draft; begin one with PUT /v1/playbooks/{playbook}/draft"
        )
    return _open(connection, row, check)


def save_draft(
    connection: Connection, playbook: Playbook, etag: str | None, check: Check, *, by: str, now: datetime
) -> OpenDraft:
    """Keep a draft.

    Args:
        etag: of the revision that was read; None begins a draft.

    Raises:
        RevisionMissing: there is a draft, and the save does not say which revision it read.
        DraftChanged: somebody else saved meanwhile; the message has what differs between both.
    """
    repository.hold(connection)
    row = repository.draft(connection, playbook.id)
    _refuse_lost(connection, row, playbook, etag)
    newest = repository.latest_version_number(connection, playbook.id)
    new = DraftRow(
        playbook.id,
        1 if row is None else row.revision + 1,
        playbook.model_dump_json(),
        newest if row is None else row.based_on,
        now,
        by,
    )
    repository.keep_draft(connection, new)
    return _open(connection, new, check)


def discard_draft(connection: Connection, playbook: str, etag: str | None) -> None:
    """Forget a draft. Raises as `save_draft`, and UnknownPlaybook where there is none."""
    repository.hold(connection)
    row = repository.draft(connection, playbook)
    if row is None:
        raise UnknownPlaybook(f"the playbook {playbook!r} has no draft")
    _refuse_lost(connection, row, Playbook.model_validate_json(row.body), etag)
    repository.drop_draft(connection, playbook)


def etag_of(row: DraftRow) -> str:
    """By what a revision is known; also when its number is given again after a draft was discarded."""
    digest = blake2b(f"{row.edited_at.isoformat()};{row.body}".encode(), digest_size=6)
    return f'"{row.revision}-{digest.hexdigest()}"'


def _open(connection: Connection, row: DraftRow, check: Check) -> OpenDraft:
    playbook = Playbook.model_validate_json(row.body)
    problems = check(with_shelf(connection, playbook))
    return OpenDraft(
        playbook, etag_of(row), row.revision, row.based_on, row.edited_at, row.edited_by, problems
    )


def _refuse_lost(connection: Connection, row: DraftRow | None, theirs: Playbook, etag: str | None) -> None:
    if row is None:
        if etag is not None and etag != "*":
            raise DraftChanged(
                f"the draft of {theirs.id!r} was handed in or discarded meanwhile; read the playbook again"
            )
        return
    if etag is None:
        raise RevisionMissing(
            f"there is a draft of {theirs.id!r} already, last saved by {row.edited_by}: "
            "read it, and send its ETag in If-Match"
        )
    if etag != etag_of(row):
        changes = _both(connection, row, theirs)
        raise DraftChanged(
            f"{row.edited_by} saved the draft of {theirs.id!r} meanwhile, as revision {row.revision}; "
            f"nothing of yours was saved. From that revision to yours:\n{told(changes)}\n"
            "Read it again, bring both together and send its new ETag",
            etag_of(row),
            changes,
        )


def _both(connection: Connection, row: DraftRow, theirs: Playbook) -> list[Change]:
    shelf = with_shelf(connection)
    return differences(shelf.body(Playbook.model_validate_json(row.body)), shelf.body(theirs))
