"""Features of one user as the server replied, each decoded when it is asked for.

A decision asks for those that its policy and rules know, of all that a service has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from feature_repo.encoding import Seen


class Places:
    """Where features are among the fields that are replied about a user, and the times of their rows.

    `stamps` are where each view's time is, in the order of the views.
    """

    def __init__(self, replies: Sequence[tuple[int, Sequence[tuple[int, int, Sequence[str]]]]]) -> None:
        """Of each reply its number of fields and its views: which, its first field (a time), its features."""
        stamps: dict[int, int] = {}
        # Of each feature which field it is, and which is its row's time.
        self._of: dict[str, tuple[int, int]] = {}
        before = 0
        for size, views in replies:
            for view, first, names in views:
                stamp = stamps[view] = before + first
                self._of |= {name: (stamp + 1 + n, stamp) for n, name in enumerate(names)}
            before += size
        self.stamps = [stamps[view] for view in sorted(stamps)]
        self._all = {name: field for name, (field, _) in self._of.items()}

    def known(self, fields: Sequence[bytes | None], stale: Collection[str]) -> Mapping[str, int | None]:
        """Return where features are, None of one that is too old or whose row has no time."""
        if not stale and all(fields[stamp] is not None for stamp in self.stamps):
            return self._all
        return {
            name: None if fields[stamp] is None or name in stale else field
            for name, (field, stamp) in self._of.items()
        }


class Undecoded(Mapping[str, Any]):
    """Values by name, as `OnlineRow` has them; asking for what can't be decoded raises LayoutMismatch."""

    __slots__ = ("_fields", "_places", "_seen")

    def __init__(self, places: Mapping[str, int | None], fields: Sequence[bytes | None], seen: Seen) -> None:
        """`places` say which of the fields a feature is, None of one that is not known or too old."""
        self._places, self._fields, self._seen = places, fields, seen

    def __getitem__(self, name: str) -> Any:
        place = self._places[name]
        return None if place is None else self._seen[self._fields[place]]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value, or `default` of what is no feature of the service."""
        if name not in self._places:
            return default
        place = self._places[name]
        return None if place is None else self._seen[self._fields[place]]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Undecoded({dict(self)!r})"


def columns_of(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    """Return by name what each of many rows has, None where it has none: as `get` does, without calls."""
    return {
        name: [
            (None if (place := row._places.get(name)) is None else row._seen[row._fields[place]])
            if isinstance(row, Undecoded)
            else row.get(name)
            for row in rows
        ]
        for name in names
    }
