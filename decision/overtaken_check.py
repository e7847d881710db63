"""A check of the gate: nothing happened since a message was queued that makes it pointless, or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.identity.people import People
from audiences.rules import RuleValueError
from decision.gate_playbooks import Playbooks
from delivery import event_repository
from delivery.coupons import repository as coupon_repository
from delivery.coupons.models import State
from delivery.gate import Send
from playbooks.goals import matches, parse_where
from playbooks.library.serving import PublishedPlaybook
from playbooks.windows import Ruling, Skip
from storage.ledger import Fact

# The user did what the playbook is for, after the message was queued.
GOAL_REACHED = "goal_reached"
# The decision is older than its playbook's `expires_after`.
DECISION_EXPIRED = "decision_expired"
# The coupon that the run issued expired after the message was queued, or was voided.
COUPON_OVER = "coupon_over"
# The offer ended at a fixed moment, and no coupon of it was issued.
OFFER_OVER = "offer_over"


class OvertakenCheck:
    """Looks at goals, decisions, coupons and offers. Messages that a run queued after its goal go out."""

    def __init__(self, playbooks: Playbooks, people: People) -> None:
        self._playbooks, self._people = playbooks, people

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """See `decision.gate.Check`."""
        playbooks = [self._playbooks.of(connection, send.enrolment) for send in sends]
        stopped: list[str | None] = [None] * len(sends)
        for find in (self._expired, self._reached, self._over):
            left = [at for at, rule in enumerate(stopped) if rule is None and playbooks[at] is not None]
            found = find(connection, [(sends[at], playbooks[at]) for at in left], now)  # type: ignore[misc]
            for at, rule in zip(left, found, strict=True):
                stopped[at] = rule
        return [None if rule is None else Skip(rule) for rule in stopped]

    def _expired(
        self, connection: Connection, sends: Sequence[tuple[Send, PublishedPlaybook]], now: datetime
    ) -> list[str | None]:
        lasting = [playbook.document.expires_after for _, playbook in sends]
        ids = [send.enrolment.decision_id for (send, _), after in zip(sends, lasting, strict=True) if after]
        decided = event_repository.decided_at(connection, ids) if ids else {}
        return [
            DECISION_EXPIRED
            if after is not None and now >= decided.get(send.enrolment.decision_id, now) + after
            else None
            for (send, _), after in zip(sends, lasting, strict=True)
        ]

    def _reached(
        self, connection: Connection, sends: Sequence[tuple[Send, PublishedPlaybook]], now: datetime
    ) -> list[str | None]:
        goals = {
            playbook.document.goal.event
            for _, playbook in sends
            if playbook.document.purpose != "transactional"
        }
        if not goals:
            return [None] * len(sends)
        persons = {send.enrolment.user_id: self._people.members(send.enrolment.user_id) for send, _ in sends}
        earliest = min(send.queued_at for send, _ in sends)
        profiles = sorted({one for members in persons.values() for one in members})
        by_profile: dict[str, list[Fact]] = {}
        for fact in event_repository.since(connection, profiles, goals, earliest):
            by_profile.setdefault(fact.user_id or "", []).append(fact)
        return [
            GOAL_REACHED
            if any(
                _counts(fact, send, playbook)
                for profile in persons[send.enrolment.user_id]
                for fact in by_profile.get(profile, ())
            )
            else None
            for send, playbook in sends
        ]

    def _over(
        self, connection: Connection, sends: Sequence[tuple[Send, PublishedPlaybook]], now: datetime
    ) -> list[str | None]:
        coupons = coupon_repository.ends_of(connection, [send.enrolment.id for send, _ in sends])
        return [_coupon_over(send, playbook, coupons, now) for send, playbook in sends]


def _counts(fact: Fact, send: Send, playbook: PublishedPlaybook) -> bool:
    """Whether an event is the goal of a message's playbook, and happened after the message was queued."""
    goal, arm = playbook.document.goal, send.enrolment.arm
    if playbook.document.purpose == "transactional" or fact.label != goal.event:
        return False
    if fact.occurred_at <= send.queued_at:
        return False
    if goal.where is None:
        return True
    rule = parse_where(goal.where, goal.event, {name for one in playbook.arms for name in one.attributes})
    body: EventBody = fact.decode(EventBody)
    try:
        return matches(rule, body.properties, arm)
    except RuleValueError:
        # Its properties are not of their types: such an event counts for nothing anywhere.
        return False


def _coupon_over(
    send: Send,
    playbook: PublishedPlaybook,
    coupons: Mapping[str, Sequence[tuple[str, datetime]]],
    now: datetime,
) -> str | None:
    mine = coupons.get(send.enrolment.id)
    if mine is None:
        offer = playbook.offers.get(send.enrolment.arm.offer)
        return OFFER_OVER if offer is not None and offer.validity.over(now) else None
    # What the run knew when it queued the message does not stop it: it may say that the coupon is over.
    over = [
        state == State.VOID or (state != State.USED and send.queued_at < end <= now) for state, end in mine
    ]
    return COUPON_OVER if all(over) else None
