"""Thresholds, prices and lists of the library's files: what differs since the last start is a change.

Playbooks, offers and who is in charge are versions of their own and are told of where they go live.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from decision.files import LibraryFiles
from decision.optimising import repository
from decision.optimising.repository import Said
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

FOLDER = "folder"
LABEL = "setting"
AUDIENCES = "audiences.yaml"
AUDIENCE_LABEL = "audience"
# Stands for a file of lists that was read, whatever was in it.
_READ = ""


def tell_settings(database: Database, clock: Clock, files: LibraryFiles) -> int:
    """Record what the files say differently from the last start; return how many changes that are.

    At the first start nothing was different before.
    """
    said, now = said_in(files), clock.now()

    def work(connection: Connection) -> int:
        before = repository.settings(connection)
        gone = [key for key in before if key not in said]
        new = {key: body for key, body in said.items() if before.get(key) != body}
        if not gone and not new:
            return 0
        repository.replace_settings(connection, gone, new)
        # A setting that was not there came with a new version of nextplay; what is new in a list did not.
        lists = {AUDIENCES, *(file for file, name in before if name == _READ)}
        told = [key for key in (*gone, *new) if before and (key in before or key[0] in lists)]
        facts = [_fact(key, before.get(key), said.get(key), now) for key in told]
        ledger.append(connection, facts, now)
        return len(facts)

    try:
        return database.write(work, rows=len(said))
    except IntegrityError:
        # Another process that starts now was faster, and told the same.
        return 0


def said_in(files: LibraryFiles) -> Said:
    """Return what the files say of thresholds, prices and audiences, as JSON text by file and name."""
    return dict(_said(files))


def _said(files: LibraryFiles) -> Iterator[tuple[tuple[str, str], str]]:
    documents: dict[str, BaseModel] = {
        "protection.yaml": files.protection,
        "approval.yaml": files.approval,
        "promotion.yaml": files.promotion,
    }
    for file, document in documents.items():
        for name, value in document.model_dump(mode="json").items():
            yield (file, name), _json(value)
    policy = files.policy.model_dump(mode="json", by_alias=True)
    for name in ("guards", "costs", "fallbacks"):
        yield ("policy.yaml", name), _json(policy[name])
    lists: dict[str, Sequence[BaseModel]] = {
        "scores.yaml": [one.spec for one in files.scores],
        "stages.yaml": [one.spec for one in files.lifecycles],
        "triggers.yaml": [one.spec for one in files.triggers.triggers],
    }
    for file, documents_of in lists.items():
        yield (file, _READ), _json(True)
        for one in documents_of:
            said = one.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            yield (file, str(said["id"])), _json(said)
    for audience in files.definitions.audiences:
        yield (AUDIENCES, audience.id), _json(audience.document())


def _fact(key: tuple[str, str], before: str | None, after: str | None, now: datetime) -> NewFact:
    file, name = key
    body: dict[str, Any] = {
        "what": file,
        "id": name,
        "by": FOLDER,
        "before": None if before is None else json.loads(before),
        "definition": None if after is None else json.loads(after),
        "retired": after is None,
    }
    label = AUDIENCE_LABEL if file == AUDIENCES else LABEL
    return NewFact(Kind.CHANGE, new_id(now), label, None, now, body)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
