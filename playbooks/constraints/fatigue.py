"""What another contact costs a user who was contacted lately: money, less with time; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from playbooks.constraints.counting import Uses
from playbooks.constraints.scoping import ALL, Arms
from playbooks.models import Arm
from storage.times import MICROSECOND, to_micros

# Half-lives after which a contact costs less than a thousandth of what it did, and is forgotten.
FORGOTTEN_AFTER = 10


class Tiring(NamedTuple):
    """Each recent contact costs these arms `cost` minor units, half as much after each `half_life`."""

    rule: str
    cost: int
    currency: str
    half_life: timedelta
    arms: Arms

    def of(self, uses: Uses, now: datetime) -> float:
        """Return what the contacts so far cost, in minor units: cost × Σ 2^(−age / half-life)."""
        moments = uses.get(self.rule)
        if not moments:
            return 0.0
        micros, half_life = to_micros(now), self.half_life // MICROSECOND
        ages = ((micros - moment) / half_life for moment in moments)
        return self.cost * math.fsum(0.5**age for age in ages)


def fatigue_of(
    tirings: Iterable[Tiring], arms: Iterable[Arm], uses: Uses, rates: Mapping[str, float], now: datetime
) -> dict[str, float]:
    """Return what contacts so far take from each arm, in units of reward, by arm; of others nothing.

    Args:
        rates: what a minor unit of a currency takes from a value.
    """
    listed = list(arms)
    found: dict[str, float] = {}
    for one in tirings:
        taken = one.of(uses, now) * rates.get(one.currency, 0.0)
        for arm in listed if taken else ():
            if one.arms is ALL or arm.id in one.arms:
                found[arm.id] = found.get(arm.id, 0.0) + taken
    return found
