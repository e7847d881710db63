"""Receipts on both databases: each counts once and in any order, and what follows from it holds at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel, ConsentState, Reason
from audiences.consent.service import Consents
from audiences.events import Claim, Event, EventBody
from audiences.identity.people import EveryoneAlone, PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.machines.definitions import MachinesSpec
from audiences.machines.machines import KnownMachines
from audiences.machines.service import MachineEvents
from delivery.channels.channel import AfterCrash, Receipt
from delivery.channels.kinds import Opening
from delivery.erasure import places
from delivery.errors import NotHandedOver
from delivery.gate import OpenGate
from delivery.inbox.channel import InboxChannel, InboxSettings
from delivery.inbox.service import Inbox
from delivery.models import Enrolment, Message
from delivery.receipts import repository
from delivery.receipts.following import READER, Following
from delivery.receipts.models import Answer, Became, Bounce, Texted, Told, What
from delivery.receipts.permissions import SOFT_BOUNCES, Permissions
from delivery.receipts.service import Receipts
from delivery.receipts.states import event_name
from delivery.receipts.way import Way
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, version_body
from storage import ledger, readers
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import erase
from storage.ledger import Kind

BODY = version_body()
ARM = arms_of(BODY)["milk"]
WAYS = {
    "memory": Way(Channel.EMAIL, AddressKind.EMAIL),
    "sms": Way(Channel.SMS, AddressKind.PHONE),
}
ORDERS = list(itertools.permutations(["delivered", "opened", "clicked", "replied"]))[::9]
ANN, PHONE = "ann@example.com", "+4915112345678"


class Named(MemoryChannel):
    """A provider with names of its own for messages."""

    def send(self, message: Message) -> Receipt:
        return Receipt(f"SM{super().send(message).reference}")


class Counting(OpenGate):
    """Notes whose sends were counted."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def committed(self, connection: Connection, enrolment: Enrolment, channel: str, now: datetime) -> None:
        self.counted.append(enrolment.user_id)


class Shop:
    """Delivery with receipts, and users of whom addresses are known."""

    def __init__(self, database: Database, clock: SimulatedClock) -> None:
        self.database, self.clock, self.gate = database, clock, Counting()
        identity = IdentityService(database)
        machines = KnownMachines(MachinesSpec())
        self.intake = Intake(database, machines=machines, identities=identity)
        self.machines = MachineEvents(database, self.intake, MachinesSpec)
        self.consents = Consents(database, clock, AddressHash(b"k" * 32), PersonsProfiles())
        permissions = Permissions(self.consents, identity.people, "DE")
        self.receipts = Receipts(
            database,
            clock,
            self.intake,
            identity.people,
            self.gate,
            permissions,
            lambda *_: "promotional",
            WAYS.get,
        )
        self.following = Following(database, identity.people, self.gate)

    def knows(self, user: str, **claims: str) -> None:
        """Learn addresses of a user."""
        now = self.clock.now()
        named = tuple(Claim(kind, value, verified=True) for kind, value in claims.items())
        self.intake.take(
            [Event(f"{user}-{claims}", user, "identify", {}, now, now, "identify", claims=named)]
        )

    def send(self, channel: MemoryChannel, user: str = "ann") -> str:
        """Send a message, and return its key."""
        plans, channels = MemoryPlans({1: BODY}), {"memory": channel}
        delivery = Delivery(self.database, self.clock, plans, channels, lambda *_: None, gate=self.gate)
        decision_id = f"{user}-{len(self.gate.counted)}-{self.clock.now().timestamp():.0f}"
        decision = decision_for(user, ARM, self.clock.now(), decision_id=decision_id)
        self.database.write(lambda connection: delivery.start(connection, [(decision, ARM)]))
        delivery.run_until_idle()
        return f"{decision_id}:1:1"

    def tell(self, *told: Any, channel: str = "memory") -> list[Answer]:
        return self.receipts.submit(channel, told).result()

    def became(self, *told: Any, channel: str = "memory") -> list[str]:
        answers = [one.outcome.value for one in self.tell(*told, channel=channel)]
        self.following.run(self.clock.now())
        return answers

    def state(self, key: str) -> str:
        with self.database.read() as connection:
            found = repository.held(connection, key)
        assert found is not None
        return found.state.value

    def facts(self, kind: Kind = Kind.MESSAGE) -> list[str]:
        with self.database.read() as connection:
            return sorted(fact.label for fact in ledger.read_after(connection, 0, kind=kind))

    def suppressed(self, address: str) -> list[Reason]:
        with self.database.read() as connection:
            return self.consents.suppressed(connection, AddressKind.EMAIL, address)

    def said(self, user: str) -> Sequence[Mapping[str, str]]:
        words, _ = self.consents.of(user)
        return [
            {"purpose": one.purpose, "channel": one.channel.value, "state": one.state.value} for one in words
        ]


