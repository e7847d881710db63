"""The relay: takes messages from the outbox and hands them to their channels.

An attempt begins with a lease, in one transaction with the gate's answer, and ends with a record, in
another. A message is handed over at least once and always with the same key; a relay that dies leaves its
leases to end by themselves. What its last attempt came to is then not known: on a channel that honours the
key it is made again if the gate still lets it through, otherwise the message is marked `unknown`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from delivery import outbox_repository as outbox
from delivery import repository
from delivery.addresses import Addresses, NobodysAddresses
from delivery.channels.channel import Address, AfterCrash, Channel, Receipt
from delivery.channels.webhook import WEBHOOK
from delivery.effects import message_fact
from delivery.errors import NotHandedOver
from delivery.gate import Send, SendGate
from delivery.models import Enrolment, Message, MessageState, Report
from delivery.outbox_repository import Queued, Settled
from delivery.parking import park_messages
from delivery.plans import Plan, Plans
from delivery.recipients import Recipients
from delivery.render import Renderer, webhook_message
from delivery.settling import counts, ruled, settled_fact, unknown
from playbooks.controls import Control, Controls, Watched
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.faultpoints import reached
from storage.ledger import NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# Long enough for a whole batch on a slow provider; a crash delays its messages by no more than this.
LEASE = timedelta(minutes=5)


class _Attempt(msgspec.Struct, frozen=True, gc=False):
    before: Queued
    queued: Queued
    enrolment: Enrolment
    plan: Plan | None
    problem: str


class _Outcome(msgspec.Struct, frozen=True, gc=False):
    attempt: _Attempt
    at: datetime
    receipt: Receipt | None = None
    reason: str = ""
    retry_after: timedelta | None = None
    stopped: bool = False


class Relay:
    """Hands over what the outbox holds. Any number may work side by side, each under its own `holder`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        plans: Plans,
        channels: Mapping[str, Channel],
        gate: SendGate,
        *,
        holder: str,
        batch: int = TURN_ROWS,
        lease: timedelta = LEASE,
        recipients: Recipients | None = None,
        people: People | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """Wire the relay.

        Args:
            people: say under which id a stopped user's profiles are known.
            addresses: where channels reach users; without it only those that need no address do.
        """
        self._database = database
        self._clock = clock
        self._plans = plans
        self._channels = channels
        self._gate = gate
        self._holder = holder
        self._batch = batch
        self._claiming = Pace(batch)
        self._recording = Pace(batch)
        self._lease = lease
        self._renderer = Renderer(recipients)
        self._stopping = threading.Event()
        self._controls = Watched(database)
        self._people = people or EveryoneAlone()
        self._addresses = addresses or NobodysAddresses()

    def stop(self) -> None:
        """Take no more messages after those in hand; the others wait for the next relay."""
        self._stopping.set()

    def take_back(self) -> int:
        """Let the leases of an earlier process with this holder's name end now; return how many there were.

        To be called at the start, when no other relay of this name is running.
        """
        now = self._clock.now()
        return self._database.write(lambda connection: outbox.give_back(connection, self._holder, now))

    def run(self) -> Report:
        """Hand over all messages whose time has come at the present moment."""
        total = Report()
        while True:
            until = self._clock.now() + self._lease
            more, (attempts, report) = self._database.write(
                partial(self._claim, until=until), rows=self._batch
            )
            reached("relay.claimed")
            outcomes = [self._handed_over(attempt) for attempt in attempts if self._clock.now() < until]
            if outcomes:
                reached("relay.handed_over")
            while outcomes:
                recorded, some = self._database.write(
                    # Lost in a power cut, it is as though the process had died before it could record.
                    partial(self._record, outcomes=outcomes),
                    rows=len(outcomes),
                    forced=False,
                )
                outcomes = outcomes[recorded:]
                report += some
            total += report
            if not more or self._stopping.is_set():
                return total

    def _claim(self, connection: Connection, until: datetime) -> tuple[bool, tuple[list[_Attempt], Report]]:
        return self._claiming.turn(connection, partial(self._claim_some, connection, until))

    def _claim_some(
        self, connection: Connection, until: datetime, limit: int
    ) -> tuple[int, tuple[list[_Attempt], Report]]:
        now = self._clock.now()
        controls = self._controls.read(connection)
        if controls.everything() is not None:
            return 0, ([], Report())
        claimed = outbox.claim_messages(connection, now, limit)
        enrolments = repository.enrolments_of(connection, [one.enrolment_id for one in claimed])
        stopped = [
            (one, control)
            for one in claimed
            if (control := self._stopped(controls, one, enrolments[one.enrolment_id])) is not None
        ]
        aside = park_messages(connection, stopped)
        settled: list[Settled] = []
        facts: list[NewFact] = []
        open_: list[Queued] = []
        # Gates lock what they count for a user: always in the same order, or two relays wait for each other.
        left = [one for one in claimed if one.key not in aside]
        for one in sorted(left, key=lambda one: enrolments[one.enrolment_id].user_id):
            enrolment = enrolments[one.enrolment_id]
            lost = self._lost(one)
            if lost is None:
                open_.append(one)
                continue
            settled.append(lost)
            facts.append(settled_fact(lost, one, enrolment, now))
        # What other systems are told is no message to a user: nothing but the run itself decides on it.
        going = {one.key for one in open_ if one.channel == WEBHOOK}
        to_users = [one for one in open_ if one.channel != WEBHOOK]
        sends = [_send(one, enrolments[one.enrolment_id]) for one in to_users]
        for one, ruling in zip(to_users, self._gate.check(connection, sends, now), strict=True):
            if ruling is None:
                going.add(one.key)
                continue
            kept, told = ruled(one, enrolments[one.enrolment_id], ruling, now)
            settled.append(kept)
            facts += told
        outbox.settle(connection, settled)
        ledger.append(connection, facts, now)
        waiting = sum(one.state is MessageState.QUEUED for one in settled)
        # Back in the order of the claim.
        free = [one for one in claimed if one.key in going]
        held = outbox.lease(connection, free, self._holder, until)
        attempts = [
            self._attempt(connection, before, one, enrolments[one.enrolment_id])
            for before, one in zip(free, held, strict=True)
        ]
        report = msgspec.structs.replace(counts(settled), retried=0, held=waiting + len(aside))
        return len(claimed), (attempts, report)

    def _lost(self, one: Queued) -> Settled | None:
        """Say what becomes of a message whose last attempt was never recorded; None: it is repeated."""
        channel = self._channels.get(one.channel)
        if one.holder is None or channel is None:
            return None
        if channel.after_crash is AfterCrash.UNKNOWN:
            return unknown(one)
        if one.attempts >= channel.retry.attempts:
            return Settled(
                one.key, MessageState.FAILED, reason=f"no record of what became of {one.attempts} attempts"
            )
        return None

    def _stopped(self, controls: Controls, one: Queued, enrolment: Enrolment) -> Control | None:
        if not controls:
            return None
        user = self._people.canonical(enrolment.user_id)
        return controls.of_send(enrolment.playbook, user, one.channel, one.queued_at)

    def _attempt(self, connection: Connection, before: Queued, one: Queued, enrolment: Enrolment) -> _Attempt:
        try:
            plan = self._plans.find(connection, enrolment.playbook, enrolment.playbook_version)
        except NextplayError as error:
            return _Attempt(before, one, enrolment, None, str(error))
        return _Attempt(before, one, enrolment, plan, "")

    def _handed_over(self, attempt: _Attempt) -> _Outcome:
        """Hand a message over, unless it was stopped since it was claimed: a batch may take its time."""
        if self._stopped(self._controls.now(), attempt.queued, attempt.enrolment) is not None:
            return _Outcome(attempt, self._clock.now(), stopped=True)
        return self._hand_over(attempt)

    def _hand_over(self, attempt: _Attempt) -> _Outcome:
        one, enrolment = attempt.queued, attempt.enrolment
        channel = self._channels.get(one.channel)
        now = self._clock.now()
        if attempt.plan is None:
            return _Outcome(attempt, now, reason=attempt.problem)
        if channel is None:
            reason = f"there is no channel {one.channel!r}, only {sorted(self._channels)}"
            return _Outcome(attempt, now, reason=reason)
        try:
            message = self._message(attempt.plan, enrolment, one, channel.address)
        except Exception as error:  # noqa: BLE001 - whatever one user's text fails on must not stop the others
            again = isinstance(error, NextplayError) and error.retry
            delay = channel.retry.delay(one.key, one.attempts) if again else None
            return _Outcome(attempt, now, reason=str(error), retry_after=delay)
        try:
            receipt = channel.send(message)
        except NotHandedOver as error:
            delay = None if error.permanent else channel.retry.delay(one.key, one.attempts)
            if delay is not None and error.after is not None:
                delay = max(delay, error.after)
            return _Outcome(attempt, now, reason=str(error), retry_after=delay)
        except Exception as error:  # noqa: BLE001 - a fault of the channel: try again, then give up
            delay = channel.retry.delay(one.key, one.attempts)
            return _Outcome(attempt, now, reason=f"{type(error).__name__}: {error}", retry_after=delay)
        return _Outcome(attempt, now, receipt)

    def _message(self, plan: Plan, enrolment: Enrolment, one: Queued, needs: Address) -> Message:
        if one.channel == WEBHOOK:
            return webhook_message(plan, enrolment, one)
        address = "" if needs is Address.NONE else self._addresses.of(enrolment.user_id, needs)
        text = self._renderer.render(plan, enrolment, one.channel, one.content)
        return Message(one.key, enrolment.user_id, text.subject, text.body, one.queued_at, address)

    def _record(self, connection: Connection, outcomes: list[_Outcome]) -> tuple[int, Report]:
        """Record as many of the outcomes as fit into the turn, from the first on; returns how many."""
        _, recorded = self._recording.turn(connection, partial(self._record_some, connection, outcomes))
        return recorded

    def _record_some(
        self, connection: Connection, outcomes: list[_Outcome], limit: int
    ) -> tuple[int, tuple[int, Report]]:
        outcomes = outcomes[:limit]
        now = self._clock.now()
        held = outbox.still_held(connection, [outcome.attempt.queued for outcome in outcomes])
        settled: list[Settled] = []
        facts: list[NewFact] = []
        sent = 0
        stopped = [one.attempt for one in outcomes if one.stopped and one.attempt.queued.key in held]
        outbox.let_go(connection, [one.before for one in stopped], now)
        for outcome in outcomes:
            if outcome.stopped or outcome.attempt.queued.key not in held:
                continue
            result = _settled(outcome, now)
            settled.append(result)
            facts += _facts(outcome, result)
            if outcome.receipt is not None:
                sent += 1
                if outcome.attempt.queued.channel != WEBHOOK:
                    self._gate.committed(connection, outcome.attempt.enrolment, now)
        outbox.settle(connection, settled)
        ledger.append(connection, facts, now)
        return len(outcomes), (len(outcomes), counts(settled) + Report(sent=sent))


def _send(one: Queued, enrolment: Enrolment) -> Send:
    return Send(one.key, enrolment, one.channel, one.queued_at, one.content, one.step)


def _settled(outcome: _Outcome, now: datetime) -> Settled:
    key = outcome.attempt.queued.key
    if outcome.receipt is not None:
        return Settled(key, MessageState.DELIVERED if outcome.receipt.delivered else MessageState.SENT)
    if outcome.retry_after is not None:
        return Settled(key, MessageState.QUEUED, now + outcome.retry_after, outcome.reason)
    return Settled(key, MessageState.FAILED, reason=outcome.reason)


def _facts(outcome: _Outcome, result: Settled) -> list[NewFact]:
    states = {
        MessageState.SENT: [MessageState.SENT],
        MessageState.DELIVERED: [MessageState.SENT, MessageState.DELIVERED],
        MessageState.FAILED: [MessageState.FAILED],
    }.get(result.state, [])
    one = outcome.attempt.queued
    return [
        message_fact(
            one, state, outcome.attempt.enrolment, outcome.at, attempt=one.attempts, reason=result.reason
        )
        for state in states
    ]
