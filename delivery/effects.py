"""Carries out what flows want, in the transaction that keeps their new state.

Effects on rows of our own database (coupons, tags) are done at once; messages go to the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery import repository
from delivery.channels.webhook import WEBHOOK
from delivery.coupons.models import Coupon
from delivery.coupons.wallet import Wallet, coupon
from delivery.errors import FlowBroken, OfferOver
from delivery.models import (
    CallWebhook,
    Enrolment,
    EnrolmentFact,
    GivePoints,
    IssueCoupon,
    MarkUsed,
    MessageFact,
    MessageState,
    OpenTask,
    Report,
    SendMessage,
    SetTag,
    Status,
    SuppressionFact,
)
from delivery.outbox_repository import OTHER, TRANSACTIONAL, Queued
from delivery.people.opening import TaskGiver
from delivery.step import Step, stuck
from playbooks.constraints.spending import stock_of
from playbooks.counters import ASK_AGAIN, PASSING
from playbooks.models import GivenTag
from playbooks.money import Money
from storage import ledger
from storage.ledger import Kind, NewFact

E = TypeVar("E", SetTag, GivePoints)

_SENDING = (SendMessage, CallWebhook)


class TagWriter(Protocol):
    """Puts a tag on a user in the caller's transaction; audiences owns tags."""

    def __call__(
        self,
        connection: Connection,
        user_id: str,
        tag: str,
        source: str,
        at: datetime,
        expires_at: datetime | None,
    ) -> None: ...


class PointGiver(Protocol):
    """Gives users points in a score in the caller's transaction, each key once; audiences owns scores."""

    def __call__(
        self,
        connection: Connection,
        user_id: str,
        score: str,
        points: float,
        key: str,
        at: datetime,
    ) -> None: ...


def _refusal(enrolment: Enrolment, key: str, rule: str, now: datetime) -> NewFact:
    """Return the fact that a rule did not let a run's coupon be issued."""
    arm = enrolment.arm
    body = SuppressionFact(enrolment.decision_id, enrolment.id, enrolment.playbook, arm.id, arm.channel, key)
    return NewFact(Kind.SUPPRESSION, f"{key}:coupon", rule, enrolment.user_id, now, body)


def _stopped(enrolment: Enrolment, rule: str) -> Enrolment:
    """Return the enrolment ended because a rule does not let its coupon be issued."""
    return msgspec.structs.replace(
        enrolment, due_at=None, waiting_for=None, status=Status.ENDED, result=f"suppressed: {rule}"
    )


def _waiting(step: Step, place: int, wish: IssueCoupon, now: datetime) -> Step:
    """Return the step up to the coupon, which is asked for again: nobody can say whether there is room."""
    waiting = msgspec.structs.replace(
        step.enrolment,
        state=wish.state,
        entered_at=wish.at,
        due_at=now + ASK_AGAIN,
        waiting_for=None,
        status=Status.ACTIVE,
        result=None,
    )
    return msgspec.structs.replace(step, enrolment=waiting, effects=step.effects[:place])


