"""When a challenger may take charge (`promotion.yaml`): how sure, by whom, what may not get worse; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from playbooks.document import Document
from playbooks.money import Money

COMPLAINTS = "complaints"
OPT_OUTS = "opt_outs"
COST = "cost"
MARGIN = "margin"

More = Annotated[float, Field(gt=0, lt=1)]


class MarginGuard(Document):
    """Margin of a decision: an amount that its outcome names, less what the drawn arm costs.

    `property` is the outcome's amount in whole units of the currency; amounts beyond `largest` count as that.
    `most` is how much less a decision may bring.
    """

    property: Annotated[str, Field(min_length=1, max_length=200)]
    largest: Money
    most: Money


class Guards(Document):
    """By how much a decision of the challenger may be worse, at most; a guard that is null guards nothing.

    `complaints` and `opt_outs` are numbers a decision, `cost` is money a decision.
    """

    complaints: More | None = 0.005
    opt_outs: More | None = 0.01
    cost: Money | None = None
    margin: MarginGuard | None = None

    @property
    def margins(self) -> Mapping[str, float]:
        """By guard how much worse per decision is not to be ruled out; money in minor units."""
        said = {
            COMPLAINTS: self.complaints,
            OPT_OUTS: self.opt_outs,
            COST: None if self.cost is None else float(self.cost.amount),
            MARGIN: None if self.margin is None else float(self.margin.most.amount),
        }
        return {name: margin for name, margin in said.items() if margin is not None}

    @property
    def currencies(self) -> Mapping[str, str]:
        """By guard of money its currency."""
        said = {COST: self.cost, MARGIN: None if self.margin is None else self.margin.most}
        return {name: money.currency for name, money in said.items() if money is not None}


class PromotionRules(Document):
    """How challengers take charge.

    `promotion`: `automatic` promotes as soon as there is proof, `by_hand` when somebody asks and there is.
    `confidence` is that of the proof, all challengers together. `least_effective` rounds is what the
    evidence must be worth. A claim is scored on the decisions of `live_window` after it.
    """

    promotion: Literal["by_hand", "automatic"] = "by_hand"
    confidence: Annotated[float, Field(ge=0.8, le=0.9999)] = 0.95
    least_effective: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    live_window: Annotated[timedelta, Field(ge=timedelta(hours=1), le=timedelta(days=365))] = timedelta(
        days=14
    )
    guards: Guards = Guards()


def sure(confidence: float, challengers: int, rollbacks: int) -> float:
    """Return how sure one proof has to be: the error is shared by the challengers, and halves at each return.

    A policy that was rolled back (or taken back) needs twice the proof before it takes charge again, so that
    all its returns together err as seldom as twice the first.

    >>> round(sure(0.95, 1, 0), 4), round(sure(0.95, 2, 0), 4), round(sure(0.95, 1, 2), 4)
    (0.95, 0.975, 0.9875)
    """
    return 1 - (1 - confidence) / max(challengers, 1) / 2.0**rollbacks
