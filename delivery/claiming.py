"""Takes messages of a channel out of the queue, under lease, in one transaction with the gate's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import People
from delivery import outbox_repository as outbox
from delivery import repository
from delivery.attempts import Attempt
from delivery.channels.channel import AfterCrash, Channel
from delivery.channels.management.managed import Allowance, Managed
from delivery.channels.webhook import WEBHOOK
from delivery.failing_over import FailOver, Moved, Way
from delivery.gate import Send, SendGate
from delivery.models import Enrolment, MessageState, Report
from delivery.outbox_repository import Queued, Settled
from delivery.parking import park_messages
from delivery.plans import Plan, Plans
from delivery.settling import counts, ruled, settled_fact, unknown
from playbooks.controls import Control, Controls, Watched
from playbooks.windows import Skip
from storage import ledger
from storage.errors import NextplayError
from storage.ledger import NewFact


class Stops:
    """Says which control keeps a message from going out."""

    def __init__(self, controls: Watched, people: People) -> None:
        """`people` say under which id a stopped user's profiles are known."""
        self._controls, self._people = controls, people

    def read(self, connection: Connection) -> Controls:
        """Return the controls that hold in a transaction."""
        return self._controls.read(connection)

    def of(self, one: Queued, enrolment: Enrolment, controls: Controls | None = None) -> Control | None:
        """Return what stops a message, by controls that were read or by those of now."""
        controls = self._controls.now() if controls is None else controls
        if not controls:
            return None
        user = self._people.canonical(enrolment.user_id)
        return controls.of_send(enrolment.playbook, user, one.channel, one.queued_at)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What was taken: how many messages left the queue, those to hand over, and what became of the others."""

    taken: int = 0
    attempts: Sequence[Attempt] = ()
    report: Report = Report()


class Claims:
    """Claims for one holder. Every method works in its caller's transaction."""

    def __init__(
        self,
        plans: Plans,
        channels: Mapping[str, Channel],
        gate: SendGate,
        stops: Stops,
        managed: Managed,
        failover: FailOver,
        holder: str,
    ) -> None:
        self._plans, self._channels = plans, channels
        self._managed, self._failover = managed, failover
        self._gate, self._stops, self._holder = gate, stops, holder

    def take(self, connection: Connection, channel: str, now: datetime, until: datetime, limit: int) -> Claim:
        """Take up to `limit` messages of a channel, under lease until a moment."""
        controls = self._stops.read(connection)
        if controls.everything() is not None:
            return Claim()
        allowed = self._managed.may_take(connection, channel, now, limit)
        if not allowed.number:
            return Claim()
        claimed = outbox.claim_messages(connection, channel, now, allowed.number, fresh=allowed.moving)
        if not claimed:
            return Claim()
        enrolments = repository.enrolments_of(connection, [one.enrolment_id for one in claimed])
        stopped = [
            (one, control)
            for one in claimed
            if (control := self._stops.of(one, enrolments[one.enrolment_id], controls)) is not None
        ]
        aside = park_messages(connection, stopped)
        left = [one for one in claimed if one.key not in aside]
        if allowed.moving:
            moved = self._move(connection, left, enrolments, allowed, now)
            # What has no other way stays, and is no reason to look again.
            gone = moved.failed + len(aside)
            return Claim(gone, (), msgspec.structs.replace(moved, held=len(aside)))
        settled: list[Settled] = []
        facts: list[NewFact] = []
        open_: list[Queued] = []
        # Gates lock what they count for a user: always in the same order, or two relays wait for each other.
        for one in sorted(left, key=lambda one: enrolments[one.enrolment_id].user_id):
            lost = self._lost(one)
            if lost is None:
                open_.append(one)
                continue
            settled.append(lost)
            facts.append(settled_fact(lost, one, enrolments[one.enrolment_id], now))
        stopped_here: list[Moved] = []
        going = self._let_through(connection, open_, enrolments, now, settled, facts, stopped_here)
        outbox.settle(connection, settled)
        ledger.append(connection, facts, now)
        queued = self._elsewhere(connection, stopped_here, now)
        waiting = sum(one.state is MessageState.QUEUED for one in settled)
        # Back in the order of the claim.
        free = [one for one in claimed if one.key in going]
        held = outbox.lease(connection, free, self._holder, until)
        self._managed.took(connection, channel, allowed, held, free, now)
        attempts = [
            self._attempt(connection, _left(before), one, enrolments[one.enrolment_id], now, until)
            for before, one in zip(free, held, strict=True)
        ]
        report = msgspec.structs.replace(counts(settled), retried=0, held=waiting + len(aside), queued=queued)
        return Claim(len(claimed), attempts, report)

    def _move(
        self,
        connection: Connection,
        left: Sequence[Queued],
        enrolments: Mapping[str, Enrolment],
        allowed: Allowance,
        now: datetime,
    ) -> Report:
        """Let what was never tried on a broken channel go its next way."""
        since = allowed.state.opened_at
        reason = f"the channel is broken since {since}: {allowed.state.why or 'it fails'}"
        moved = [
            (one, enrolment, reason)
            for one in left
            if self._failover.leads_on(connection, one, enrolment := enrolments[one.enrolment_id])
        ]
        settled = [Settled(one.key, MessageState.FAILED, reason=reason) for one, _, _ in moved]
        outbox.settle(connection, settled)
        facts = [
            settled_fact(result, one, enrolment, now)
            for result, (one, enrolment, _) in zip(settled, moved, strict=True)
        ]
        ledger.append(connection, facts, now)
        queued = self._failover.go_on(connection, moved, now)
        return counts(settled) + Report(queued=queued)

    def _let_through(
        self,
        connection: Connection,
        open_: Sequence[Queued],
        enrolments: Mapping[str, Enrolment],
        now: datetime,
        settled: list[Settled],
        facts: list[NewFact],
        stopped_here: list[Moved],
    ) -> set[str]:
        """Return the keys of what the gate lets through; what becomes of the rest is added to the lists.

        What is stopped for its channel alone is added to `stopped_here` as well.
        """
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
            if isinstance(ruling, Skip) and ruling.elsewhere and kept.state is MessageState.SUPPRESSED:
                stopped_here.append((one, enrolments[one.enrolment_id], ruling.rule))
        return going

    def _elsewhere(self, connection: Connection, stopped: Sequence[Moved], now: datetime) -> int:
        """Queue what a send may say by another channel too on the next that it may; return how many.

        One that has to wait there does.
        """
        ways: list[Way] = []
        for one, enrolment, rule in stopped:
            for other in self._failover.others(connection, one, enrolment, now):
                (ruling,) = self._gate.check(connection, [_send(other, enrolment)], now)
                if not isinstance(ruling, Skip):
                    ways.append((one, other, enrolment, rule))
                    break
        return self._failover.go(connection, ways, now) if ways else 0

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

    def _attempt(
        self,
        connection: Connection,
        before: Queued,
        one: Queued,
        enrolment: Enrolment,
        now: datetime,
        until: datetime,
    ) -> Attempt:
        plan: Plan | None = None
        problem = ""
        try:
            plan = self._plans.find(connection, enrolment.playbook, enrolment.playbook_version)
        except NextplayError as error:
            problem = str(error)
        return Attempt(before, one, enrolment, plan, problem, now, until)


def _left(one: Queued) -> Queued:
    """Return a message as the one is to leave it who takes it from a holder of whom nothing was heard."""
    return one if one.holder is None else msgspec.structs.replace(one, holder=outbox.NOBODY)


def _send(one: Queued, enrolment: Enrolment) -> Send:
    return Send(one.key, enrolment, one.channel, one.queued_at, one.content, one.step)