@pytest.fixture
def shop(database: Database, clock: SimulatedClock) -> Shop:
    made = Shop(database, clock)
    made.knows("ann", email=ANN, phone=PHONE)
    return made


def told(shop: Shop, what: What, key: str = "", **fields: Any) -> Told:
    at = fields.pop("at", shop.clock.now())
    event_id = fields.pop("event_id", f"{what.value}-{key}-{fields.get('reference', '')}")
    return Told(event_id, what, at, key, **fields)


def later(shop: Shop, **by: float) -> None:
    shop.clock.move_to(shop.clock.now() + timedelta(**by))


# States


@pytest.mark.parametrize("order", ORDERS)
def test_receipts_count_once_in_any_order_and_never_go_back(shop: Shop, order: Sequence[str]) -> None:
    key = shop.send(Named())
    later(shop, hours=1)
    for what in order:
        later(shop, minutes=1)
        one = told(shop, What(what), key)
        assert shop.became(one) == ["recorded"]
        assert shop.became(one) == ["duplicate"]
    assert shop.state(key) == "replied"
    assert shop.facts() == ["clicked", "delivered", "opened", "queued", "replied", "sent"]
    names = ["email_delivered", "email_link_clicked", "email_opened", "email_replied", "identify"]
    assert shop.facts(Kind.EVENT) == names
    assert shop.gate.counted == ["ann"]


def test_a_message_is_found_by_what_its_provider_calls_it(shop: Shop) -> None:
    key = shop.send(Named())
    assert shop.became(told(shop, What.DELIVERED, reference=f"SM{key}")) == ["recorded"]
    assert shop.state(key) == "delivered"
    with shop.database.read() as connection:
        (fact,) = ledger.of_user(connection, "ann", kinds=[Kind.EVENT], limit=1)
    body: EventBody = fact.decode(EventBody)
    assert body.properties["message_id"] == key
    assert body.properties["decision_id"] == key.partition(":")[0]
    assert body.source == "receipt.memory"


def test_a_message_whose_fate_was_unknown_is_settled_and_counts_as_sent(shop: Shop) -> None:
    class Dies(BaseException):
        pass

    def die(_message: Message) -> None:
        raise Dies

    with pytest.raises(Dies):
        shop.send(MemoryChannel(after_crash=AfterCrash.UNKNOWN, after=die))
    later(shop, minutes=10)
    shop.send(MemoryChannel(after_crash=AfterCrash.UNKNOWN), "bob")
    key = next(key for key in keys(shop) if key.startswith("ann"))
    assert (shop.state(key), shop.gate.counted) == ("unknown", ["bob"])
    assert shop.became(told(shop, What.DELIVERED, key)) == ["recorded"]
    assert (shop.state(key), shop.gate.counted) == ("delivered", ["bob", "ann"])
    assert shop.facts() == ["delivered", "queued", "queued", "sent", "sent", "unknown"]


