"""The port: what counters can do, whatever keeps them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from playbooks.constraints.counting import COUNTERS_UNREACHABLE, Budget, Spend, UseLimit, Uses

__all__ = ["COUNTERS_UNREACHABLE", "Budget", "Spend"]

# How long a decision may hold what it reserved before its message was handed over.
RESERVATION = timedelta(hours=24)
# The rule of a reservation whose counters were lost and rebuilt before it was durable.
COUNTERS_LOST = "counters_lost"
# The rule of a use whose room is held by a decision that is not recorded yet, and perhaps never will be.
COUNTERS_UNSETTLED = "counters_unsettled"
# Rules that say nothing about room: whoever can wait asks again, after so long.
PASSING = frozenset({COUNTERS_LOST, COUNTERS_UNREACHABLE, COUNTERS_UNSETTLED})
ASK_AGAIN = timedelta(minutes=1)


class Wanted(msgspec.Struct, frozen=True):
    """What a decision is to reserve: a use under each limit that counts, and amounts of budgets.

    `again` when the decision may have reserved before; what it then held is replaced, not added to.
    `for_good` when it counts at once and for good, as what is shown with the answer does; otherwise it
    is held until `until`, where that is given.
    """

    decision_id: str
    user_id: str
    limits: Sequence[UseLimit] = ()
    spends: Sequence[Spend] = ()
    again: bool = False
    for_good: bool = False
    until: datetime | None = None

    @property
    def in_order(self) -> list[Spend]:
        """The spends in the order in which budgets are always locked."""
        return sorted(self.spends, key=lambda spend: spend.budget.key)


class PastUse(msgspec.Struct, frozen=True):
    """A use that was made elsewhere, before; `id` is nobody else's."""

    id: str
    user_id: str
    rule: str
    used_at: datetime


class Difference(msgspec.Struct, frozen=True):
    """Where a counter is wrong: `kept` by the counters, `recounted` from the journal."""

    counter: str
    kept: int
    recounted: int


class Reservation(Protocol):
    """What `Counters.reserve` got; it holds once the transaction of `keep` is committed."""

    def keep(self, connection: Connection) -> str | None:
        """Write the reservation in the decision's transaction; may be repeated after a roll-back.

        Returns None when reserved, otherwise the rule that refused it; then nothing is held.
        """
        ...

    def drop(self) -> None:
        """Give back what is held because `keep` will surely not be committed; never raises.

        Where that is unknown, leave it: it returns by expiry.
        """
        ...


class ReservedTogether(Protocol):
    """What `Counters.reserve_many` got, by the wanted decision ids; it holds as a `Reservation` does."""

    def keep(self, connection: Connection, decision_ids: Sequence[str]) -> Mapping[str, str]:
        """Write reservations in the decisions' transaction; may be repeated after a roll-back.

        Args:
            decision_ids: some of the wanted ones; for the others nothing is written.

        Returns:
            The rule that refused it, of those that were refused; for these nothing is held.
        """
        ...

    def drop(self, decision_ids: Sequence[str]) -> None:
        """Give back what is held for decisions whose reservation was surely not kept; never raises."""
        ...


class Counters(Protocol):
    """Reads what is used, and reserves more of it without ever exceeding a limit. Thread-safe.

    Times are the caller's. A reservation that is not committed stops counting after `RESERVATION`.
    """

    def read(self, user_id: str, now: datetime, *, since: datetime) -> Uses:
        """Return the moments (microseconds) of a user's counted uses after `since`, by rule, oldest first.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        ...

    def read_many(self, user_ids: Sequence[str], now: datetime, *, since: datetime) -> Mapping[str, Uses]:
        """Return the uses of users (see `read`), of those who have any.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        ...

    def taken(self, budget: Budget, now: datetime) -> int:
        """Return how much of a budget is reserved or committed.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        ...

    def levels(self, budgets: Collection[Budget], now: datetime) -> Mapping[str, int]:
        """Return how much of each of some budgets is taken, by the budget's key; 0 where nothing is.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        ...

    def reserve(self, wanted: Wanted, now: datetime, connection: Connection | None = None) -> Reservation:
        """Check all limits and reserve what is wanted, or nothing; never raises for want of room.

        Args:
            connection: the transaction that the caller is in already, if any. What it sees tells a limit that
                is full from one that may turn out not to be (`COUNTERS_UNSETTLED`).
        """
        ...

    def reserve_many(self, wanted: Sequence[Wanted], now: datetime) -> ReservedTogether:
        """Check and reserve what many decisions want, each whole or not at all, one after the other.

        What one of them takes counts for those after it.

        Args:
            wanted: by decisions that have reserved nothing before (`again` is not for them).
        """
        ...

    def holds(self, connection: Connection, decision_id: str, until: datetime) -> bool:
        """Say whether what a decision reserved is committed, or will count until after `until`."""
        ...

    def line_up(self, connection: Connection, wanted: Sequence[Wanted], ending: Sequence[str]) -> None:
        """Lock what a transaction is going to count for several decisions: users, then budgets.

        Without it two transactions that count one decision after the other could each wait for the other.
        Coupons are locked before, everywhere.

        Args:
            wanted: what is about to be reserved.
            ending: decisions of which something is about to be given back.
        """
        ...

    def commit(self, connection: Connection, decision_ids: Sequence[str]) -> None:
        """Make what these decisions hold count for good, in the caller's transaction."""
        ...

    def held(self, connection: Connection, decision_id: str, until: datetime) -> Set[str]:
        """Return what a decision counts under, committed or reserved until after a moment.

        Names of counters, and keys of budgets.
        """
        ...

    def release(
        self, connection: Connection, decision_ids: Sequence[str], only: Collection[str] | None = None
    ) -> None:
        """Give back what these decisions hold, in the caller's transaction; what is committed stays.

        Args:
            only: uses under these counters, and from these budgets; None: all.
        """
        ...

    def settle(self, connection: Connection, decision_ids: Sequence[str], prefixes: Sequence[str]) -> None:
        """Give back what these decisions took under rules that begin so, also what is committed.

        In the caller's transaction.
        """
        ...

    def make_room(self, connection: Connection, budget: Budget, by: str, amount: int, now: datetime) -> None:
        """Let a budget have so much more, for good, in the caller's transaction.

        Args:
            by: the id of what makes the room, nobody else's.
        """
        ...

    def add_past(self, connection: Connection, uses: Sequence[PastUse]) -> None:
        """Count uses that were made elsewhere, in the caller's transaction, whatever the limits."""
        ...

    def forget(self, user_ids: Sequence[str]) -> None:
        """Read these users' uses from the journal anew; to be called after the commit of `add_past`."""
        ...

    def erase(self, user_ids: Sequence[str]) -> int:
        """Take away what is kept of users beside the journal, where they are gone; returns how much it was.

        Raises:
            CountersUnreachable: nothing can be done now.
        """
        ...

    def recount(self, now: datetime) -> list[Difference]:
        """Count the journal again and return where the counters are wrong; right only while nobody reserves.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        ...

    def rebuild(self) -> None:
        """Make the counters anew from the journal."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
