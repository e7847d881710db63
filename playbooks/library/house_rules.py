"""The constraints for all playbooks as the library keeps them: each change is a version, with who made it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from pydantic import TypeAdapter
from sqlalchemy import Connection, Transaction

from audiences.rules import Schema
from playbooks.constraints.documents import Constraint, rule_of
from playbooks.constraints.rulebook import Rulebook
from playbooks.errors import MoveRefused, UnknownConstraints
from playbooks.library import repository
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

KIND = "constraints"
_DIGITS = 8
_LIST: TypeAdapter[list[Constraint]] = TypeAdapter(list[Constraint])


class ConstraintsChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the change fact that new constraints leave: what rules were added, changed and removed."""

    version: int
    by: str
    added: list[str]
    changed: list[str]
    removed: list[str]
    why: str = ""


class HouseRules:
    """The constraints for all playbooks of one database, in all their versions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self) -> tuple[int, Sequence[Constraint]]:
        """Return the version that holds, and its constraints."""
        with self._database.read() as connection:
            return constraints_of(connection)

    def of(self, version: int) -> tuple[int, Sequence[Constraint]]:
        """Return the constraints of a version.

        Raises:
            UnknownConstraints: there is no such version.
        """
        with self._database.read() as connection:
            body = repository.documents(connection, KIND).get(_name(version))
        if body is None:
            raise UnknownConstraints(f"there is no version {version} of the constraints")
        return version, _LIST.validate_json(body)

    def versions(self) -> list[dict[str, Any]]:
        """Return who made which version when, newest first."""
        with self._database.read() as connection:
            changes = repository.document_changes(connection, KIND)
        return [{"version": int(name), "changed_at": at, "changed_by": by} for name, at, by in changes]


def constraints_of(connection: Connection) -> tuple[int, tuple[Constraint, ...]]:
    """Return the version that holds, and its constraints; 0 and none where there never were any."""
    latest = repository.latest_document(connection, KIND)
    return (0, ()) if latest is None else (int(latest[0]), tuple(_LIST.validate_json(latest[1])))


def constraints_version(connection: Connection) -> int:
    """Return the number of the version that holds."""
    return int(repository.latest_document_id(connection, KIND) or 0)


class CurrentRules:
    """The rulebook of the version that holds, looked at once in each transaction."""

    def __init__(self, schema: Schema) -> None:
        """`schema` is what the rules of constraints may speak of."""
        self._rules = Rulebook(schema=schema)
        self._seen_in: Transaction | None = None

    def of(self, connection: Connection) -> Rulebook:
        """Return the rulebook that holds in the caller's transaction."""
        transaction = connection.get_transaction()
        if transaction is None or transaction is not self._seen_in:
            if constraints_version(connection) != self._rules.version:
                version, constraints = constraints_of(connection)
                self._rules = Rulebook(constraints, version, self._rules.schema)
            self._seen_in = transaction
        return self._rules


def said_before(connection: Connection, says: Sequence[Constraint], by: str) -> bool:
    """Whether the newest of the versions that somebody made says the same; who made none said nothing."""
    newest = repository.newest_document_by(connection, KIND, by)
    said = () if newest is None else _LIST.validate_json(newest)
    return {rule_of(one): one for one in said} == {rule_of(one): one for one in says}


def keep_constraints(
    connection: Connection, new: Sequence[Constraint], by: str, now: datetime, why: str = ""
) -> None:
    """Keep constraints as a new version, unless they say what those before do."""
    version, before = constraints_of(connection)
    old = {rule_of(one): one for one in before}
    mine = {rule_of(one): one for one in new}
    if old == mine:
        return
    body = _LIST.dump_json(list(new), exclude_defaults=True).decode()
    repository.keep_documents(connection, KIND, {_name(version + 1): body}, by, now)
    change = ConstraintsChange(
        version + 1,
        by,
        added=sorted(mine.keys() - old.keys()),
        changed=sorted(rule for rule in mine.keys() & old.keys() if mine[rule] != old[rule]),
        removed=sorted(old.keys() - mine.keys()),
        why=why,
    )
    ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), KIND, None, now, change)], now)


def take_back_constraints(connection: Connection, version: int, by: str, now: datetime, why: str) -> None:
    """Keep what held before a version as the next one.

    Raises:
        MoveRefused: another version came after it.
    """
    current, _ = constraints_of(connection)
    if current != version:
        raise MoveRefused(f"the constraints are version {current} by now: take the later change back first")
    keep_constraints(connection, constraints_before(connection, version), by, now, why)


def constraints_before(connection: Connection, version: int) -> tuple[Constraint, ...]:
    """Return what held before a version; none where it was the first."""
    body = repository.documents(connection, KIND).get(_name(version - 1))
    return () if body is None else tuple(_LIST.validate_json(body))


def written(constraints: Sequence[Constraint]) -> list[dict[str, Any]]:
    """Return constraints as one would write them."""
    return [one.written() for one in constraints]


def _name(version: int) -> str:
    # Names are ordered as text.
    return f"{version:0{_DIGITS}}"