def test_what_a_provider_took_and_denied_is_not_sent_again(shop: Shop) -> None:
    def lie(_message: Message) -> None:
        raise NotHandedOver("timed out")

    channel = MemoryChannel(after=lie)
    key = shop.send(channel)
    assert (shop.state(key), shop.gate.counted) == ("queued", [])
    shop.became(told(shop, What.DELIVERED, key))
    channel.after = None
    later(shop, hours=5)
    shop.send(channel, "bob")
    assert channel.handed_over.count(key) == 1
    assert shop.state(key) == "delivered"


def test_a_receipt_that_is_faster_than_the_record_of_the_hand_over_is_not_lost(shop: Shop) -> None:
    answers: list[str] = []

    def fast(message: Message) -> None:
        if not answers:
            answers.extend(shop.became(told(shop, What.DELIVERED, message.key)))

    key = shop.send(MemoryChannel(after=fast))
    assert (answers, shop.state(key), shop.gate.counted) == (["recorded"], "delivered", ["ann"])
    assert shop.facts() == ["delivered", "queued", "sent"]


def test_what_is_about_no_message_is_kept_apart_and_tried_again(shop: Shop) -> None:
    early = told(shop, What.DELIVERED, reference="SMann-0")
    (answer,) = shop.tell(early)
    assert answer.outcome is Became.QUARANTINED
    assert answer.reason == "no message on the channel 'memory' has the reference 'SMann-0'"
    (nobody,) = shop.tell(told(shop, What.DELIVERED, event_id="x"))
    assert "neither `message_id` nor `reference`" in nobody.reason
    assert [one.event_id for one in shop.receipts.waiting("memory")] == ["delivered--SMann-0", "x"]
    key = shop.send(Named())
    shop.database.write(
        lambda connection: repository.put_aside(
            connection,
            [
                repository.Stray(
                    "memory",
                    "early",
                    shop.clock.now(),
                    "",
                    '{"type":"told","event_id":"early","what":"delivered","at":"2026-03-02T09:00:00Z",'
                    f'"reference":"SM{key}"}}',
                )
            ],
        )
    )
    assert shop.receipts.again()[Became.RECORDED] == 1
    assert shop.state(key) == "delivered"
    later(shop, days=20)
    shop.receipts.forget(shop.clock.now())
    assert shop.receipts.waiting("memory") == []


def test_somebody_elses_event_about_a_message_changes_nothing(shop: Shop) -> None:
    key = shop.send(Named())
    now = shop.clock.now() + timedelta(hours=1)
    event = Event("forwarded", "bob", "email_opened", {"message_id": key}, now, now)
    shop.intake.take([event])
    assert shop.following.run(now) == 0
    assert shop.state(key) == "sent"


def test_events_that_are_none_of_messages_are_looked_through_once(shop: Shop, database: Database) -> None:
    def position() -> int:
        with database.read() as connection:
            return readers.position_of(connection, READER)

    key = shop.send(Named())
    now = shop.clock.now() + timedelta(hours=1)
    shop.intake.take([Event(f"page-{n}", "ann", "page_viewed", {}, now, now) for n in range(3)])
    assert shop.following.run(now) == 0
    with database.read() as connection:
        assert position() == ledger.head(connection)
    shop.intake.take([Event("opened", "ann", "email_opened", {"message_id": key}, now, now)])
    shop.intake.take([Event("page-4", "ann", "page_viewed", {}, now, now)])
    assert shop.following.run(now) == 1
    assert shop.state(key) == "opened"
    with database.read() as connection:
        before = ledger.read_after(connection, position(), kind=list(Kind))
    assert [fact.kind for fact in before] == [Kind.MESSAGE], "only what it wrote itself"


# Machines


