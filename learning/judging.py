"""From windows to rewards: which outcomes are credited to which decisions, across a person's profiles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from audiences.identity.people import People
from learning import outcome_repository, repository
from learning.plans import Plans
from learning.repository import Window
from learning.rewards import Decided, Mature, Outcome, Pending, Reward, credit, reward
from playbooks.goal_documents import Goal
from playbooks.models import DO_NOTHING
from storage.engine import Database
from storage.standing_aside import stand_aside


class Judging:
    """Judges decisions by the goals of playbooks as they were published."""

    def __init__(self, database: Database, people: People) -> None:
        """`people` says who is one person: outcomes of any of their profiles count for all of them."""
        self._database, self._people = database, people
        self._plans = Plans(database)

    def goal(self, playbook: str, version: int) -> Goal:
        """Return the goal of a playbook's version."""
        return self._plans.goal(playbook, version)

    def decided(self, window: Window) -> Decided:
        """Return what a reward needs of a decision."""
        stand_aside()
        goal = arm = None
        if not window.does_nothing and window.playbook and window.playbook_version is not None:
            goal = self._plans.goal(window.playbook, window.judged_by or window.playbook_version)
            arm = self._plans.arm(window.playbook, window.playbook_version, window.arm)
        user = self._people.canonical(window.user_id)
        return Decided(window.decision_id, user, window.decided_at, goal, arm)

    def of_person(self, outcome: Outcome) -> Outcome:
        """Return an outcome as one of the person whose profile it is."""
        stand_aside()
        return replace(outcome, user_id=self._people.canonical(outcome.user_id))

    def profiles(self, users: Collection[str]) -> set[str]:
        """Return all profiles of whoever has one of these."""
        return {member for user in users for member in self._people.members(user)}

    def credited(self, windows: Sequence[Window]) -> dict[str, list[Outcome]]:
        """Return what is credited to decisions, by their ids, rivals of theirs minded."""
        acting = [window for window in windows if not window.does_nothing]
        if not acting:
            return {}
        users = self.profiles({window.user_id for window in acting})
        start = min(window.decided_at for window in acting)
        goals = {one.decision_id: one.goal for one in map(self.decided, acting) if one.goal is not None}
        end = max(
            window.decided_at + goals[window.decision_id].longest
            for window in acting
            if window.decision_id in goals
        )
        with self._database.read() as connection:
            rivals = repository.windows_of_users(connection, users, start, end)
            decided = [self.decided(window) for window in rivals if window.arm != DO_NOTHING]
            names = {kind.name for one in decided if one.goal for kind in one.goal.countings}
            found = outcome_repository.outcomes_of_users(connection, users, names, start, end)
            return credit(decided, map(self.of_person, found))

    def judged(self, windows: Sequence[Window], now: datetime) -> list[tuple[Window, Mature | Pending]]:
        """Return what each decision earned as of `now`."""
        credited = self.credited(windows)
        found = []
        for window in windows:
            decision = self.decided(window)
            outcomes = credited.get(window.decision_id, ())
            found.append((window, reward(decision.goal, decision, outcomes, now)))
        return found

    def so_far(self, windows: Sequence[Window], now: datetime) -> list[tuple[Window, Mature]]:
        """Return what each decision would have earned if nothing came after `now`."""
        credited = self.credited(windows)
        found = []
        for window in windows:
            decision = self.decided(window)
            end = window.decided_at if decision.goal is None else window.decided_at + decision.goal.window
            came = [one for one in credited.get(window.decision_id, ()) if one.occurred_at <= now]
            earned = reward(decision.goal, decision, came, end)
            if isinstance(earned, Mature):
                found.append((window, earned))
        return found


def body_of(window: Window, mature: Mature) -> Reward:
    """Return what a decision earned as the fact of its reward tells it."""
    return Reward(
        decision_id=window.decision_id,
        placement=window.placement,
        policy=window.policy,
        playbook=window.playbook,
        arm=window.arm,
        acts=window.acts,
        decided_at=window.decided_at,
        value=mature.value,
        outcome=mature.outcome,
        cost=mature.cost,
        delay=None if mature.delay is None else mature.delay.total_seconds(),
        against=mature.against,
        version=window.rewarded + 1,
        goal=window.goal_version,
    )
