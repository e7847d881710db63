"""What the decisions of a pilot earned: implements `playbooks.library.pilots.Earnings` over the rewards."""

from __future__ import annotations

from datetime import datetime

from learning import earnings_repository
from playbooks.goal_documents import Goal
from playbooks.library.verdict import Earned
from storage.engine import Database


class RewardedDecisions:
    """Counts the rewards of decisions that drew an arm of a version, delivered or not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, playbook: str, version: int, goal: Goal, since: datetime) -> Earned:
        with self._database.read() as connection:
            values = list(earnings_repository.values_of_version(connection, playbook, version, since))
            waiting = earnings_repository.waiting_of_version(connection, playbook, version, since)
        lowest, highest = goal.bounds
        return Earned(
            rewards=len(values),
            total=sum(values),
            highest=highest,
            binary=all(value in (lowest, highest) for value in values),
            waiting=waiting,
            lowest=lowest,
        )
