"""Clicks soon after delivery: a scanner follows every link of a message, a person one or two. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# Nobody has read a message with that many links, and chosen that many, within seconds.
_MANY = 3


class Click(NamedTuple):
    """A click on `link` of a message that has `links` of them, where that is known."""

    link: str
    links: int | None


def by_machine(clicks: Iterable[Click]) -> bool:
    """Whether these clicks, all on one message and within seconds of its delivery, are a machine's.

    They are if they are on every link of a message that has several; or on at least three different ones and
    on more than half of all, or nobody said how many there are. Of a message with a single link nothing can
    be told: its click is taken for a person's.
    """
    known = list(clicks)
    clicked = len({one.link for one in known})
    links = max((one.links or 0 for one in known), default=0)
    if links > 1 and clicked >= links:
        return True
    return clicked >= _MANY and 2 * clicked > links
