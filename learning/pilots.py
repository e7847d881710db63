"""What the decisions of a pilot earned: implements `playbooks.library.pilots.Earnings` over the rewards."""

from __future__ import annotations

from datetime import datetime

from learning import repository
from playbooks.library.verdict import Earned
from playbooks.models import Goal
from storage.engine import Database


class RewardedDecisions:
    """Counts the rewards of decisions that drew an arm of a version, delivered or not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, playbook: str, version: int, goal: Goal, since: datetime) -> Earned:
        with self._database.read() as connection:
            values = list(repository.values_of_version(connection, playbook, version, since))
            waiting = repository.waiting_of_version(connection, playbook, version, since)
        return Earned(
            rewards=len(values),
            total=sum(values),
            highest=goal.value,
            binary=all(value in (0.0, goal.value) for value in values),
            waiting=waiting,
        )
