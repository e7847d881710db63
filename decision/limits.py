"""Limits after the decision: what it reserved is held until it counts for good, or is asked for again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from audiences.rules import Schema
from decision.gate_playbooks import Playbooks
from delivery.channels.webhook import WEBHOOK
from delivery.models import Enrolment
from playbooks.constraints.binding import Terms
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import MOST_COUNTED
from playbooks.constraints.spending import OWED
from playbooks.counters import Counters, Spend, Wanted
from playbooks.counters.wanting import wanted_by
from playbooks.decision import Decision
from playbooks.library.house_rules import CurrentRules
from storage import ledger
from storage.ledger import Kind

# Terms of playbooks on channels that are not their arms'.
_KEPT = 1_000


class Limits:
    """Implements `delivery.gate.CouponLimits`; works in the caller's transaction."""

    def __init__(self, playbooks: Playbooks, counters: Counters, schema: Schema) -> None:
        """`schema` is what the rules of constraints may speak of."""
        self._playbooks, self._counters = playbooks, counters
        self._rules = CurrentRules(schema)
        self._elsewhere: dict[tuple[int, str], tuple[Terms, Terms]] = {}

    def line_up(
        self, connection: Connection, runs: Sequence[Enrolment], ending: Sequence[str], now: datetime
    ) -> None:
        """Lock what several runs are about to count, in the order that all keep to."""
        # SQLite has one writer, and one run locks in that order by itself.
        if connection.dialect.name != "postgresql" or len(runs) + bool(ending) < 2:
            return
        wanted = []
        for run in runs:
            terms = self._terms(connection, run)
            if terms is not None and not self._counters.holds(connection, run.decision_id, now):
                one = self._wanted(connection, run, terms, now)
                wanted += [] if one is None else [one]
        if wanted or ending:
            self._counters.line_up(connection, wanted, ending)

    def hold(
        self,
        connection: Connection,
        enrolment: Enrolment,
        now: datetime,
        until: datetime,
        channel: str = "",
    ) -> str | None:
        """See that what a run needs is reserved until a moment; return the rule that refuses, if one does.

        Args:
            channel: on which it sends, where that may be another than its arm's.
        """
        if _elsewhere(enrolment, channel):
            return self._hold_on(connection, enrolment, now, until, channel)
        terms = self._terms(connection, enrolment)
        if terms is None or self._counters.holds(connection, enrolment.decision_id, until):
            return None
        wanted = self._wanted(connection, enrolment, terms, now)
        return None if wanted is None else self._counters.reserve(wanted, now, connection).keep(connection)

    def _hold_on(
        self, connection: Connection, enrolment: Enrolment, now: datetime, until: datetime, channel: str
    ) -> str | None:
        """Reserve what counts on a channel that is not the arm's; what counted on the arm's alone is free."""
        terms, mine = self._terms(connection, enrolment, channel), _id_on(enrolment, channel)
        if terms is None or self._counters.holds(connection, mine, until):
            return None
        moved = replace(enrolment, arm=replace(enrolment.arm, channel=channel))
        wanted = self._wanted(connection, moved, terms, now)
        if wanted is None:
            return None
        held = self._counters.held(connection, enrolment.decision_id, until)
        limits = [one for one in wanted.limits if one.counter not in held]
        spends = [one for one in wanted.spends if one.budget.key not in held]
        if limits or spends:
            more = replace(wanted, decision_id=mine, limits=limits, spends=spends)
            refused = self._counters.reserve(more, now, connection).keep(connection)
            if refused is not None:
                return refused
        needed = {one.counter for one in wanted.limits} | {one.budget.key for one in wanted.spends}
        if unused := held - needed:
            self._counters.release(connection, [enrolment.decision_id], unused)
        return None

    def commit(self, connection: Connection, enrolment: Enrolment, channel: str = "") -> None:
        """Let what a run has reserved count for good."""
        if self._terms(connection, enrolment, channel) is None:
            return
        ids = [enrolment.decision_id]
        if _elsewhere(enrolment, channel):
            ids.append(_id_on(enrolment, channel))
        self._counters.commit(connection, ids)

    def issue(self, connection: Connection, enrolment: Enrolment, now: datetime) -> str | None:
        refused = self.hold(connection, enrolment, now, now)
        if refused is None:
            self.commit(connection, enrolment)
        return refused

    def counts(self, connection: Connection, enrolment: Enrolment) -> bool:
        decision = _decision(connection, enrolment)
        return decision is None or not decision.test

    def ended(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        if decision_ids:
            self._counters.settle(connection, decision_ids, OWED)

    def reopened(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        terms = self._terms(connection, enrolment)
        wanted = None if terms is None else self._wanted(connection, enrolment, terms, now)
        if wanted is None:
            return
        # It is owed whether there is room or not: the coupon was given, and is good again.
        owed = [
            Spend(replace(one.budget, limit=MOST_COUNTED - 1), one.amount)
            for one in wanted.spends
            if one.budget.rule.startswith(OWED)
        ]
        again = Wanted(enrolment.decision_id, enrolment.user_id, spends=owed, for_good=True)
        self._counters.reserve(again, now, connection).keep(connection)

    def released(self, connection: Connection, use_ids: Sequence[str]) -> None:
        if use_ids:
            self._counters.release(connection, use_ids)

    def terms(self, connection: Connection, enrolment: Enrolment, channel: str = "") -> Terms | None:
        """Return the terms of a run's version under the constraints of now; None: no library ever had it.

        Args:
            channel: on which it sends, where that may be another than its arm's.
        """
        playbook = self._playbooks.of(connection, enrolment)
        if playbook is None:
            return None
        terms = self._rules.of(connection).terms(playbook)
        return self._on(terms, channel) if _elsewhere(enrolment, channel) else terms

    def _on(self, terms: Terms, channel: str) -> Terms:
        """Return the terms as they are where every arm goes by a channel."""
        kept = self._elsewhere.get((id(terms), channel))
        if kept is None or kept[0] is not terms:
            moved = [replace(arm, channel=channel) for arm in terms.arms]
            kept = self._elsewhere[id(terms), channel] = (terms, dataclasses.replace(terms, arms=moved))
            while len(self._elsewhere) > _KEPT:
                del self._elsewhere[next(iter(self._elsewhere))]
        return kept[1]

    def _wanted(
        self, connection: Connection, enrolment: Enrolment, terms: Terms, now: datetime
    ) -> Wanted | None:
        decision = _decision(connection, enrolment)
        return wanted_by(
            terms,
            enrolment.arm,
            _circumstances(decision),
            decision_id=enrolment.decision_id,
            user_id=enrolment.user_id,
            now=now,
            again=True,
            shared=decision is None or not decision.test,
        )

    def _terms(self, connection: Connection, enrolment: Enrolment, channel: str = "") -> Terms | None:
        """Return the terms of a run's version, None if they count nothing."""
        terms = self.terms(connection, enrolment, channel)
        return terms if terms is not None and (terms.counted or terms.spends) else None


def _elsewhere(enrolment: Enrolment, channel: str) -> bool:
    return channel not in ("", WEBHOOK, enrolment.arm.channel)


def _id_on(enrolment: Enrolment, channel: str) -> str:
    """Return under what is counted that a run sends on a channel that is not its arm's."""
    return f"{enrolment.decision_id}~{channel}"


def _decision(connection: Connection, enrolment: Enrolment) -> Decision | None:
    fact = ledger.get(connection, Kind.DECISION, enrolment.decision_id)
    return None if fact is None else fact.decode(Decision)


def _circumstances(decision: Decision | None) -> Circumstances:
    """Return whose account it is and in which zone the user lives, as the decision knew it."""
    if decision is None:
        return Circumstances()
    return Circumstances(zone=decision.circumstances.zone, account=decision.circumstances.account)
