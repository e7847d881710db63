"""Self-protection on both databases: outcomes are counted once, and what is surely past a threshold stops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from audiences.consent.models import Channel, ConsentBody
from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone
from delivery.models import MessageFact
from delivery.protecting import Protecting
from playbooks.controls import Scope
from playbooks.controls.service import ControlService, Targets
from playbooks.protection import Protection
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact

MINUTE = timedelta(minutes=1)


@pytest.fixture
def controls(database: Database, clock: SimulatedClock) -> ControlService:
    scopes = (Scope.PLAYBOOK, Scope.CHANNEL, Scope.USER)
    return ControlService(database, clock, Targets(dict.fromkeys(scopes, lambda *_: None)))


def protecting(database: Database, controls: ControlService, **said: Any) -> Protecting:
    return Protecting(database, EveryoneAlone(), controls, Protection.model_validate({"sample": 20, **said}))


def record(database: Database, facts: Sequence[NewFact], now: datetime) -> None:
    database.write(lambda connection: ledger.append(connection, facts, now), rows=len(facts))


def messages(label: str, playbook: str, channel: str, users: range, at: datetime) -> list[NewFact]:
    return [
        NewFact(
            Kind.MESSAGE,
            f"{playbook}:{channel}:{number}:{label}:{at}",
            label,
            f"u{number}",
            at,
            MessageFact("d", "e", playbook, f"{playbook}/arm", channel, "hello"),
        )
        for number in users
    ]


def denials(users: range, at: datetime) -> list[NewFact]:
    body = ConsentBody("promotional", Channel.ANY, "preference_page")
    return [NewFact(Kind.CONSENT, f"u{one}:{at}", "denied", f"u{one}", at, body) for one in users]


def test_opt_outs_count_for_the_last_message_and_its_channel(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    watch, now = protecting(database, controls), clock.now()
    record(database, messages("sent", "good", "sms", range(100), now), now)
    record(database, messages("sent", "bad", "email", range(100), now + MINUTE), now)
    record(database, denials(range(30), now + 2 * MINUTE), now)
    paused = watch.run(now + 3 * MINUTE)
    assert [(one.scope, one.target) for one in paused] == [(Scope.PLAYBOOK, "bad"), (Scope.CHANNEL, "email")]
    assert "opt-outs: 30 of 100" in paused[0].why
    # Stopped already, and counted once.
    assert watch.run(now + 4 * MINUTE) == []


def test_what_a_person_resumed_is_counted_anew(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    watch, now = protecting(database, controls), clock.now()
    record(database, messages("failed", "bad", "sms", range(60), now), now)
    assert len(watch.run(now + MINUTE)) == 2
    clock.move_to(now + 10 * MINUTE)
    for scope, target in ((Scope.PLAYBOOK, "bad"), (Scope.CHANNEL, "sms")):
        controls.resume(scope, target, by="ops", why="the provider works again")
    assert watch.run(clock.now()) == []
    record(database, messages("failed", "bad", "sms", range(60, 120), clock.now() + MINUTE), clock.now())
    assert len(watch.run(clock.now() + 2 * MINUTE)) == 2


def test_what_is_older_than_the_window_or_nobodys_does_not_count(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    watch, now = protecting(database, controls, window="PT1H"), clock.now()
    record(database, messages("failed", "bad", "sms", range(60), now), now)
    assert watch.run(now + timedelta(hours=2)) == []
    # Complaints of people who were sent nothing lately are nobody's fault here.
    complaint = [
        NewFact(Kind.EVENT, f"c{number}", "complained", f"u{number}", now, EventBody({}))
        for number in range(60)
    ]
    record(database, complaint, now)
    assert watch.run(now + timedelta(hours=2, minutes=1)) == []


def test_what_receipts_tell_counts_for_its_message_and_once(
    database: Database, clock: SimulatedClock, controls: ControlService
) -> None:
    watch, now = protecting(database, controls, complaints=0.1, reach=None), clock.now()
    record(database, messages("sent", "returned", "email", range(100), now), now)
    record(database, messages("bounced", "returned", "email", range(30), now), now)
    told = [
        structs.replace(one, id=f"{one.id}:told", body=structs.replace(one.body, told=True))
        for one in messages("failed", "returned", "email", range(30, 50), now)
    ]
    record(database, told, now)
    # A complaint by receipt is a state and an event; one by a backend is an event alone.
    record(database, messages("sent", "loud", "sms", range(100), now + MINUTE), now)
    record(database, messages("complained", "loud", "sms", range(8), now + 2 * MINUTE), now)
    body = EventBody({"message_id": "m"}, source="receipt.sms")
    events = [
        NewFact(Kind.EVENT, f"c{one}", "email_complained", f"u{one}", now + 2 * MINUTE, body)
        for one in range(8)
    ]
    record(database, events, now)
    paused = watch.run(now + 3 * MINUTE)
    assert [one.target for one in paused] == ["returned", "email"]
    assert "not taken by a provider, or returned: 50 of 100" in paused[0].why