class Effects:
    """Keeps steps: writes the new states, does the effects, records the facts."""

    def __init__(
        self,
        wallet: Wallet,
        tags: TagWriter,
        points: PointGiver | None = None,
        people: TaskGiver | None = None,
    ) -> None:
        """Wire the effects; `people` gives tasks to those who do them."""
        self._wallet = wallet
        self._tags = tags
        self._points = points
        self._people = people or TaskGiver()

    def begin(self, connection: Connection, enrolment: Enrolment, tags: Iterable[GivenTag]) -> None:
        """Put on the user the tags that a decision gives, in its transaction."""
        at = enrolment.entered_at
        for one in tags:
            until = None if one.expires_after is None else at + one.expires_after
            self._tags(connection, enrolment.user_id, one.tag, f"decision.{enrolment.playbook}", at, until)

    def keep(self, connection: Connection, steps: Sequence[Step], now: datetime) -> Report:
        """Keep steps of enrolments that were claimed in this transaction."""
        wished = {type(one) for step in steps for one in step.effects}
        issued = tagged = scored = used = 0
        if IssueCoupon in wished or MarkUsed in wished:
            self._wallet.line_up(connection, _issuing(steps), _uses(steps), now)
        if IssueCoupon in wished:
            steps, issued = self._issue(connection, steps, now)
        if SetTag in wished:
            steps, tagged = self._each(connection, steps, SetTag, self._set_tag, "a tag was not set")
        if GivePoints in wished:
            steps, scored = self._each(connection, steps, GivePoints, self._give, "points were not given")
        if MarkUsed in wished:
            used = self._wallet.mark_used(connection, _uses(steps), now)
        told = self._people.keep(connection, steps, now)
        queued = [
            (step.enrolment, _queued(step, one))
            for step in steps
            for one in step.effects
            if isinstance(one, _SENDING)
        ]
        if told:
            runs = {step.enrolment.id: step.enrolment for step in steps}
            queued += [(runs[one.enrolment_id], one) for one in told]
        outbox.queue(connection, [one for _, one in queued])
        repository.save_enrolments(connection, [step.enrolment for step in steps])
        repository.save_decisions(connection, [step.enrolment for step in steps if step.redrawn])
        facts = [message_fact(one, MessageState.QUEUED, run, one.queued_at) for run, one in queued]
        over = [step.enrolment for step in steps if step.enrolment.status is not Status.ACTIVE]
        facts += [ended_fact(one, now) for one in over]
        ledger.append(connection, facts, now)
        ended = sum(one.status is Status.ENDED for one in over)
        return Report(
            advanced=len(steps),
            ended=ended,
            stuck=len(over) - ended,
            issued=issued,
            used=used,
            tagged=tagged,
            scored=scored,
            tasks=sum(isinstance(one, OpenTask) for step in steps for one in step.effects),
            queued=len(queued),
        )

    def _issue(self, connection: Connection, steps: Sequence[Step], now: datetime) -> tuple[list[Step], int]:
        kept: list[Step] = []
        new: list[Coupon] = []
        stopped: list[NewFact] = []
        for step in steps:
            for place, one in enumerate(step.effects):
                if not isinstance(one, IssueCoupon) or step.plan is None:
                    continue
                offer = step.plan.offers[step.enrolment.arm.offer]
                refused = self._wallet.limits.issue(connection, step.enrolment, now)
                code = None
                if refused is None:
                    code = self._wallet.code(connection, offer, step.enrolment, one.key, now)
                    refused = None if code else stock_of(offer.id).rule
                if refused in PASSING:
                    kept.append(_waiting(step, place, one, now))
                    break
                if refused is not None:
                    stopped.append(_refusal(step.enrolment, one.key, refused, now))
                    kept.append(Step(_stopped(step.enrolment, refused), step.plan, step.effects[:place]))
                    break
                try:
                    new.append(coupon(one.key, step.enrolment, offer, one.at, step.zone, code))
                except OfferOver as error:
                    # Nothing after it is done either: a message would promise what was not given.
                    aside = stuck(step.enrolment, str(error))
                    kept.append(msgspec.structs.replace(step, enrolment=aside, effects=step.effects[:place]))
                    break
            else:
                kept.append(step)
        ledger.append(connection, stopped, now)
        return kept, self._wallet.issue(connection, new, now)

    def _each(
        self,
        connection: Connection,
        steps: Sequence[Step],
        kind: type[E],
        do: Callable[[Connection, Enrolment, E], None],
        failed: str,
    ) -> tuple[list[Step], int]:
        """Do the effects of a kind one by one; whoever's fails is set aside."""
        kept: list[Step] = []
        done = 0
        for step in steps:
            try:
                for one in step.effects:
                    if isinstance(one, kind):
                        # A savepoint: on Postgres what failed would otherwise spoil the whole transaction.
                        with connection.begin_nested():
                            do(connection, step.enrolment, one)
                        done += 1
            except Exception as error:  # noqa: BLE001 - what fails of one user must not hold up the others
                aside = stuck(step.enrolment, f"{failed}: {error}")
                kept.append(msgspec.structs.replace(step, enrolment=aside))
            else:
                kept.append(step)
        return kept, done

    def _set_tag(self, connection: Connection, enrolment: Enrolment, wish: SetTag) -> None:
        source = f"playbook.{enrolment.playbook}"
        self._tags(connection, enrolment.user_id, wish.tag, source, wish.at, wish.expires_at)

    def _give(self, connection: Connection, enrolment: Enrolment, wish: GivePoints) -> None:
        if self._points is None:
            raise FlowBroken("this service keeps no scores")
        self._points(connection, enrolment.user_id, wish.score, wish.points, wish.key, wish.at)


