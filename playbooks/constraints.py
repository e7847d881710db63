"""Whether a playbook may be used for a user now: pure, over counters as read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from playbooks.models import Playbook

# Moments of the uses that count against a cap, by the cap's rule id.
Uses = Mapping[str, Sequence[datetime]]


def cap_rule(playbook: str, cap: str) -> str:
    """Return the id under which a cap of a playbook counts, suppresses and is reported."""
    return f"cap.{playbook}.{cap}"


def suppressing_cap(playbook: Playbook, uses: Uses, now: datetime) -> str | None:
    """Return the rule id of the first cap that has no room left, or None when the playbook may be used.

    A use counts while it is younger than the cap's window: used_at > now - window.
    """
    for cap in playbook.constraints:
        rule = cap_rule(playbook.id, cap.id)
        within = sum(1 for used_at in uses.get(rule, ()) if used_at > now - cap.window)
        if within >= cap.limit:
            return rule
    return None
