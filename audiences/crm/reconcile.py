"""What a CRM holds now, beside what is held here of it: missing there, missing here, differing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.crm import repository
from audiences.crm.definitions import CrmSource
from audiences.crm.mapping import CrmObject, nested, read_object
from audiences.crm.repository import HeldObject
from audiences.errors import MappingFailed
from audiences.importing.reader import Row
from audiences.traits.models import owns
from audiences.traits.service import Traits

# Entries of each list that are told; all are counted.
LISTED = 1_000
_BATCH = 500
_TRAITS = "traits."


class Missing(msgspec.Struct, frozen=True):
    """An object that only one side has."""

    type: str
    id: str
    updated_at: datetime


class Differing(msgspec.Struct, frozen=True):
    """A field of an object that the two sides have differently; `owner` is that of a trait."""

    type: str
    id: str
    field: str
    here: Any
    there: Any
    here_updated_at: datetime
    there_updated_at: datetime
    owner: str | None = None


class Overruled(msgspec.Struct, frozen=True):
    """A trait on which the CRM's word does not count, because another source owns it."""

    type: str
    id: str
    trait: str
    there: Any
    counts: Any
    source: str
    at: datetime
    owner: str


class Unreadable(msgspec.Struct, frozen=True):
    """A row of the export that can't be read, and why."""

    line: int
    error: str


class Report(msgspec.Struct, frozen=True):
    """A reconciliation. `counts` counts all; the lists hold the first `LISTED` of each."""

    source: str
    counts: dict[str, int]
    missing_here: list[Missing]
    missing_there: list[Missing]
    differing: list[Differing]
    overruled: list[Overruled]
    unreadable: list[Unreadable]

    @property
    def agrees(self) -> bool:
        """Whether both sides hold the same; that another source owns a trait is no disagreement."""
        wrong = ("missing_here", "missing_there", "differing", "unreadable")
        return not any(self.counts[name] for name in wrong)


class _Found:
    """What a reconciliation finds, counted in full and listed in part."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {
            name: [] for name in ("missing_here", "missing_there", "differing", "overruled", "unreadable")
        }
        self.counts = dict.fromkeys(("rows", "equal", "ignored", *self.lists), 0)

    def add(self, name: str, one: Any) -> None:
        self.counts[name] += 1
        if len(self.lists[name]) < LISTED:
            self.lists[name].append(one)


def reconcile(
    connection: Connection, source: CrmSource, rows: Iterable[Row], traits: Traits, now: datetime
) -> Report:
    """Compare a CRM's export with what is held of it.

    Rows are payloads as webhooks have them, or flat with the paths as names of columns. Objects count as
    missing there only if the export has any of their type. Claims of identity are not compared.
    """
    found = _Found()
    seen: set[tuple[str, str]] = set()
    for batch in _batches(_read(source, rows, now, found)):
        keys = [(one.type, one.id) for one in batch]
        seen.update(keys)
        held = repository.held(connection, source.id, keys)
        for one in batch:
            _compare(connection, one, held.get((one.type, one.id)), traits, source, found)
    for here in repository.all_held(connection, source.id, sorted({type_ for type_, _ in seen})):
        if (here.type, here.object_id) not in seen:
            found.add("missing_there", Missing(here.type, here.object_id, here.updated_at))
    return Report(source.id, found.counts, **found.lists)


def _read(source: CrmSource, rows: Iterable[Row], now: datetime, found: _Found) -> Iterator[CrmObject]:
    for row in rows:
        found.counts["rows"] += 1
        try:
            if row.error:
                raise MappingFailed(row.error)
            one = read_object(source, nested(row.values), now)
        except MappingFailed as error:
            found.add("unreadable", Unreadable(row.line, str(error)))
            continue
        if one is None:
            found.counts["ignored"] += 1
        else:
            yield one


def _compare(
    connection: Connection,
    there: CrmObject,
    here: HeldObject | None,
    traits: Traits,
    source: CrmSource,
    found: _Found,
) -> None:
    if here is None:
        found.add("missing_here", Missing(there.type, there.id, there.updated_at))
        return
    told = there.fields
    differing = sorted(name for name in told.keys() | here.fields if told.get(name) != here.fields.get(name))
    for name in differing:
        found.add(
            "differing",
            Differing(
                there.type,
                there.id,
                name,
                here.fields.get(name),
                told.get(name),
                here.updated_at,
                there.updated_at,
                traits.owners.get(name.removeprefix(_TRAITS)) if name.startswith(_TRAITS) else None,
            ),
        )
    if not differing:
        found.counts["equal"] += 1
    _overruled(connection, there, here, traits, source, found)


def _overruled(
    connection: Connection,
    there: CrmObject,
    here: HeldObject,
    traits: Traits,
    source: CrmSource,
    found: _Found,
) -> None:
    others: Mapping[str, str] = {
        name: owner
        for name in there.traits
        if (owner := traits.owners.get(name)) is not None and not owns(owner, source.name)
    }
    if not others:
        return
    counting = traits.held(connection, here.user_id)
    for name, owner in others.items():
        counts = counting.get(name)
        if counts is not None and owns(owner, counts.source) and counts.value != there.traits[name]:
            found.add(
                "overruled",
                Overruled(
                    there.type,
                    there.id,
                    name,
                    there.traits[name],
                    counts.value,
                    counts.source,
                    counts.at,
                    owner,
                ),
            )


def _batches(objects: Iterator[CrmObject]) -> Iterator[Sequence[CrmObject]]:
    while batch := list(islice(objects, _BATCH)):
        yield batch
