"""What many decisions want, reserved in one transaction: read once, checked one by one, written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import People
from playbooks.constraints.counting import Uses, by_subject, full_limit
from playbooks.counters import repository, together_repository
from playbooks.counters.port import Wanted
from storage.times import to_micros


class CheckedTogether:
    """Implements `ReservedTogether` on the journal itself: it is checked when it is written."""

    def __init__(self, wanted: Sequence[Wanted], people: People, now: datetime, lasts: timedelta) -> None:
        """`lasts` is how long a reservation counts that says nothing else."""
        self._wanted = [_of_person(one, people) for one in wanted]
        self._people, self._now, self._lasts = people, now, lasts

    def keep(self, connection: Connection, decision_ids: Sequence[str]) -> Mapping[str, str]:
        asked = set(decision_ids)
        wanted = [one for one in self._wanted if one.decision_id in asked]
        uses = self._uses(connection, wanted)
        room = _Room(connection, wanted, self._now)
        now = to_micros(self._now)
        refused: dict[str, str] = {}
        kept: list[tuple[Wanted, datetime | None]] = []
        for one in wanted:
            rule = self._full(one, uses) or room.take(one)
            if rule is not None:
                refused[one.decision_id] = rule
                continue
            for limit in one.limits:
                if limit.counts:
                    own = uses.setdefault(limit.subject or one.user_id, {})
                    own.setdefault(limit.counter, []).append(now)
            kept.append((one, None if one.for_good else one.until or self._now + self._lasts))
        together_repository.take_many(connection, room.amounts)
        repository.insert_uses(connection, kept, self._now)
        repository.insert_grants(connection, kept, self._now)
        return refused

    def drop(self, decision_ids: Sequence[str]) -> None:
        return None

    def _uses(self, connection: Connection, wanted: Sequence[Wanted]) -> dict[str, dict[str, list[int]]]:
        """Return what everybody used whose uses are counted, holding all of them."""
        limits = [limit for one in wanted for limit in one.limits]
        if not limits:
            return {}
        people: dict[str, str] = {}
        for one in wanted:
            for subject in by_subject(one.limits):
                whose = (subject,) if subject else self._people.members(one.user_id)
                people |= dict.fromkeys(whose, subject or one.user_id)
        # In one order everywhere, so that no two transactions wait for each other.
        together_repository.lock_users(connection, sorted(people))
        since = self._now - max(limit.window for limit in limits)
        return together_repository.read_many(connection, people, self._now, since=since)

    def _full(self, wanted: Wanted, uses: Mapping[str, Uses]) -> str | None:
        for subject, some in by_subject(wanted.limits).items():
            rule = full_limit(some, uses.get(subject or wanted.user_id, {}), self._now)
            if rule is not None:
                return rule
        return None


def _of_person(wanted: Wanted, people: People) -> Wanted:
    user = people.canonical(wanted.user_id)
    return wanted if user == wanted.user_id else msgspec.structs.replace(wanted, user_id=user)


class _Room:
    """How much of budgets is left while one decision after the other takes from them."""

    def __init__(self, connection: Connection, wanted: Sequence[Wanted], now: datetime) -> None:
        self._connection, self._now = connection, now
        keys = {spend.budget.key for one in wanted for spend in one.spends}
        self._taken = together_repository.hold_totals(connection, sorted(keys))
        self._expired_returned: set[str] = set()
        # What was taken here, by budget, and waits to be written.
        self.amounts: Counter[str] = Counter()

    def take(self, wanted: Wanted) -> str | None:
        """Take all that a decision wants, or nothing; then return the rule that has no room."""
        if not wanted.spends:
            return None
        taking: Counter[str] = Counter()
        for spend in wanted.in_order:
            key, limit = spend.budget.key, spend.budget.limit
            taking[key] += spend.amount
            if self._level(key) + taking[key] > limit and key not in self._expired_returned:
                self._expired_returned.add(key)
                self._taken[key] = together_repository.without_expired(self._connection, key, self._now)
            if self._level(key) + taking[key] > limit:
                return spend.budget.rule
        self.amounts.update(taking)
        return None

    def _level(self, key: str) -> int:
        return self._taken[key] + self.amounts[key]
