"""SQL of the library: immutable versions of playbooks, and remembered answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, func, insert, select

from playbooks.library import Draft, Library, VersionBody
from playbooks.tables import answers, playbook_versions
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.statements import Statement
from storage.times import to_micros

_ANSWER = Statement(
    select(answers.c.fingerprint, answers.c.decision_id, answers.c.body).where(
        answers.c.request_key == bindparam("request_key")
    )
)
_HOLD_KEY = Statement(select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger))))
_REMEMBER = Statement(insert(answers).values({column.name: bindparam(column.name) for column in answers.c}))


class PlaybookChange(msgspec.Struct, frozen=True):
    """Body of the change fact that a published playbook leaves."""

    playbook: str
    version: int
    previous: int | None


class Answer(msgspec.Struct, frozen=True):
    """What was answered under an idempotency key; `fingerprint` tells whether a request is the same."""

    fingerprint: str
    decision_id: str
    body: str


def latest_versions(connection: Connection) -> dict[str, tuple[int, str]]:
    """Return number and body of the latest version of every playbook ever published."""
    newest = (
        select(playbook_versions.c.playbook, func.max(playbook_versions.c.version).label("version"))
        .group_by(playbook_versions.c.playbook)
        .subquery()
    )
    query = select(playbook_versions).join(
        newest,
        (newest.c.playbook == playbook_versions.c.playbook)
        & (newest.c.version == playbook_versions.c.version),
    )
    return {row.playbook: (row.version, row.body) for row in connection.execute(query)}


def publish(connection: Connection, draft: Draft, now: datetime) -> Library:
    """Record a new version of each playbook whose content changed, and return the library to serve."""
    latest = latest_versions(connection)
    versions: dict[str, int] = {}
    for playbook in draft.playbooks:
        playbook_id, body = playbook.id, draft.body(playbook)
        previous, recorded = latest.get(playbook_id, (None, None))
        # What a version says, not how: fields that were added since are at their defaults in it.
        if (
            recorded is not None
            and previous is not None
            and VersionBody.model_validate_json(recorded) == body
        ):
            versions[playbook_id] = previous
            continue
        versions[playbook_id] = number = (previous or 0) + 1
        row: Mapping[str, Any] = {
            "playbook": playbook_id,
            "version": number,
            "published_at": now,
            "body": body.model_dump_json(),
        }
        connection.execute(insert(playbook_versions), row)
        change = PlaybookChange(playbook_id, number, previous)
        ledger.append(
            connection, [NewFact(Kind.CHANGE, new_id(now), "playbook_published", None, now, change)], now
        )
    return draft.publish(versions)


def version_body(connection: Connection, playbook: str, version: int) -> VersionBody | None:
    """Return a playbook as it was published under a version, or None."""
    query = select(playbook_versions.c.body).where(
        playbook_versions.c.playbook == playbook, playbook_versions.c.version == version
    )
    body = connection.execute(query).scalar()
    return None if body is None else VersionBody.model_validate_json(body)


def answer_to(connection: Connection, request_key: str) -> Answer | None:
    """Return what was answered to a request key before, or None; then the key is the caller's to answer.

    On Postgres another transaction with the same key waits here until this one ends, and sees its answer.
    """
    if connection.dialect.name == "postgresql":
        lock = int.from_bytes(blake2b(request_key.encode(), digest_size=8).digest(), signed=True)
        _HOLD_KEY.run(connection, {"lock": lock})
    row = _ANSWER.run(connection, {"request_key": request_key}).first()
    return None if row is None else Answer(row.fingerprint, row.decision_id, row.body)


def remember_answer(connection: Connection, request_key: str, answer: Answer, now: datetime) -> None:
    """Keep the answer to a request key.

    Raises:
        sqlalchemy.exc.IntegrityError: the key was answered before.
    """
    row = {
        "request_key": request_key,
        "fingerprint": answer.fingerprint,
        "decision_id": answer.decision_id,
        "answered_at": to_micros(now),
        "body": answer.body,
    }
    _REMEMBER.run(connection, row)
