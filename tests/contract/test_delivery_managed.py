"""Channels are used as is said, over several relays, and what fails goes its next way once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from delivery.channels.channel import Address
from delivery.channels.management import Breaker, Management, Quota, Rate, repository
from delivery.channels.management.api import listing
from delivery.channels.management.standing import Phase
from delivery.errors import NotHandedOver
from delivery.gate import OpenGate, Send
from delivery.models import Message, MessageFact, MessageState, Report
from delivery.outbox import LEASE, Relay
from delivery.service import Delivery
from delivery.tables import outbox
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, once, version_body
from playbooks.money import Money
from playbooks.windows import Ruling, Skip
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind, NewFact

BODY = version_body(
    {
        "start": "send",
        "states": {
            "send": {"kind": "send", "next": "wait"},
            "wait": {"kind": "wait", "duration": "P9D", "next": "end"},
            "end": {"kind": "end", "result": "over"},
        },
    }
)
ARM = arms_of(BODY)["milk"]
PLANS = MemoryPlans({1: BODY})
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
USERS = [f"u{number:02}" for number in range(30)]


def queue(database: Database, clock: SimulatedClock, *users: str) -> None:
    delivery = Delivery(database, clock, PLANS, {}, lambda *_: None)

    def work(connection: Connection) -> None:
        for user in users:
            delivery.start(connection, [(decision_for(user, ARM, clock.now()), ARM)])

    database.write(work, rows=len(users))
    delivery.executor.advance_due()


def relay(
    database: Database,
    clock: SimulatedClock,
    channels: MemoryChannel | dict[str, Any],
    management: Management,
    *,
    holder: str = "one",
    **others: Management,
) -> Relay:
    opened = channels if isinstance(channels, dict) else {"memory": channels}
    managed = {"memory": management, **others}
    return Relay(database, clock, PLANS, opened, OpenGate(), holder=holder, management=managed)


def facts(database: Database, key: str) -> list[Fact]:
    with database.read() as connection:
        return [
            fact
            for state in MessageState
            if (fact := ledger.get(connection, Kind.MESSAGE, f"{key}:{state.value}")) is not None
        ]


def test_the_rate_holds_for_all_relays_together(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock, *USERS)
    channel = MemoryChannel()
    managed = Management(rate=Rate(messages=4))
    relays = [relay(database, clock, channel, managed, holder=f"r{number}") for number in range(3)]
    for second in range(3):
        with ThreadPoolExecutor(3) as pool:
            assert sum(pool.map(lambda one: one.run(), relays), Report()).sent == 4, second
        assert not relays[0].run()
        clock.move_to(clock.now() + SECOND)
    assert len(set(channel.handed_over)) == len(channel.handed_over) == 12


def test_a_quota_is_exact_and_gives_back_what_was_not_taken(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, *USERS)
    refused = set(USERS[:3])

    def answer(message: Message) -> None:
        if message.user_id in refused:
            raise NotHandedOver("no such number", permanent=True)

    channel = MemoryChannel(before=answer)
    managed = Management(quota=Quota(day=10, month=15, zone="Asia/Tokyo"), breaker=None)
    relays = [relay(database, clock, channel, managed, holder=f"r{number}") for number in range(2)]

    def used_up() -> Report:
        done = Report()
        while some := relays[0].run() + relays[1].run():
            done += some
        return done

    assert used_up() == Report(sent=10, failed=3)
    # In Tokyo the day ends at three in the afternoon.
    clock.move_to(clock.now().replace(hour=14, minute=59))
    assert not used_up()
    clock.move_to(clock.now() + MINUTE)
    assert used_up().sent == 5
    clock.move_to(clock.now() + timedelta(days=1))
    assert not used_up()
    with database.read() as connection:
        used = repository.used(connection, "memory", ["2026-03-02", "2026-03-03", "2026-03"])
    assert used == {"2026-03-02": 10, "2026-03-03": 5, "2026-03": 15}


def test_a_broken_channel_rests_is_probed_and_loses_nothing(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, *USERS)
    down = [True]

    def answer(_: Message) -> None:
        if down[0]:
            raise NotHandedOver("503")

    channel = MemoryChannel(before=answer)
    managed = Management(concurrency=1, breaker=Breaker(failures=5, rest=30 * SECOND))
    one = relay(database, clock, channel, managed)
    first = one.run()
    assert 5 <= first.retried <= 16
    with database.read() as connection:
        state = repository.state_of(connection, "memory")
    assert state.phase(clock.now()) is Phase.OPEN
    assert not one.run()
    for _ in range(3):
        clock.move_to(clock.now() + 30 * SECOND)
        assert one.run() == Report(retried=1)
    down[0] = False
    clock.move_to(clock.now() + 30 * SECOND)
    sent = 0
    for _ in range(40):
        sent += one.run().sent
        clock.move_to(clock.now() + MINUTE)
    assert sent == len(USERS)
    assert len(channel.handed_over) == len(set(channel.handed_over)) == len(USERS)
    with database.read() as connection:
        counted = repository.counts(connection, clock.now() - timedelta(hours=2))["memory"]
    assert counted["taken"] == len(USERS)
    assert counted["failed"] == first.retried + 3


def test_a_busy_provider_is_no_attempt_however_often(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock, *USERS[:6])
    taken: list[str] = []

    def two_a_second(message: Message) -> None:
        if len(taken) % 2 == 0 and taken and taken[-1] != "busy":
            taken.append("busy")
            raise NotHandedOver("429", busy=True, after=10 * SECOND)
        if taken and taken[-1] == "busy":
            taken.pop()
        taken.append(message.key)

    channel = MemoryChannel(before=two_a_second)
    one = relay(database, clock, channel, Management(concurrency=1))
    sent = 0
    for _ in range(20):
        sent += one.run().sent
        clock.move_to(clock.now() + 10 * SECOND)
    assert sent == 6
    bodies = [fact.decode(MessageFact) for user in USERS[:6] for fact in facts(database, f"{user}:1:0")]
    assert {body.attempt for body in bodies} == {0, 1}


def test_what_a_provider_refuses_goes_its_next_way_and_never_both(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, "ann", "bob", "eve")

    def answer(message: Message) -> None:
        if message.user_id == "ann":
            raise NotHandedOver("no such mailbox", permanent=True)
        if message.user_id == "eve":
            raise NotHandedOver("perhaps", permanent=True, perhaps=True)

    mail, text = MemoryChannel(before=answer), MemoryChannel()
    managed = Management(then=["sms"], cost=Money(2, "EUR"))
    sms = Management(then=["memory"], cost=Money(7, "EUR"))
    one = relay(database, clock, {"memory": mail, "sms": text}, managed, sms=sms)
    done = one.run() + one.run()
    assert done == Report(sent=2, failed=2, queued=1)
    assert mail.handed_over == ["bob:1:0"]
    assert text.handed_over == ["ann:1:0~sms"]
    failed, again, sent = (
        fact(database, "ann:1:0", "failed"),
        fact(database, "ann:1:0~sms", "queued"),
        fact(database, "ann:1:0~sms", "sent"),
    )
    assert failed.reason == "no such mailbox"
    assert (again.channel, again.reason) == ("sms", "instead of memory: no such mailbox")
    assert (sent.cost, sent.currency) == (7, "EUR")
    assert fact(database, "bob:1:0", "sent").cost == 2


def test_the_way_is_that_of_the_first_channel_and_has_an_end(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, "ann")

    def refuse(_: Message) -> None:
        raise NotHandedOver("no", permanent=True)

    closed = {name: MemoryChannel(before=refuse) for name in ("memory", "sms", "push")}
    managed = Management(then=["sms", "gone", "push"])
    one = relay(database, clock, closed, managed, sms=Management(then=["memory"]), push=Management())
    done = Report()
    while some := one.run():
        done += some
    assert done == Report(failed=3, queued=2)
    with database.read() as connection:
        keys = [one.id for one in ledger.of_user(connection, "ann", kinds=[Kind.MESSAGE])]
    assert {key for key in keys if key.endswith(":failed")} == {
        "ann:1:0:failed",
        "ann:1:0~sms:failed",
        "ann:1:0~sms~push:failed",
    }


def test_what_an_attempt_that_was_never_recorded_may_have_brought_goes_no_other_way(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, "ann")
    mail, text = MemoryChannel(after=once(SystemExit())), MemoryChannel()
    channels = {"memory": mail, "sms": text}
    one = relay(database, clock, channels, Management(then=["sms"]))
    with pytest.raises(SystemExit):
        one.run()
    clock.move_to(clock.now() + LEASE)
    mail.before = once(NotHandedOver("no such mailbox", permanent=True))
    assert one.run() + one.run() == Report(failed=1)
    assert (mail.handed_over, text.handed_over) == (["ann:1:0"], [])


def test_a_bounce_that_is_told_later_goes_its_next_way_once(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, "ann", "bob")
    mail, text = MemoryChannel(), MemoryChannel()
    channels = {"memory": mail, "sms": text}
    one = relay(database, clock, channels, Management(then=["sms"]))
    assert one.run().sent == 2
    clock.move_to(clock.now() + MINUTE)
    tell(database, clock, "ann:1:0", "bounced")
    # Bob's bounce comes after he answered: it arrived all the same.
    tell(database, clock, "bob:1:0", "bounced", settled="replied")
    assert one.run() + one.run() == Report(sent=1, queued=1)
    assert text.handed_over == ["ann:1:0~sms"]
    assert not relay(database, clock, channels, Management(then=["sms"]), holder="two").run()


def test_a_channel_that_stays_broken_gives_what_was_never_tried_to_the_next(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, *USERS)

    def fail(_: Message) -> None:
        raise NotHandedOver("503")

    mail, text = MemoryChannel(before=fail), MemoryChannel()
    breaker = Breaker(failures=3, rest=20 * MINUTE, then_after=10 * MINUTE)
    managed = Management(concurrency=1, breaker=breaker, then=["sms"])
    one = relay(database, clock, {"memory": mail, "sms": text}, managed, sms=Management())
    tried = one.run().retried
    clock.move_to(clock.now() + 9 * MINUTE)
    assert not one.run()
    clock.move_to(clock.now() + MINUTE)
    done = Report()
    while some := one.run():
        done += some
    left = len(USERS) - tried
    assert done == Report(sent=left, failed=left, queued=left)
    assert len(set(text.handed_over)) == len(text.handed_over) == left
    reason = str(fact(database, f"{USERS[-1]}:1:0", "failed").reason)
    assert reason.startswith("the channel is broken since 2026-03-02")
    assert reason.endswith("503")


class Choosy(OpenGate):
    """Stops messages on channels under rules, and those of some users for good."""

    def __init__(self, stops: dict[str, str], lost: str = "") -> None:
        self.stops, self.lost = stops, lost

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> list[Ruling]:
        return [self._rule(one) for one in sends]

    def _rule(self, one: Send) -> Ruling:
        if one.enrolment.user_id == self.lost:
            return Skip("goal_reached")
        rule = self.stops.get(one.channel)
        return None if rule is None else Skip(rule, elsewhere=True)


def test_a_preferred_channel_that_is_not_allowed_gives_way_to_the_next_that_is(
    database: Database, clock: SimulatedClock
) -> None:
    send = {"kind": "send", "channel": "preferred", "among": ["memory", "sms", "push"], "next": "end"}
    end = {"kind": "end", "result": "over"}
    plans = MemoryPlans({1: version_body({"start": "send", "states": {"send": send, "end": end}})})
    opened = {name: MemoryChannel() for name in ("memory", "sms", "push")}
    opened["push"] = MemoryChannel(address=Address.DEVICE)
    gate = Choosy({"memory": "opted_out", "sms": "suppressed.bounced"}, lost="bob")
    delivery = Delivery(database, clock, plans, opened, lambda *_: None, gate=gate)
    for user in ("ann", "bob"):
        decided = decision_for(user, ARM, clock.now())
        database.write(lambda c, decided=decided: delivery.start(c, [(decided, ARM)]))  # type: ignore[misc]
    # Nobody has a device: what can't be delivered goes on too, to the one that is left, and is stopped there.
    done = delivery.run_until_idle()
    assert (done.suppressed, done.failed, done.sent) == (3, 1, 0)
    assert [fact.label for fact in facts(database, "ann:1:0")] == ["queued"]
    (queued, failed) = facts(database, "ann:1:0~push")
    assert queued.decode(MessageFact).reason == "instead of memory: opted_out"
    assert failed.label == "failed"
    with database.read() as connection:
        told = [one.label for one in ledger.latest(connection, Kind.SUPPRESSION, 9)]
    # What is stopped whatever the channel is stopped once, and so is what no channel may take.
    assert sorted(told) == ["goal_reached", "opted_out", "suppressed.bounced"]
    gone_on = facts(database, "ann:1:0~push~sms")[0].decode(MessageFact)
    assert str(gone_on.reason).startswith("instead of push:")
    gate.stops["push"] = "less_of_this"
    decided = decision_for("cem", ARM, clock.now())
    database.write(lambda c: delivery.start(c, [(decided, ARM)]))
    assert delivery.run_until_idle().suppressed == 1
    assert facts(database, "cem:1:0~push") == facts(database, "cem:1:0~sms") == []
    del gate.stops["memory"]
    opened["memory"].before = lambda _: (_ for _ in ()).throw(NotHandedOver("no", permanent=True))
    del gate.stops["sms"]
    decided = decision_for("dan", ARM, clock.now())
    database.write(lambda c: delivery.start(c, [(decided, ARM)]))
    assert delivery.run_until_idle().sent == 1
    assert [one.user_id for one in opened["sms"].messages.values()] == ["dan"]


def tell(database: Database, clock: SimulatedClock, key: str, label: str, *, settled: str = "") -> None:
    """Record what a receipt says of a message."""
    body = msgspec.structs.replace(fact(database, key, "sent"), told=True)
    new = NewFact(Kind.MESSAGE, f"{key}:{label}", label, key.partition(":")[0], clock.now(), body)

    def work(connection: Connection) -> None:
        ledger.append(connection, [new], clock.now())
        connection.execute(outbox.update().where(outbox.c.key == key).values(state=settled or label))

    database.write(work)


def fact(database: Database, key: str, state: str) -> MessageFact:
    with database.read() as connection:
        found = ledger.get(connection, Kind.MESSAGE, f"{key}:{state}")
    assert found is not None, (key, state)
    told: MessageFact = found.decode(MessageFact)
    return told


def test_how_a_channel_is_doing_is_told(database: Database, clock: SimulatedClock) -> None:
    managed = {
        "memory": Management(
            rate=Rate(messages=2),
            quota=Quota(day=5, zone="Europe/Berlin"),
            then=["sms"],
            cost=Money(7, "EUR"),
        )
    }
    kinds = {"memory": "memory"}
    (empty,) = listing(database, clock, kinds, managed)
    assert (empty["state"], empty["waiting"], empty["oldest_at"]) == ("open", 0, None)
    assert empty["minutes"] == {"of": 15, "taken": 0, "refused": 0, "failed": 0, "busy": 0, "success": None}
    queued_at = clock.now()
    queue(database, clock, *USERS[:6])
    clock.move_to(queued_at + MINUTE)
    assert relay(database, clock, MemoryChannel(), managed["memory"]).run().sent == 2
    (one,) = listing(database, clock, kinds, managed)
    assert (one["name"], one["kind"], one["state"], one["waiting"]) == ("memory", "memory", "open", 4)
    assert one["oldest_at"] == queued_at.isoformat().replace("+00:00", "Z")
    assert one["rate"] == {"messages": 2, "per": "second", "tokens": 0}
    assert one["breaker"]["phase"] == "closed"
    assert one["minutes"]["taken"] == 2
    assert one["minutes"]["success"] == 1.0
    assert (one["quota"]["day"]["used"], one["quota"]["day"]["left"]) == (2, 3)
    assert (one["then"], one["cost"]) == (["sms"], "0.07 EUR")
    for _ in range(3):
        clock.move_to(clock.now() + SECOND)
        relay(database, clock, MemoryChannel(), managed["memory"]).run()
    assert listing(database, clock, kinds, managed)[0]["state"] == "exhausted"
