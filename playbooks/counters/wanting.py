"""What a decision for an arm has to reserve, by the constraints that it is under."""

from __future__ import annotations

from datetime import datetime

from playbooks.constraints.allowing import limits_of
from playbooks.constraints.binding import Terms
from playbooks.constraints.circumstances import Circumstances
from playbooks.counters.port import Wanted
from playbooks.models import Arm


def wanted_by(
    terms: Terms,
    arm: Arm,
    circumstances: Circumstances,
    *,
    decision_id: str,
    user_id: str,
    now: datetime,
    again: bool = False,
) -> Wanted | None:
    """Return what a use of an arm reserves, None when nothing of it is counted."""
    limits = limits_of(terms, arm, circumstances, now)
    return Wanted(decision_id, user_id, limits, again=again) if limits else None
