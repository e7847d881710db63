"""Guards that shape offers before the vector is made: loyal users are never offered less than new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from pydantic import model_validator

from playbooks.document import Document, Name
from playbooks.library import PublishedPlaybook
from playbooks.models import Arm


class LoyalGuard(Document):
    """Of two audiences, the loyal and the newer; whoever is in both counts as loyal."""

    loyal: Name
    newer: Name

    @model_validator(mode="after")
    def _of_two(self) -> LoyalGuard:
        if self.loyal == self.newer:
            raise ValueError("loyal and newer must be two audiences")
        return self

    @property
    def rule(self) -> str:
        """The id under which it stops arms."""
        return f"guard.{self.loyal}"


class Limits(NamedTuple):
    """In minor units by currency: the most a newer user may be offered, the least a loyal one may be."""

    most: Mapping[str, int]
    least: Mapping[str, int]


# By which guard an arm of a promotional playbook is stopped, None where it is not.
Stops = Callable[[Arm], str | None]


def limits_of(guard: LoyalGuard, playbooks: Iterable[PublishedPlaybook]) -> Limits:
    """Return what a guard allows at a placement, given all playbooks that serve it.

    Every loyal user may be offered what is for them or for everybody. A newer user gets nothing that is worth
    more than the best of that, and a loyal one nothing worth less than the best that is left to newer ones:
    every offer to a loyal user is worth at least as much as every offer to a newer one, in each currency.
    """
    promotional = [one for one in playbooks if one.document.purpose == "promotional"]
    most: dict[str, int] = {}
    for one in promotional:
        if one.document.audience in (None, guard.loyal):
            for arm in one.arms:
                most[arm.currency] = max(most.get(arm.currency, 0), arm.value)
    least: dict[str, int] = {}
    for one in promotional:
        if one.document.audience != guard.loyal:
            for arm in one.arms:
                if arm.value <= most.get(arm.currency, 0):
                    least[arm.currency] = max(least.get(arm.currency, 0), arm.value)
    return Limits(most, least)


def stops_for(audiences: Set[str], limits: Sequence[tuple[LoyalGuard, Limits]]) -> Stops | None:
    """Return what stops arms for a user in these audiences; None where no guard is about them.

    Arms without money are not compared.
    """
    about = [(one, limit) for one, limit in limits if one.loyal in audiences or one.newer in audiences]
    if not about:
        return None

    def stops(arm: Arm) -> str | None:
        if not arm.currency:
            return None
        for guard, limit in about:
            if guard.loyal in audiences:
                worse = arm.value < limit.least.get(arm.currency, 0)
            else:
                worse = arm.value > limit.most.get(arm.currency, 0)
            if worse:
                return guard.rule
        return None

    return stops