def test_what_a_machine_does_is_kept_apart_and_a_held_click_counts_once_it_is_a_persons(shop: Shop) -> None:
    key = shop.send(Named())
    later(shop, seconds=5)
    shop.became(told(shop, What.DELIVERED, key, at=shop.clock.now() - timedelta(seconds=3)))
    scanner = told(shop, What.CLICKED, key, event_id="scan", user_agent="Barracuda Sentinel (EE)")
    opted_out = told(shop, What.UNSUBSCRIBED, key, event_id="scan2", user_agent="Barracuda Sentinel (EE)")
    soon = told(shop, What.CLICKED, key, event_id="soon", link="https://example.com/a")
    assert shop.became(scanner, opted_out, soon) == ["machine", "machine", "machine"]
    assert (shop.state(key), shop.said("ann")) == ("delivered", [])
    later(shop, minutes=1)
    assert shop.machines.settle(shop.clock.now()).people == 1
    assert shop.following.run(shop.clock.now()) == 1
    assert shop.state(key) == "clicked"


# Who may be written to


def test_a_hard_bounce_and_a_complaint_suppress_the_address_a_soft_bounce_only_when_they_go_on(
    shop: Shop,
) -> None:
    keys_ = []
    for _ in range(SOFT_BOUNCES + 1):
        later(shop, days=1)
        keys_.append(shop.send(Named()))
    for number, key in enumerate(keys_[:SOFT_BOUNCES], start=1):
        later(shop, hours=1)
        assert shop.suppressed(ANN) == [], number
        shop.became(told(shop, What.BOUNCED, key, bounce=Bounce.SOFT, address=ANN))
        assert shop.state(key) == "sent"
    assert shop.suppressed(ANN) == [Reason.BOUNCED]
    shop.became(told(shop, What.COMPLAINED, keys_[-1]))
    assert shop.suppressed(ANN) == [Reason.BOUNCED, Reason.COMPLAINED]
    assert shop.state(keys_[-1]) == "complained"
    shop.became(told(shop, What.BOUNCED, keys_[0], event_id="hard", address="other@example.com"))
    assert shop.suppressed("other@example.com") == [Reason.BOUNCED]


def test_an_address_is_suppressed_although_nobody_knows_the_message(shop: Shop) -> None:
    (answer,) = shop.tell(told(shop, What.COMPLAINED, "nobody:1:0", address=ANN))
    assert (answer.outcome, shop.suppressed(ANN)) == (Became.RECORDED, [Reason.COMPLAINED])
    (answer,) = shop.tell(told(shop, What.BOUNCED, "nobody:1:0", address="no address"))
    assert answer.outcome is Became.QUARANTINED


def test_who_unsubscribes_denies_the_purpose_on_the_way_of_the_channel(shop: Shop) -> None:
    key = shop.send(Named())
    shop.became(told(shop, What.UNSUBSCRIBED, key))
    assert shop.said("ann") == [{"purpose": "promotional", "channel": "email", "state": "denied"}]
    assert (shop.state(key), shop.facts(Kind.CONSENT)) == ("unsubscribed", ["denied"])


def texted(shop: Shop, text: str, number: int = 0, sender: str = PHONE) -> Texted:
    return Texted(f"{text}{number}", sender, text, shop.clock.now())


def test_stop_ends_text_messages_for_everybody_with_the_number_and_start_takes_it_back(shop: Shop) -> None:
    denied = {"purpose": "any", "channel": "sms", "state": ConsentState.DENIED.value}
    assert shop.became(texted(shop, "Stop!"), channel="sms") == ["recorded"]
    assert shop.became(texted(shop, "Stop!"), channel="sms") == ["duplicate"]
    assert shop.said("ann") == [denied]
    assert "sms_unsubscribed" in shop.facts(Kind.EVENT)
    later(shop, days=1)
    shop.became(texted(shop, "START"), channel="sms")
    assert shop.said("ann") == [denied | {"state": "granted"}]


