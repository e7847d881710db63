"""The quarantine: which events do not fit the tracking plan, why, and taking them in once they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

import msgspec

from audiences.errors import NotAside
from audiences.events import AsideBody, Event
from audiences.intake.intake import EVENTS_PER_WRITE, Intake, Outcome
from audiences.intake.ports import TrackingPlan
from audiences.quarantine import repository
from storage.engine import Database
from storage.ledger import Fact, Kind

# Reasons of a replay that are told; more are of the same few kinds.
_REASONS = 20


class Quarantined(msgspec.Struct, frozen=True):
    """An event that is set aside.

    `reason` is why it was, `now` what the plan as it is now says of it: empty if it would be taken in.
    """

    event_id: str
    name: str
    user_id: str | None
    source: str
    occurred_at: datetime
    set_aside_at: datetime
    reason: str
    now: str
    cursor: str


class Whole(msgspec.Struct, frozen=True):
    """A quarantined event with everything that was sent."""

    quarantined: Quarantined
    event: Event


class Replayed(msgspec.Struct, frozen=True):
    """What a replay did: how many were taken in, turned out to be a machine's, or stay, and why they stay."""

    taken: int
    machine: int
    stay: int
    reasons: dict[str, int]


class Quarantine:
    """The quarantine of one service."""

    def __init__(self, database: Database, intake: Intake, plan: TrackingPlan) -> None:
        """`plan` is the one that `intake` asks."""
        self._database = database
        self._intake = intake
        self._plan = plan

    def counts(self) -> dict[str, int]:
        """Return how many events are set aside, by name."""
        with self._database.read() as connection:
            return repository.aside_by_name(connection, Kind.QUARANTINED)

    def page(self, *, names: Collection[str] = (), after: int = 0, limit: int = 100) -> list[Quarantined]:
        """Return events that are set aside, oldest first; `after` is the cursor of the last one seen."""
        with self._database.read() as connection:
            found = repository.aside(connection, Kind.QUARANTINED, names=names, after=after, limit=limit)
        return [self._told(fact, body) for fact in found if (body := body_of(fact)) is not None]

    def show(self, event_id: str) -> Whole:
        """Return one event with everything that was sent.

        Raises:
            NotAside: it is not set aside, or was erased.
        """
        with self._database.read() as connection:
            fact = repository.one_aside(connection, Kind.QUARANTINED, event_id)
        body = None if fact is None else body_of(fact)
        if fact is None or body is None:
            raise NotAside(
                f"no event {event_id!r} is in quarantine; `nextplay quarantine list` shows which are"
            )
        return Whole(self._told(fact, body), body.event)

    def replay(self, now: datetime, *, names: Collection[str] = ()) -> Replayed:
        """Take in the events that fit by now, once each and with their own times; the others stay.

        May be stopped anywhere and called again.
        """
        outcomes: Counter[Outcome] = Counter()
        reasons: Counter[str] = Counter()
        after = 0
        while True:
            with self._database.read() as connection:
                found = repository.aside(
                    connection, Kind.QUARANTINED, names=names, after=after, limit=EVENTS_PER_WRITE
                )
            if not found:
                break
            after = found[-1].seq
            fits = []
            for fact in found:
                body = body_of(fact)
                if body is None:
                    continue
                _, problem = self._plan.check(body.event)
                if problem:
                    reasons[problem] += 1
                else:
                    fits.append(body)
            outcomes.update(taken.outcome for taken in self._intake.release(fits, now))
        return Replayed(
            outcomes[Outcome.RECORDED],
            outcomes[Outcome.MACHINE],
            sum(reasons.values()),
            dict(reasons.most_common(_REASONS)),
        )

    def _told(self, fact: Fact, body: AsideBody) -> Quarantined:
        _, problem = self._plan.check(body.event)
        return Quarantined(
            fact.id,
            fact.label,
            fact.user_id,
            body.event.source,
            fact.occurred_at,
            fact.recorded_at,
            body.reason,
            problem,
            str(fact.seq),
        )


def body_of(fact: Fact) -> AsideBody | None:
    """Return what is kept of an event that was set aside, None once it was erased."""
    try:
        body: AsideBody = fact.decode(AsideBody)
    except msgspec.ValidationError:
        return None
    return body
