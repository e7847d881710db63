"""A reservation that Valkey holds and the journal does not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection

from audiences.identity.models import Person
from playbooks.constraints.counting import UseLimit, by_subject, full_limit
from playbooks.counters import repository
from playbooks.counters.epochs import Asked, Epochs
from playbooks.counters.port import (
    COUNTERS_LOST,
    COUNTERS_UNREACHABLE,
    COUNTERS_UNSETTLED,
    Spend,
    Wanted,
)
from playbooks.counters.subjects import BudgetAmount, UserUses
from playbooks.errors import CountersUnreachable

_log = structlog.get_logger(__name__)


class _Uses(NamedTuple):
    """Uses to be reserved of one subject."""

    part: UserUses
    limits: Sequence[UseLimit]

    def asked(self, decision_id: str, ends: datetime) -> Asked:
        return self.part.reserving(decision_id, self.limits, ends)

    def full(self, reply: Sequence[Any]) -> str | None:
        return self.part.full(reply, self.limits)

    def reserve(
        self, decision_id: str, ends: datetime, now: datetime, connection: Connection | None
    ) -> tuple[str, str | None]:
        token, full = self.part.reserve(decision_id, self.limits, ends, connection)
        if full is not None and connection is not None:
            # Decisions under way hold room that they may never use, those of a dead process for a day.
            recorded = self.part.recorded(connection, self.limits, decision_id)
            full = COUNTERS_UNSETTLED if full_limit(self.limits, recorded, now) is None else full
        return token, full


class _Amount(NamedTuple):
    """An amount to be reserved of a budget."""

    part: BudgetAmount
    spend: Spend

    def asked(self, decision_id: str, ends: datetime) -> Asked:
        return self.part.reserving(decision_id, self.spend, ends)

    def full(self, reply: Sequence[Any]) -> str | None:
        return self.part.full(reply, self.spend)

    def reserve(
        self, decision_id: str, ends: datetime, now: datetime, connection: Connection | None
    ) -> tuple[str, str | None]:
        return self.part.reserve(decision_id, self.spend, ends, connection)


class Held:
    """Implements `Reservation`: takes step after step, of each subject and of each budget."""

    __slots__ = ("_ends", "_epochs", "_now", "_steps", "_taken", "full", "refused", "wanted")

    def __init__(
        self, epochs: Epochs, wanted: Wanted, person: Person, now: datetime, ends: datetime, keep: timedelta
    ) -> None:
        """`ends` is until when it counts, `keep` how long the server minds a user's uses."""
        self._epochs = epochs
        self._now = now
        self._ends = ends
        self.wanted = wanted
        self._steps: list[_Uses | _Amount] = [
            _Uses(UserUses(epochs, Person(subject, (subject,)) if subject else person, now, keep), limits)
            for subject, limits in by_subject(wanted.limits).items()
        ]
        self._steps += [
            _Amount(BudgetAmount(epochs, spend.budget.key, now), spend) for spend in wanted.in_order
        ]
        # The tokens under which the first steps were taken; the rule that refused the next, and the key of
        # what had no room.
        self._taken: list[str] = []
        self.refused: str | None = None
        self.full = ""

    @property
    def next(self) -> Asked | None:
        """What is to be asked next, None where it is refused or has all."""
        if self.refused is not None or len(self._taken) == len(self._steps):
            return None
        return self._steps[len(self._taken)].asked(self.wanted.decision_id, self._ends)

    @property
    def tokens(self) -> Iterator[tuple[int, str]]:
        """The shards of what was taken, and the token of each."""
        return ((step.part.shard, token) for step, token in zip(self._steps, self._taken, strict=False))

    @property
    def doubts(self) -> list[Asked]:
        """What is told so that the journal is asked about what was taken."""
        return [step.part.doubting(self.wanted.decision_id) for step in self._steps[: len(self._taken)]]

    @property
    def ends(self) -> datetime | None:
        """Until when the journal has it; the server learns that it is for good when that has ended."""
        return None if self.wanted.for_good else self._ends

    def found(self, token: str, reply: Sequence[Any]) -> None:
        """Note the reply to what was to be asked next."""
        self._note(token, self._steps[len(self._taken)].full(reply))

    def take(self, connection: Connection | None = None) -> None:
        """Take what is left to be taken; when something refuses, what was taken is given back."""
        while self.refused is None and len(self._taken) < len(self._steps):
            self.take_next(connection)
        if self.refused is not None:
            self.drop()

    def take_next(self, connection: Connection | None = None) -> None:
        """Take what is to be asked next; what was taken before stays if that is refused."""
        step = self._steps[len(self._taken)]
        try:
            self._note(*step.reserve(self.wanted.decision_id, self._ends, self._now, connection))
        except CountersUnreachable as error:
            _log.warning("counters unreachable", error=str(error))
            self.refused = COUNTERS_UNREACHABLE

    def start_again(self) -> None:
        """Forget that it was refused; what it had taken was given back."""
        self.refused, self.full, self._taken = None, "", []

    def keep(self, connection: Connection) -> str | None:
        if self.refused is None and not self._is_current(connection):
            return COUNTERS_LOST
        if self.refused is not None:
            return self.refused
        keep_all(connection, [self], self._now)
        return None

    def drop(self) -> None:
        taken, self._taken = self._taken, []
        with suppress(CountersUnreachable):
            for step, _ in zip(self._steps, taken, strict=False):
                step.part.doubt(self.wanted.decision_id)

    def _note(self, token: str, full: str | None) -> None:
        self.refused = full
        if full is None:
            self._taken.append(token)
        else:
            self.full = self._steps[len(self._taken)].part.key

    def _is_current(self, connection: Connection) -> bool:
        return all(self._epochs.still(connection, shard, token) for shard, token in sorted(set(self.tokens)))


def keep_all(connection: Connection, held: Sequence[Held], now: datetime) -> None:
    """Write reservations to the journal."""
    for one in held:
        if one.wanted.again:
            repository.release_uses(connection, [one.wanted.decision_id])
            repository.release_grants(connection, [one.wanted.decision_id])
    rows = [(one.wanted, one.ends) for one in held]
    if any(wanted.limits for wanted, _ in rows):
        repository.insert_uses(connection, rows, now)
    if any(wanted.spends for wanted, _ in rows):
        repository.insert_grants(connection, rows, now)
