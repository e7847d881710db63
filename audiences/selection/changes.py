"""Who entered and who left, from one membership to the next."""

from __future__ import annotations

from dataclasses import dataclass

from pyroaring import BitMap


@dataclass(frozen=True, slots=True)
class Change:
    """Numbers of the users who came in and of those who went out."""

    entered: BitMap
    left: BitMap

    def __bool__(self) -> bool:
        return bool(self.entered) or bool(self.left)


def change(before: BitMap, after: BitMap) -> Change:
    """What leads from one membership to another."""
    return Change(after - before, before - after)


def spliced(before: BitMap, looked_at: BitMap, holding: BitMap) -> BitMap:
    """A membership after some users were looked at again: those it holds for are in, the others as before."""
    return (before - looked_at) | holding
