"""Which facts rewards still need: those are kept, however soon their kind may go.

A decision whose outcomes were taken away before its window closed would seem to have earned nothing, and its
policy would learn that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from learning import outcome_repository, repository
from learning.plans import Plans
from storage.engine import Database
from storage.ledger import Kind
from storage.retention import Needed

# Within this time what a reward says is learned.
_LEARNED = timedelta(days=1)


class StillNeeded:
    """Follows what rewards need. Used by one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plans = Plans(database)

    def since(self, now: datetime) -> Mapping[Kind, Needed]:
        """Return from when on facts of a kind are needed; kinds that rewards don't need are left out.

        That is as long as the longest of all goals counts, before the first window closed that waits for
        its reward, and a day for learning from it.
        """
        with self._database.read() as connection:
            until = repository.judged_until(connection, now)
            plans = outcome_repository.plans_that_served(connection)
        longest = timedelta(0)
        for playbook, version, ended in plans:
            counts = self._plans.goal(playbook, version).longest
            if ended is None or ended + counts >= until:
                longest = max(longest, counts)
        needed = Needed(until - longest - _LEARNED, "rewards")
        return dict.fromkeys((Kind.DECISION, *outcome_repository.KINDS), needed)
