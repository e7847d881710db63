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
    shared: bool = True,
    for_good: bool = False,
) -> Wanted | None:
    """Return what a use of an arm reserves, None when nothing of it is counted.

    Args:
        again: the decision may have reserved before.
        for_good: it counts at once, for what was drawn is shown with the answer.
        shared: it takes from what all users share; test users don't.
    """
    limits = limits_of(terms, arm, circumstances, now)
    budgets = terms.spends if shared else ()
    spends = [spend for one in budgets if (spend := one.spend(arm, now)) is not None]
    if not limits and not spends:
        return None
    return Wanted(decision_id, user_id, limits, spends, again=again, for_good=for_good)
