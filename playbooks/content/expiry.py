"""Until when contents are given: a content ends with itself, or with the first of its blocks that does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from playbooks.content.blocks import with_blocks
from playbooks.content.documents import Content
from playbooks.models import Arm


class End(NamedTuple):
    """From `at` on these arms, by their ids, are stopped by `rule`, because of what their content says."""

    rule: str
    at: datetime
    arms: frozenset[str]


def expiry_rule(content: str) -> str:
    """Return the id of the rule that stops a content that is over."""
    return f"expired.{content}"


def end_of(content: str, contents: Mapping[str, Content]) -> datetime | None:
    """Return when a content is over, None where it never is."""
    ends = [contents[one].valid_until for one in with_blocks([content], contents)]
    return min((end for end in ends if end is not None), default=None)


def ends(contents: Mapping[str, Content], arms: Sequence[Arm]) -> Iterator[End]:
    """Yield when contents of some arms are over, those that ever are, in the order of their names."""
    for content in sorted({arm.content for arm in arms}):
        if (at := end_of(content, contents)) is not None:
            yield End(expiry_rule(content), at, frozenset(arm.id for arm in arms if arm.content == content))
