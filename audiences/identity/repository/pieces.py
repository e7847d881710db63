"""Long lists of names as conditions: in pieces that every database takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import tuple_

from audiences.identity.models import Identity

T = TypeVar("T")

# Names in one IN list: below the limit on variables of every SQLite in use.
_IN_LIST = 300


def pieces(names: Collection[T]) -> Iterator[Sequence[T]]:
    """Give names in their order, a few hundred at a time."""
    ordered = sorted(names)  # type: ignore[type-var]
    for start in range(0, len(ordered), _IN_LIST):
        yield ordered[start : start + _IN_LIST]


def among(table: Any, wanted: Sequence[Identity]) -> Any:
    """Whether the kind and value of a table's row are one of some identities."""
    return tuple_(table.c.kind, table.c.value).in_([(one.kind, one.value) for one in wanted])
