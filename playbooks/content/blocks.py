"""Which blocks contents take in, and those in turn: never in a circle, never without end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from playbooks.content.documents import Content
from playbooks.content.templates import read

# Blocks that one message is made of, those taken in twice counted twice.
MAX_BLOCKS = 100


def taken(content: Content) -> frozenset[str]:
    """Return the ids of the blocks that any wording of a content takes in."""
    return frozenset(use.name for _, template in content.templates for use in read(template).blocks)


def with_blocks(names: Iterable[str], contents: Mapping[str, Content]) -> set[str]:
    """Return contents with the blocks they are made of; what is not there is left out."""
    found: set[str] = set()
    left = [name for name in names if name in contents]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += (one for one in taken(contents[name]) if one in contents)
    return found


def circle(start: str, contents: Mapping[str, Content]) -> Sequence[str]:
    """Return the way on which a content takes itself in again, `footer, legal, footer`; nothing if none."""
    return _way(start, start, contents, set())


def size(name: str, contents: Mapping[str, Content]) -> int:
    """Return of how many blocks a wording of a content is made at most; more than MAX_BLOCKS is not counted.

    The content must not take itself in.
    """
    return _size(name, contents, {})


def _way(at: str, to: str, contents: Mapping[str, Content], seen: set[str]) -> Sequence[str]:
    for name in sorted(taken(contents[at])):
        if name == to:
            return [at, to]
        if name in contents and name not in seen:
            seen.add(name)
            if way := _way(name, to, contents, seen):
                return [at, *way]
    return ()


def _size(name: str, contents: Mapping[str, Content], known: dict[str, int]) -> int:
    if name not in known:
        known[name] = max(
            sum(1 + _size(use.name, contents, known) for use in read(template).blocks if use.name in contents)
            for _, template in contents[name].templates
        )
        known[name] = min(known[name], MAX_BLOCKS + 1)
    return known[name]