def _queued(step: Step, wish: SendMessage | CallWebhook) -> Queued:
    transactional = step.plan is not None and step.plan.transactional
    lane = TRANSACTIONAL if transactional else OTHER
    if isinstance(wish, CallWebhook):
        return Queued(wish.key, step.enrolment.id, wish.at, 0, None, WEBHOOK, "", wish.state, lane)
    return Queued(wish.key, step.enrolment.id, wish.at, 0, None, wish.channel, wish.content, wish.state, lane)


def message_fact(
    queued: Queued,
    state: MessageState,
    enrolment: Enrolment,
    at: datetime,
    *,
    attempt: int = 0,
    reason: str | None = None,
    told: bool = False,
    cost: Money | None = None,
) -> NewFact:
    """Return the fact that a message reached a state.

    `told`: a receipt says so; `cost` is what its provider asks for it.
    """
    arm = enrolment.arm
    label = _LABELS[state]
    body = MessageFact(
        enrolment.decision_id,
        enrolment.id,
        enrolment.playbook,
        arm.id,
        queued.channel,
        queued.content,
        attempt,
        reason,
        told,
        0 if cost is None else cost.amount,
        "" if cost is None else cost.currency,
    )
    return NewFact(Kind.MESSAGE, f"{queued.key}:{label}", label, enrolment.user_id, at, body)


_LABELS = {state: state.value for state in MessageState}


def started_fact(enrolment: Enrolment) -> NewFact:
    """Return the fact that an enrolment began."""
    return NewFact(
        Kind.ENROLMENT,
        f"{enrolment.id}:started",
        "started",
        enrolment.user_id,
        enrolment.entered_at,
        _enrolment_body(enrolment),
    )


def ended_fact(enrolment: Enrolment, now: datetime) -> NewFact:
    """Return the fact that an enrolment ended, or was set aside."""
    if enrolment.status is Status.ENDED:
        fact_id, at = f"{enrolment.id}:ended", enrolment.entered_at
    else:
        fact_id, at = f"{enrolment.id}:stuck:{enrolment.revision}", now
    return NewFact(
        Kind.ENROLMENT,
        fact_id,
        enrolment.status.value,
        enrolment.user_id,
        at,
        _enrolment_body(enrolment),
    )


def _enrolment_body(enrolment: Enrolment) -> EnrolmentFact:
    return EnrolmentFact(
        enrolment.decision_id,
        enrolment.playbook,
        enrolment.playbook_version,
        enrolment.arm.id,
        enrolment.result,
    )


def _issuing(steps: Sequence[Step]) -> list[Enrolment]:
    return [step.enrolment for step in steps if any(isinstance(one, IssueCoupon) for one in step.effects)]


def _uses(steps: Sequence[Step]) -> dict[str, datetime]:
    uses: dict[str, datetime] = {}
    for step in steps:
        for one in step.effects:
            if isinstance(one, MarkUsed):
                uses.setdefault(step.enrolment.id, one.at)
    return uses
