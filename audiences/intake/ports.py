"""What the intake asks of others: whether an event fits the plan, whether a person did it, whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from audiences.errors import EventRefused
from audiences.events import Event
from storage.ledger import Kind


class Judged(msgspec.Struct, frozen=True):
    """An event and as what it is to be kept; `reason` says why it is set aside, `past` if it was imported."""

    event: Event
    kind: Kind
    reason: str = ""
    past: bool = False


class TrackingPlan(Protocol):
    """Knows what events should look like."""

    def check(self, event: Event) -> tuple[Event, str]:
        """Return the event, coerced where the plan says so, and why it must be set aside ('' if it fits)."""
        ...


class Machines(Protocol):
    """Tells people from mail scanners, link pre-fetchers and crawlers."""

    def why(self, event: Event) -> str:
        """Return why a machine must have sent this event, '' if a person may have."""
        ...


class Identities(Protocol):
    """Finds out whose events are, in the transaction that records them."""

    def check(self, event: Event) -> None:
        """Make sure that an event says whose it is. Raises EventRefused."""
        ...

    def resolve(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        """Return for each event the id of the profile it belongs to, creating and joining profiles.

        Called once for each event that is new. May be called again for the same events when the
        transaction was rolled back.
        """
        ...

    def committed(self) -> None:
        """Called after each transaction in which `resolve` was called, once it is durable; must be quick."""
        ...


class Traits(Protocol):
    """Decides between sources that say different things of a user."""

    def settle(
        self, connection: Connection, events: Sequence[Event], profiles: Sequence[str], *, past: bool
    ) -> list[Event]:
        """Keep what identify events say of their users; return all events with only what counts.

        Called with events that are new, and the profiles they belong to.
        """
        ...


class Arrivals(Protocol):
    """Counts what came in, in the transaction that records it."""

    def add(
        self, connection: Connection, judged: Sequence[Judged], outcomes: Sequence[str], *, released: bool
    ) -> None:
        """Count events and what became of each; `released`: they were counted when they were set aside."""
        ...


class AnyShape:
    """A plan that takes every event as it is."""

    def check(self, event: Event) -> tuple[Event, str]:
        return event, ""


class NoMachines:
    """Takes everybody for a person."""

    def why(self, event: Event) -> str:
        return ""


class OneIdAUser:
    """Every user has one id, the one that senders use, or else the anonymous one."""

    def check(self, event: Event) -> None:
        if not (event.user_id or event.anonymous_id):
            raise EventRefused("`userId` is missing: say who did it")

    def resolve(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        return [event.user_id or event.anonymous_id or "" for event in events]

    def committed(self) -> None:
        pass


class AllTraits:
    """Takes every source at its word."""

    def settle(
        self, connection: Connection, events: Sequence[Event], profiles: Sequence[str], *, past: bool
    ) -> list[Event]:
        return list(events)


class Uncounted:
    """Counts nothing."""

    def add(
        self, connection: Connection, judged: Sequence[Judged], outcomes: Sequence[str], *, released: bool
    ) -> None:
        pass
