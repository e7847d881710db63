"""Outcomes that come after their decision's reward was known: the decision is judged again.

Also what names a decision and can't be credited to it is found here, and recorded as refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from learning import outcome_repository
from learning.judging import Judging
from learning.repository import REFUSED, Window
from learning.rewards import DECISION_PROPERTY, Outcome, kind_of
from playbooks.goal_documents import OPT_OUT
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS

_MOST_WINDOW = timedelta(days=366)


class RefusedOutcome(msgspec.Struct, frozen=True):
    """Body of the fact that an outcome can't be counted: which, for what decision if it is known, and why."""

    outcome: str
    name: str
    decision_id: str | None
    why: str


def refusal(outcome: Outcome, decision_id: str | None, why: str) -> NewFact:
    """Return the fact of an outcome that can't be counted."""
    body = RefusedOutcome(outcome.event_id, outcome.name, decision_id, why)
    return NewFact(
        Kind.REWARD, f"{REFUSED}:{outcome.event_id}", REFUSED, outcome.user_id, outcome.occurred_at, body
    )


class LateOutcomes:
    """Looks at every outcome once, whenever it comes."""

    def __init__(self, database: Database, judging: Judging) -> None:
        self._database, self._judging = database, judging

    def look(self, now: datetime) -> int | None:
        """Look at the next outcomes; returns how many can't be counted, None where nothing is new."""
        with self._database.read() as connection:
            plans = outcome_repository.served_plans(connection)
            names = {kind.name for one in plans for kind in self._judging.goal(*one).countings}
            page = outcome_repository.next_outcomes(connection, names)
        if page is None:
            return None
        outcomes = [self._judging.of_person(outcome_repository.outcome_of(fact)) for fact in page.outcomes]
        again = list(self._again(outcomes))
        refused = list(self._orphans(outcomes))
        return self._database.write(
            lambda c: outcome_repository.judge_again(c, page, again, refused, now),
            rows=min(TURN_ROWS, 1 + len(again) + len(refused)),
            forced=False,
        )

    def _again(self, outcomes: Sequence[Outcome]) -> Iterator[Window]:
        """Yield windows with a reward for which one of these outcomes counts.

        Outcomes are looked at before windows mature, so it came after that: late, or to a clock that had
        been ahead when the window closed.
        """
        if not outcomes:
            return
        users = self._judging.profiles({one.user_id for one in outcomes})
        start = min(one.occurred_at for one in outcomes) - _MOST_WINDOW
        end = max(one.occurred_at for one in outcomes)
        with self._database.read() as connection:
            windows = outcome_repository.matured_windows(connection, users, start, end)
        by_person: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            by_person.setdefault(outcome.user_id, []).append(outcome)
        for window in windows:
            decision = self._judging.decided(window)
            of_person = by_person.get(decision.user_id, ())
            if decision.goal is not None and any(
                kind_of(decision.goal, decision, one) is not None for one in of_person
            ):
                yield window

    def _orphans(self, outcomes: Sequence[Outcome]) -> Iterator[NewFact]:
        """Yield the refusals of outcomes that name a decision which they can't be credited to."""
        named = []
        for outcome in outcomes:
            decision = outcome.properties.get(DECISION_PROPERTY)
            if decision is not None and outcome.name != OPT_OUT:
                named.append((outcome, decision))
        if not named:
            return
        with self._database.read() as connection:
            ids = {decision for _, decision in named if isinstance(decision, str)}
            windows = outcome_repository.windows_by_id(connection, ids)
        for outcome, decision in named:
            window = windows.get(decision) if isinstance(decision, str) else None
            if why := self._why_not(outcome, window):
                known = None if window is None else window.decision_id
                yield refusal(outcome, known, f"{DECISION_PROPERTY}: {why}")

    def _why_not(self, outcome: Outcome, window: Window | None) -> str:
        if window is None:
            return "there is no decision of this id that could earn anything"
        decision = self._judging.decided(window)
        if decision.user_id != outcome.user_id:
            return "the decision was made for another user"
        if decision.goal is None:
            return "the decision was to do nothing"
        if kind_of(decision.goal, decision, outcome) is None:
            return "the decision's goal does not count it: another event, or outside of its window"
        return ""
