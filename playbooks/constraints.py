"""Whether a playbook may be used for a user now: pure, over counters as read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import msgspec

from playbooks.models import Playbook

# Moments of the uses that count against a cap, by the cap's rule id.
Uses = Mapping[str, Sequence[datetime]]

# The rule that stops whatever has a cap while nobody can say how much room is left.
COUNTERS_UNREACHABLE = "counters_unreachable"
# What is read from counters that do not answer; told from a user without uses by identity.
UNREADABLE: Uses = MappingProxyType({})


class UseLimit(msgspec.Struct, frozen=True):
    """A cap as it is counted: at most `limit` uses of a user under `rule` in any span of `window`."""

    rule: str
    limit: int
    window: timedelta


def cap_rule(playbook: str, cap: str) -> str:
    """Return the id under which a cap of a playbook counts, suppresses and is reported."""
    return f"cap.{playbook}.{cap}"


def use_limits(playbook: Playbook) -> tuple[UseLimit, ...]:
    """Return the caps of a playbook as they are counted."""
    return tuple(
        UseLimit(cap_rule(playbook.id, cap.id), cap.limit, cap.window) for cap in playbook.constraints
    )


def full_limit(limits: Sequence[UseLimit], uses: Uses, now: datetime) -> str | None:
    """Return the rule id of the first limit that has no room left, or None.

    A use counts while it is younger than the limit's window: used_at > now - window.
    """
    for limit in limits:
        within = sum(1 for used_at in uses.get(limit.rule, ()) if used_at > now - limit.window)
        if within >= limit.limit:
            return limit.rule
    return None


def suppressing_cap(playbook: Playbook, uses: Uses, now: datetime) -> str | None:
    """Return the rule id that stops a playbook for now, or None when it may be used.

    That is the first cap without room (see `full_limit`). Of counters that can't be read nothing is known,
    so every playbook with a cap is stopped.
    """
    if not playbook.constraints:
        return None
    if uses is UNREADABLE:
        return COUNTERS_UNREACHABLE
    return full_limit(use_limits(playbook), uses, now)
