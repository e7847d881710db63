"""Features of one user as the server replied, each decoded when it is asked for.

A decision asks for those that its policy and rules know, of all that a service has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from feature_repo.encoding import Seen


class Place(NamedTuple):
    """Where a feature is in the replies: which reply, which field, and which field is its row's time."""

    reply: int
    field: int
    stamp: int


class Undecoded(Mapping[str, Any]):
    """Values by name, as `OnlineRow` has them; asking for one raises LayoutMismatch if it can't be decoded.

    A feature whose row has no time is None, and so is one that is too old.
    """

    __slots__ = ("_places", "_replies", "_seen", "_stale")

    def __init__(
        self,
        places: Mapping[str, Place],
        replies: Sequence[Sequence[bytes | None]],
        seen: Seen,
        stale: Collection[str],
    ) -> None:
        self._places, self._replies, self._seen, self._stale = places, replies, seen, stale

    def __getitem__(self, name: str) -> Any:
        reply, field, stamp = self._places[name]
        values = self._replies[reply]
        if values[stamp] is None or name in self._stale:
            return None
        return self._seen[values[field]]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value, or `default` of what is no feature of the service."""
        return self[name] if name in self._places else default

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"Undecoded({dict(self)!r})"
