"""Carries out what flows want, in the transaction that keeps their new state.

Effects on rows of our own database (coupons, tags) are done at once; messages go to the outbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from delivery import repository
from delivery.coupons import Wallet, coupon
from delivery.errors import OfferOver
from delivery.models import (
    Coupon,
    Effect,
    Enrolment,
    EnrolmentFact,
    IssueCoupon,
    MarkUsed,
    MessageFact,
    MessageState,
    Report,
    SendMessage,
    SetTag,
    Status,
)
from delivery.plans import Plan
from delivery.repository import Queued
from delivery.zones import Greenwich, UserZones
from storage import ledger
from storage.ledger import Kind, NewFact


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


class Step(msgspec.Struct, frozen=True, gc=False):
    """An enrolment as it is now, the plan that brought it there, and the effects on the way."""

    enrolment: Enrolment
    plan: Plan | None
    effects: Sequence[Effect]


def stuck(enrolment: Enrolment, reason: str) -> Enrolment:
    """Return the enrolment set aside for a person; nothing wakes it any more."""
    return msgspec.structs.replace(
        enrolment, due_at=None, waiting_for=None, status=Status.STUCK, result=reason
    )


class Effects:
    """Keeps steps: writes the new states, does the effects, records the facts."""

    def __init__(self, wallet: Wallet, tags: TagWriter, zones: UserZones | None = None) -> None:
        self._wallet = wallet
        self._tags = tags
        self._zones = zones or Greenwich()

    def keep(self, connection: Connection, steps: Sequence[Step], now: datetime) -> Report:
        """Keep steps of enrolments that were claimed in this transaction."""
        steps, issued = self._issue(connection, steps, now)
        steps, tagged = self._tag(connection, steps)
        used = self._wallet.mark_used(connection, _uses(steps), now)
        sends = [(step, one) for step in steps for one in step.effects if isinstance(one, SendMessage)]
        repository.queue(
            connection, [Queued(one.key, step.enrolment.id, one.at, 0, None) for step, one in sends]
        )
        repository.save_enrolments(connection, [step.enrolment for step in steps])
        facts = [message_fact(one.key, MessageState.QUEUED, step.enrolment, one.at) for step, one in sends]
        facts += [
            _enrolment_fact(step.enrolment, now)
            for step in steps
            if step.enrolment.status is not Status.ACTIVE
        ]
        ledger.append(connection, facts, now)
        return Report(
            advanced=len(steps),
            ended=sum(step.enrolment.status is Status.ENDED for step in steps),
            stuck=sum(step.enrolment.status is Status.STUCK for step in steps),
            issued=issued,
            used=used,
            tagged=tagged,
            queued=len(sends),
        )

    def _issue(self, connection: Connection, steps: Sequence[Step], now: datetime) -> tuple[list[Step], int]:
        kept: list[Step] = []
        new: list[Coupon] = []
        for step in steps:
            for place, one in enumerate(step.effects):
                if not isinstance(one, IssueCoupon) or step.plan is None:
                    continue
                try:
                    new.append(self._coupon(one, step.enrolment, step.plan))
                except OfferOver as error:
                    # Nothing after it is done either: a message would promise what was not given.
                    kept.append(Step(stuck(step.enrolment, str(error)), step.plan, step.effects[:place]))
                    break
            else:
                kept.append(step)
        return kept, self._wallet.issue(connection, new, now)

    def _coupon(self, wish: IssueCoupon, enrolment: Enrolment, plan: Plan) -> Coupon:
        offer = plan.offers[enrolment.arm.offer]
        zone = UTC if offer.validity.end_of_day is None else self._zones.of(enrolment.user_id)
        return coupon(wish.key, enrolment, offer, wish.at, zone)

    def _tag(self, connection: Connection, steps: Sequence[Step]) -> tuple[list[Step], int]:
        kept: list[Step] = []
        tagged = 0
        for step in steps:
            wanted = [one for one in step.effects if isinstance(one, SetTag)]
            try:
                for one in wanted:
                    self._set_tag(connection, step.enrolment, one)
                    tagged += 1
            except Exception as error:  # noqa: BLE001 - one user's tag must not hold up the others
                kept.append(
                    Step(stuck(step.enrolment, f"a tag was not set: {error}"), step.plan, step.effects)
                )
            else:
                kept.append(step)
        return kept, tagged

    def _set_tag(self, connection: Connection, enrolment: Enrolment, wish: SetTag) -> None:
        # A savepoint: on Postgres a statement that failed would otherwise spoil the whole transaction.
        with connection.begin_nested():
            source = f"playbook.{enrolment.playbook}"
            self._tags(connection, enrolment.user_id, wish.tag, source, wish.at, wish.expires_at)


def message_fact(
    key: str,
    state: MessageState,
    enrolment: Enrolment,
    at: datetime,
    *,
    attempt: int = 0,
    reason: str | None = None,
) -> NewFact:
    """Return the fact that a message reached a state."""
    arm = enrolment.arm
    body = MessageFact(
        enrolment.decision_id,
        enrolment.id,
        enrolment.playbook,
        arm.id,
        arm.channel,
        arm.content,
        attempt,
        reason,
    )
    return NewFact(Kind.MESSAGE, f"{key}:{state.value}", state.value, enrolment.user_id, at, body)


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


def _enrolment_fact(enrolment: Enrolment, now: datetime) -> NewFact:
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


def _uses(steps: Sequence[Step]) -> dict[str, datetime]:
    uses: dict[str, datetime] = {}
    for step in steps:
        for one in step.effects:
            if isinstance(one, MarkUsed):
                uses.setdefault(step.enrolment.id, one.at)
    return uses
