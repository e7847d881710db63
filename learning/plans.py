"""What decisions refer to: goals and arms of playbook versions, as they were when the decision was made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from learning import earnings_repository
from learning.errors import UnknownPlan
from playbooks.decision import Decision
from playbooks.goal_documents import Goal
from playbooks.library.repository import version_body
from playbooks.models import DO_NOTHING, Arm


@dataclass(frozen=True, slots=True)
class _Plan:
    goal: Goal
    arms: Mapping[str, Arm]


class Reads(Protocol):
    """Gives connections to read from."""

    def read(self) -> AbstractContextManager[Connection]: ...


class Plans:
    """Reads playbook versions; they never change, so each is read once."""

    def __init__(self, database: Reads) -> None:
        self._database = database
        self._plans: dict[tuple[str, int], _Plan] = {}

    def goal(self, playbook: str, version: int) -> Goal:
        """Return the goal of a playbook version.

        Raises:
            UnknownPlan: it was never published.
        """
        return self._plan(playbook, version).goal

    def arm(self, playbook: str, version: int, arm: str) -> Arm:
        """Return an arm of a playbook version.

        Raises:
            UnknownPlan: the version was never published or has no such arm.
        """
        found = self._plan(playbook, version).arms.get(arm)
        if found is None:
            raise UnknownPlan(f"version {version} of playbook {playbook!r} has no arm {arm!r}")
        return found

    def chosen(self, decision: Decision) -> Arm:
        """Return the arm that a decision drew, which is not to do nothing.

        Raises:
            UnknownPlan: it was never published.
        """
        if decision.playbook is None or decision.playbook_version is None:
            raise UnknownPlan(f"decision {decision.decision_id} drew no arm of a playbook")
        return self.arm(decision.playbook, decision.playbook_version, decision.arm)

    def eligible(self, decision: Decision) -> list[Arm]:
        """Return the arms that took part in a decision, in its order, without "do nothing".

        Raises:
            UnknownPlan: one of them was never published.
        """
        versions: dict[str | None, int | None] = dict(decision.pilots.items())
        versions[decision.playbook] = decision.playbook_version
        arms = []
        for arm in decision.arms:
            if arm == DO_NOTHING:
                continue
            playbook = arm.split("/", 1)[0]
            if playbook not in versions:
                versions[playbook] = self._version_at(playbook, decision)
            arms.append(self.arm(playbook, versions[playbook] or 0, arm))
        return arms

    def _version_at(self, playbook: str, decision: Decision) -> int | None:
        with self._database.read() as connection:
            return earnings_repository.playbook_version_at(connection, playbook, decision.decided_at)

    def _plan(self, playbook: str, version: int) -> _Plan:
        plan = self._plans.get((playbook, version))
        if plan is None:
            with self._database.read() as connection:
                body = version_body(connection, playbook, version)
            if body is None:
                raise UnknownPlan(f"version {version} of playbook {playbook!r} was never published")
            arms = {arm.id: arm for arm in body.arms}
            plan = self._plans[playbook, version] = _Plan(body.playbook.goal, arms)
        return plan