def test_stop_of_a_number_that_nobody_has_holds_for_whoever_has_it_next(shop: Shop) -> None:
    stranger = "+4915187654321"
    assert shop.became(texted(shop, "stop", sender=stranger), channel="sms") == ["recorded"]
    with shop.database.read() as connection:
        listed = shop.consents.suppressed(connection, AddressKind.PHONE, stranger)
    assert listed == [Reason.DO_NOT_CONTACT]
    later(shop, hours=1)
    shop.became(texted(shop, "start", sender=stranger), channel="sms")
    with shop.database.read() as connection:
        assert shop.consents.suppressed(connection, AddressKind.PHONE, stranger) == []


def test_another_text_is_an_answer_and_of_nobody_it_is_kept_apart(shop: Shop) -> None:
    assert shop.became(texted(shop, "Is it open on Sunday?"), channel="sms") == ["recorded"]
    with shop.database.read() as connection:
        (fact,) = ledger.of_user(connection, "ann", kinds=[Kind.EVENT], limit=1)
    assert fact.label == "sms_replied"
    assert fact.decode(EventBody).properties["text"] == "Is it open on Sunday?"
    strangers = shop.tell(texted(shop, "hi", sender="+4915187654321"), channel="sms")
    assert strangers[0].reason == "nobody has the number that it came from, and none was written to"
    assert shop.said("ann") == []


def keys(shop: Shop) -> list[str]:
    with shop.database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.MESSAGE, labels=["queued"])
    return [fact.id.removesuffix(":queued") for fact in facts]


def test_what_nobody_could_use_forgets_after_a_day_whom_it_was_about(shop: Shop, database: Database) -> None:
    now = shop.clock.now()
    lost = Told("b1", What.DELIVERED, now, key="gone", address="Ann@Example.com", reason="250 for ann")
    texted = Texted("t1", "+4915112345678", "my name is Ann", now)
    assert shop.became(lost, texted) == ["quarantined", "quarantined"]
    shop.receipts.forget(now + timedelta(hours=23))
    assert "Ann@Example.com" in shop.receipts.waiting("memory")[0].body
    shop.receipts.forget(now + timedelta(hours=25))
    kept = shop.receipts.waiting("memory")
    assert [one.event_id for one in kept] == ["b1", "t1"]
    for word in ("Example.com", "Ann", "for ann", "+4915112345678"):
        assert word not in f"{kept[0].body} {kept[0].reason} {kept[1].body} {kept[1].reason}"
    # What is left may still be tried again, and goes in the end.
    assert shop.receipts.again("memory")[Became.QUARANTINED] == 2
    shop.receipts.forget(now + timedelta(days=15))
    assert shop.receipts.waiting("memory") == []


def test_what_names_an_address_of_an_erased_user_goes_with_them(shop: Shop, database: Database) -> None:
    now = shop.clock.now()
    shop.became(
        Told("b1", What.DELIVERED, now, key="gone", address="Ann@Example.com"),
        Told("b2", What.DELIVERED, now, key="gone", address="bob@example.com"),
    )
    assert erase(database, places({}), ["ann"], now).places["stray_receipts"] == 1
    assert [one.event_id for one in shop.receipts.waiting("memory")] == ["b2"]


def test_a_message_that_was_read_in_the_inbox_is_opened_once(shop: Shop, database: Database) -> None:
    opening = Opening(folder=Path(), database=database, clock=shop.clock)
    channel: Any = InboxChannel(InboxSettings(), "memory", opening)
    key = shop.send(channel)
    inbox = Inbox(database, shop.clock, EveryoneAlone(), shop.receipts)
    inbox.read("ann", key)
    shop.clock.move_to(shop.clock.now() + timedelta(hours=1))
    inbox.dismiss("ann", key)
    shop.following.run(shop.clock.now())
    assert shop.state(key) == "opened"
    assert shop.facts().count("opened") == 1
    assert shop.facts(Kind.EVENT).count(event_name(WAYS["memory"].consent, What.OPENED)) == 1
