"""What must not get worse, decision by decision, from the ledger: complaints, opt-outs, cost, margin."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection

from audiences.consent.models import ConsentState
from audiences.identity.people import People
from delivery.attributing import last_sent, told_by_receipt
from delivery.models import MessageFact, MessageState
from learning.challengers import repository
from learning.challengers.rules import COMPLAINTS, COST, MARGIN, OPT_OUTS, Guards, MarginGuard
from learning.evaluation.rounds import FloatArray
from learning.plans import Plans
from learning.rewards import Reward
from playbooks.decision import Decision
from playbooks.models import Arm
from playbooks.money import digits_of
from playbooks.protection import Protection
from storage import ledger
from storage.ledger import Fact, Kind

_IN_LIST = 500


class Guarded(NamedTuple):
    """Guard metrics by name, shape (n,) each, their bounds, and why one can't be told."""

    values: Mapping[str, FloatArray]
    bounds: Mapping[str, tuple[float, float]]
    reasons: Sequence[str]


class Guarding:
    """Reads guard metrics of decisions."""

    def __init__(self, guards: Guards, protection: Protection, people: People, plans: Plans) -> None:
        """`protection` says which events are complaints, and for how long they count for a message."""
        self._guards, self._protection = guards, protection
        self._people, self._plans = people, plans

    def of(
        self,
        connection: Connection,
        decisions: Sequence[Decision],
        rewards: Sequence[Reward],
        since: datetime | None,
    ) -> Guarded:
        """Return the guard metrics of decisions; a complaint counts for the last message before it."""
        values: dict[str, FloatArray] = {}
        bounds: dict[str, tuple[float, float]] = {}
        reasons: list[str] = []
        ids = [one.decision_id for one in decisions]
        if self._guards.complaints is not None:
            events = list(self._protection.complaint_events)
            told = repository.facts_since(connection, Kind.EVENT, events, since)
            # What receipts tell is known by message.
            told = [one for one in told if not told_by_receipt(one)]
            by_message = repository.facts_since(
                connection, Kind.MESSAGE, [MessageState.COMPLAINED.value], since
            )
            blamed = {one.decode(MessageFact).decision for one in by_message}
            values[COMPLAINTS] = self._counted(connection, told, ids, blamed)
        if self._guards.opt_outs is not None:
            told = repository.facts_since(connection, Kind.CONSENT, [ConsentState.DENIED.value], since)
            values[OPT_OUTS] = self._counted(connection, told, ids)
        bounds |= dict.fromkeys(values, (0.0, 1.0))
        arms = [self._plans.chosen(one) if one.acts else None for one in decisions]
        costs = np.array([0.0 if arm is None else float(arm.cost) for arm in arms])
        dearest = max(
            (float(arm.cost) for one in decisions for arm in self._plans.eligible(one)), default=0.0
        )
        if self._guards.cost is not None:
            reasons += _other_currency(arms, self._guards.cost.currency, COST)
            values[COST], bounds[COST] = costs, (0.0, dearest)
        if (margin := self._guards.margin) is not None:
            reasons += _other_currency(arms, margin.largest.currency, MARGIN)
            most = float(margin.largest.amount)
            # Of a guard more is worse: what a decision costs beyond what it brings.
            values[MARGIN] = costs - _brought(connection, rewards, margin)
            bounds[MARGIN] = (-most, dearest + most)
        return Guarded(values, bounds, reasons)

    def _counted(
        self, connection: Connection, told: Sequence[Fact], ids: Sequence[str], known: Collection[str] = ()
    ) -> FloatArray:
        """Return 1 for each decision whose message was the last one before such a fact, 0 for the others.

        Args:
            known: decisions that are to blame in any case.
        """
        blamed = set(known)
        for fact in told:
            if fact.user_id is None:
                continue
            profiles = self._people.members(fact.user_id)
            message = last_sent(connection, profiles, fact.occurred_at, self._protection.attribution)
            if message is not None:
                blamed.add(message.decision)
        return np.array([float(one in blamed) for one in ids])


def _other_currency(arms: Sequence[Arm | None], currency: str, guard: str) -> list[str]:
    others = sorted({arm.currency for arm in arms if arm is not None and arm.cost} - {currency})
    if not others:
        return []
    return [f"the guard {guard} is in {currency}, and arms that were drawn cost {', '.join(others)}"]


def _brought(connection: Connection, rewards: Sequence[Reward], margin: MarginGuard) -> FloatArray:
    """Return the amounts that the decisions' outcomes name, in minor units, cut to the largest."""
    outcomes = sorted({one.outcome for one in rewards if one.outcome is not None})
    amounts: dict[str, float] = {}
    for start in range(0, len(outcomes), _IN_LIST):
        found = ledger.known(connection, [Kind.EVENT], outcomes[start : start + _IN_LIST])
        for event, fact in found.items():
            properties: Any = fact.decode(dict[str, Any]).get("properties", {})
            amount = properties.get(margin.property)
            if isinstance(amount, int | float) and not isinstance(amount, bool):
                amounts[event] = float(amount) * 10 ** digits_of(margin.largest.currency)
    most = float(margin.largest.amount)
    brought = np.array([0.0 if one.outcome is None else amounts.get(one.outcome, 0.0) for one in rewards])
    cut: FloatArray = np.clip(brought, -most, most)
    return cut
