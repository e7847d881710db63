"""Counters that are checked in Valkey (or Redis) and journalled in the database.

Checking and reserving is one script. The journal's row is written in the decision's transaction, if the
reservation's epoch still holds there. Valkey never counts less than the journal: what it holds leaves it
only when its window is over, or when it has expired and the journal does not have it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import structlog
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from playbooks.constraints.counting import Uses
from playbooks.counters import epoch_repository, repository
from playbooks.counters.epochs import Epochs, shard_of
from playbooks.counters.held import Held
from playbooks.counters.held_together import HeldTogether, read_together
from playbooks.counters.port import (
    RESERVATION,
    Budget,
    Difference,
    PastUse,
    Reservation,
    ReservedTogether,
    Wanted,
)
from playbooks.counters.server import PATIENCE_SECONDS, PAUSE_SECONDS, Server
from playbooks.counters.subjects import (
    TOTAL,
    USES,
    BudgetAmount,
    UserUses,
    key_of,
    of_person,
    subject_of,
    user_of,
)
from playbooks.errors import CountersUnreachable
from storage.engine import Database
from storage.times import EPOCH

_log = structlog.get_logger(__name__)


class ValkeyCounters:
    """Implements `Counters` on a Valkey or Redis server."""

    def __init__(
        self,
        database: Database,
        url: str,
        people: People | None = None,
        *,
        reservation: timedelta = RESERVATION,
        patience: float = PATIENCE_SECONDS,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        """Connect to the server; what it counts is read from the journal when it is first asked for.

        Args:
            people: who is one person.
            reservation: how long a reservation counts before it is committed.
            patience: seconds that one call may take.
            pause: seconds during which nobody asks again after calls failed in a row.

        Raises:
            ConfigurationError: the URL can't be understood, or the server may evict keys.
            CountersUnreachable: nothing answers at the URL.
        """
        self._database = database
        self._people = people or EveryoneAlone()
        self._reservation = reservation
        # A reservation under way must be found by those who come after it.
        self._keep = 2 * max(reservation, RESERVATION)
        self._server = Server(url, patience=patience, pause=pause)
        self._epochs = Epochs(database, self._server)

    def read(self, user_id: str, now: datetime, *, since: datetime) -> Uses:
        return self._user(user_id, now).read(since)

    def read_many(self, user_ids: Sequence[str], now: datetime, *, since: datetime) -> Mapping[str, Uses]:
        people = [self._people.person(user_id) for user_id in user_ids]
        found = read_together(self._epochs, people, now, self._keep, since)
        return {user_id: uses for user_id, uses in zip(user_ids, found, strict=True) if uses}

    def taken(self, budget: Budget, now: datetime) -> int:
        return BudgetAmount(self._epochs, budget.key, now).taken()

    def levels(self, budgets: Collection[Budget], now: datetime) -> Mapping[str, int]:
        parts = [BudgetAmount(self._epochs, one.key, now) for one in budgets]
        found = self._epochs.ask_all([part.reading() for part in parts])
        return {
            one.key: part.taken() if told is None else int(told.reply[1])
            for one, part, told in zip(budgets, parts, found, strict=True)
        }

    def reserve(self, wanted: Wanted, now: datetime, connection: Connection | None = None) -> Reservation:
        held = self._held(wanted, now)
        held.take(connection)
        return held

    def reserve_many(self, wanted: Sequence[Wanted], now: datetime) -> ReservedTogether:
        together = HeldTogether(self._epochs, [self._held(one, now) for one in wanted], now)
        together.take()
        return together

    def holds(self, connection: Connection, decision_id: str, until: datetime) -> bool:
        return repository.holds(connection, decision_id, until)

    def line_up(self, connection: Connection, wanted: Sequence[Wanted], ending: Sequence[str]) -> None:
        # The server counts, one call after the other: no row is shared.
        return None

    def commit(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        # Valkey goes on counting the reservation, and learns what became of it when it has expired.
        repository.commit(connection, decision_ids)

    def held(self, connection: Connection, decision_id: str, until: datetime) -> Set[str]:
        return repository.held(connection, decision_id, until)

    def release(
        self, connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None
    ) -> None:
        parts: list[tuple[UserUses | BudgetAmount, str]] = [
            (self._user(user_id, EPOCH), decision_id)
            for user_id, decision_id in set(repository.release_uses(connection, decision_ids, only))
        ]
        parts += [
            (BudgetAmount(self._epochs, budget, EPOCH), decision_id)
            for budget, decision_id, _ in repository.release_grants(connection, decision_ids, only)
        ]
        # Whoever asks the journal before this is committed finds it held; then it returns by expiry.
        with suppress(CountersUnreachable):
            for part, decision_id in parts:
                part.doubt(decision_id)

    def settle(self, connection: Connection, decision_ids: Sequence[str], prefixes: Sequence[str]) -> None:
        gone = repository.settle_grants(connection, decision_ids, prefixes)
        # What is committed is part of a sum there: it is read from the journal anew.
        users = repository.settle_uses(connection, decision_ids, prefixes)
        subjects = {budget for budget, _, _ in gone} | {of_person(self._people.person(one)) for one in users}
        shards = sorted({shard_of(one) for one in subjects})
        if shards:
            epoch_repository.end_epochs_of(connection, shards)
            # Before the commit, which nobody overtakes: a new epoch can't begin while this one is held.
            with suppress(CountersUnreachable):
                self._epochs.void(shards)

    def make_room(self, connection: Connection, budget: Budget, by: str, amount: int, now: datetime) -> None:
        repository.insert_room(connection, budget.key, by, amount, now)
        # Read from the journal anew, as in `settle`.
        shards = [shard_of(budget.key)]
        epoch_repository.end_epochs_of(connection, shards)
        with suppress(CountersUnreachable):
            self._epochs.void(shards)

    def add_past(self, connection: Connection, uses: Sequence[PastUse]) -> None:
        repository.insert_past(connection, uses)
        # Whoever forgets to forget is found out at the next reservation, which is refused once.
        shards = sorted({shard_of(use.user_id) for use in uses})
        epoch_repository.end_epochs_of(connection, shards)

    def forget(self, user_ids: Sequence[str]) -> None:
        with suppress(CountersUnreachable):
            self._epochs.void({shard_of(of_person(self._people.person(user_id))) for user_id in user_ids})

    def erase(self, user_ids: Sequence[str]) -> int:
        keys = [key_of(USES, user_id) for user_id in user_ids]
        if any(self._people.person(user_id).revision for user_id in user_ids):
            # Under each of the persons that they once were.
            kept = map(subject_of, self._server.keys(f"np:*:{USES}:*"))
            keys += [key_of(USES, one) for one in kept if user_of(one) in user_ids and one not in user_ids]
        return self._server.delete(keys)

    def recount(self, now: datetime) -> list[Difference]:
        found: list[Difference] = []
        with self._database.read() as reader:
            for subject in map(subject_of, self._server.keys(f"np:*:{USES}:*")):
                user_id = user_of(subject)
                if of_person(self._people.person(user_id)) != subject:
                    # Of a person who is another by now; nobody counts by it any more.
                    continue
                kept, recounted = self._user(user_id, now).kept_and_recounted(reader)
                if kept != recounted:
                    found.append(Difference(user_id, kept, recounted))
            for budget in map(subject_of, self._server.keys(f"np:*:{TOTAL}:*")):
                kept = BudgetAmount(self._epochs, budget, now).taken()
                recounted, _ = repository.granted(reader, budget, now)
                if kept != recounted:
                    found.append(Difference(budget, kept, recounted))
        return found

    def rebuild(self) -> None:
        self._epochs.end()

    def close(self) -> None:
        self._server.close()

    def _held(self, wanted: Wanted, now: datetime) -> Held:
        person = self._people.person(wanted.user_id)
        own = msgspec.structs.replace(wanted, user_id=person.canonical)
        ends = wanted.until or now + self._reservation
        return Held(self._epochs, own, person, now, ends, self._keep)

    def _user(self, user_id: str, now: datetime) -> UserUses:
        return UserUses(self._epochs, self._people.person(user_id), now, self._keep)
