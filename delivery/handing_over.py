"""Hands one message to its channel, and says what came of it. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from sqlalchemy.exc import DBAPIError

from audiences.consent.models import Channel as Consent
from delivery.addresses import Addresses, NobodysAddresses
from delivery.attempts import Attempt, Outcome
from delivery.channels.channel import Address, AfterCrash, Channel
from delivery.channels.management.managed import BUSY, Managed
from delivery.channels.webhook import WEBHOOK
from delivery.claiming import Stops
from delivery.errors import NoAddress, NotHandedOver
from delivery.models import Enrolment, Message
from delivery.people.telling import Teller
from delivery.plans import Plan
from delivery.recipients import Recipients
from delivery.render import Renderer, webhook_message
from playbooks.content.filling import Text
from storage.clock import Clock
from storage.errors import NextplayError
from storage.faultpoints import reached

# What was claimed longer ago may not be wanted any more.
_FRESH = timedelta(seconds=1)


class Dresses(Protocol):
    """Puts tracked links into texts. Thread-safe."""

    def dressed(self, key: str, consent: Consent, text: Text) -> Text:
        """Return the text of a message, the same at every attempt; `consent` is its channel's way."""
        ...


class Wanted(Protocol):
    """Says whether users still want what was claimed for them a while ago. Thread-safe."""

    def by(self, run: Enrolment, channel: str) -> bool:
        """Whether the user of a run has not said no to its messages on a channel."""
        ...


class HandOver:
    """Fills messages and gives them to their channels."""

    def __init__(
        self,
        clock: Clock,
        channels: Mapping[str, Channel],
        stops: Stops,
        recipients: Recipients | None,
        addresses: Addresses | None,
        managed: Managed,
        stopping: Callable[[], bool],
        tasks: Teller,
        links: Dresses | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """Wire it.

        Args:
            stopping: says whether no more is to be begun.
            tasks: makes the requests that tell of tasks.
            links: puts tracked ones into texts.
            wanted: asked again of what was claimed more than a second ago; without it nobody is.
        """
        self._wanted = wanted
        self._clock, self._channels, self._stops = clock, channels, stops
        self._renderer, self._addresses = Renderer(recipients), addresses or NobodysAddresses()
        self._managed, self._stopping, self._tasks, self._links = managed, stopping, tasks, links

    def __call__(self, attempt: Attempt) -> Outcome:
        """Hand a message over, unless that must not begin any more: what was claimed may wait for a while."""
        now = self._clock.now()
        over = now >= attempt.until or self._stopping() or self._managed.shut(attempt.queued.channel)
        if over or self._stops.of(attempt.queued, attempt.enrolment) is not None or self._ended(attempt, now):
            return Outcome(attempt, now, let_go=True)
        one = attempt.queued
        channel = self._channels.get(one.channel)
        if attempt.plan is None:
            return Outcome(attempt, now, reason=attempt.problem)
        if channel is None:
            reason = f"there is no channel {one.channel!r}, only {sorted(self._channels)}"
            return Outcome(attempt, now, reason=reason)
        try:
            message = self._message(attempt, attempt.plan, channel, now)
        except Exception as error:  # noqa: BLE001 - whatever one user's text fails on must not stop the others
            again = isinstance(error, NextplayError) and error.retry
            delay = channel.retry.delay(one.key, one.attempts) if again else None
            lost = isinstance(error, NoAddress)
            return Outcome(attempt, now, reason=str(error), retry_after=delay, elsewhere=lost)
        return self._sent(attempt, channel, message)

    def with_addresses(self, channel: str, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Return attempts with the addresses of their users, asked for together.

        Whoever has none, or can't be looked up now, is asked about alone when the message is handed over.
        """
        way = self._channels.get(channel)
        if way is None or channel == WEBHOOK or way.address is Address.NONE or not attempts:
            return attempts
        users = sorted({one.enrolment.user_id for one in attempts})
        try:
            known = self._addresses.of_many(users, way.address)
        except (NextplayError, DBAPIError):
            return attempts
        return [msgspec.structs.replace(one, address=known.get(one.enrolment.user_id)) for one in attempts]

    def _ended(self, attempt: Attempt, now: datetime) -> bool:
        """Whether a user said no since the message was claimed; claimed again, the gate says so."""
        one = attempt.queued
        if self._wanted is None or one.channel == WEBHOOK or now < attempt.claimed_at + _FRESH:
            return False
        try:
            return not self._wanted.by(attempt.enrolment, one.channel)
        except DBAPIError:
            # Rather later than against somebody's will.
            return True

    def _sent(self, attempt: Attempt, channel: Channel, message: Message) -> Outcome:
        one, now = attempt.queued, self._clock.now()
        try:
            receipt = channel.send(message)
        except NotHandedOver as error:
            return self._not_sent(attempt, channel, error)
        except Exception as error:  # noqa: BLE001 - a fault of the channel: try again, then give up
            delay = channel.retry.delay(one.key, one.attempts)
            reason = f"{type(error).__name__}: {error}"
            return Outcome(attempt, now, reason=reason, retry_after=delay, fault=True)
        reached("relay.accepted")
        return Outcome(attempt, now, receipt)

    def _not_sent(self, attempt: Attempt, channel: Channel, error: NotHandedOver) -> Outcome:
        one, now, reason = attempt.queued, self._clock.now(), str(error)
        if error.perhaps and channel.after_crash is AfterCrash.UNKNOWN:
            return Outcome(attempt, now, reason=reason, perhaps=True, once=True, fault=True)
        if error.permanent:
            return Outcome(attempt, now, reason=reason, refused=True, elsewhere=not error.perhaps)
        if error.busy and self._managed.of(one.channel).remembers:
            self._managed.shuts(one.channel)
            return Outcome(attempt, now, reason=reason, busy=error.after or BUSY)
        delay = channel.retry.delay(one.key, one.attempts)
        if delay is not None and error.after is not None:
            delay = max(delay, error.after)
        return Outcome(attempt, now, reason=reason, retry_after=delay, perhaps=error.perhaps, fault=True)

    def _message(self, attempt: Attempt, plan: Plan, channel: Channel, now: datetime) -> Message:
        one, enrolment = attempt.queued, attempt.enrolment
        if one.channel == WEBHOOK and one.content:
            return self._tasks.message(plan, enrolment, one)
        if one.channel == WEBHOOK:
            return webhook_message(plan, enrolment, one)
        needs, user = channel.address, enrolment.user_id
        address = "" if needs is Address.NONE else self._address(attempt, needs, now)
        text = self._renderer.render(plan, enrolment, one.channel, one.content)
        if self._links is not None:
            text = self._links.dressed(one.key, channel.consent, text)
        said = (text.subject, text.body, one.queued_at)
        return Message(one.key, user, *said, address, plan.transactional)

    def _address(self, attempt: Attempt, needs: Address, now: datetime) -> str:
        if attempt.address is not None and now < attempt.claimed_at + _FRESH:
            return attempt.address
        return self._addresses.of(attempt.enrolment.user_id, needs)
