"""The relay on both databases: every message handed over, with one key, recorded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from delivery.channels.channel import Address, AfterCrash, Channel, Receipt
from delivery.channels.mailbox import Mailbox
from delivery.errors import NoAddress, NotHandedOver
from delivery.gate import OpenGate, Send, SendGate
from delivery.handing_over import Wanted
from delivery.models import Enrolment, Message, MessageFact, Report, SuppressionFact
from delivery.outbox import Relay
from delivery.retry import Retry
from delivery.service import Delivery
from delivery.testing import MemoryChannel, MemoryPlans, arms_of, decision_for, once, version_body
from playbooks.windows import Hold, Ruling, Skip
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind

BODY = version_body()
ARM = arms_of(BODY)["milk"]
PLANS = MemoryPlans({1: BODY})
LEASE = timedelta(minutes=5)
ANN = "ann:1:1"


class Dies(BaseException):
    """The process is gone: nothing after this line runs."""


class Gate:
    """Stops users by one rule, holds others for a time; notes who was asked about and what was committed."""

    def __init__(self, stopped: Sequence[str] = ()) -> None:
        self.stopped = set(stopped)
        self.until: dict[str, datetime] = {}
        self.asked: list[str] = []
        self.committed_for: list[str] = []

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        self.asked += [send.enrolment.user_id for send in sends]
        return [self._rule(send.enrolment.user_id, now) for send in sends]

    def _rule(self, user: str, now: datetime) -> Ruling:
        if user in self.stopped:
            return Skip("cap.coupons.monthly")
        until = self.until.get(user)
        return Hold(until, "window.day") if until is not None and now < until else None

    def committed(self, connection: Connection, enrolment: Enrolment, channel: str, now: datetime) -> None:
        self.committed_for.append(enrolment.user_id)


def queue(database: Database, clock: SimulatedClock, users: Sequence[str] = ("ann",)) -> None:
    """Bring enrolments of these users to where their message waits in the outbox."""
    delivery = Delivery(database, clock, PLANS, {}, lambda *_: None)

    def work(connection: Connection) -> None:
        for user in users:
            delivery.start(connection, [(decision_for(user, ARM, clock.now()), ARM)])

    database.write(work, rows=len(users))
    delivery.executor.advance_due()


def relay(
    database: Database,
    clock: SimulatedClock,
    channel: Channel,
    *,
    gate: SendGate | None = None,
    holder: str = "one",
    batch: int = 500,
    wanted: Wanted | None = None,
) -> Relay:
    return Relay(
        database,
        clock,
        PLANS,
        {"memory": channel},
        gate or OpenGate(),
        holder=holder,
        batch=batch,
        lease=LEASE,
        wanted=wanted,
    )


def messages(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return ledger.counts(connection).get(Kind.MESSAGE, {})


def fact(database: Database, state: str, key: str = ANN) -> Fact:
    with database.read() as connection:
        found = ledger.get(connection, Kind.MESSAGE, f"{key}:{state}")
    assert found is not None
    return found


def test_a_message_is_handed_over_and_its_states_are_facts(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock)
    queued_at = clock.now()
    clock.move_to(queued_at + timedelta(minutes=1))
    channel, gate = MemoryChannel(), Gate()
    assert relay(database, clock, channel, gate=gate).run() == Report(sent=1)
    assert channel.messages == {
        ANN: Message(ANN, "ann", "10 % off milk for you", "Hello ann: 10 % off milk", queued_at)
    }
    assert messages(database) == {"queued": 1, "sent": 1}
    assert fact(database, "queued").occurred_at == queued_at
    sent = fact(database, "sent")
    assert sent.occurred_at == clock.now()
    assert sent.decode(MessageFact) == MessageFact(
        "ann", "ann", "coupons", "coupons/milk", "memory", "hello", attempt=1
    )
    assert gate.committed_for == ["ann"]
    assert not relay(database, clock, channel).run()


def test_a_mailbox_delivers_at_once(database: Database, clock: SimulatedClock, tmp_path: Path) -> None:
    queue(database, clock)
    assert relay(database, clock, Mailbox(tmp_path)).run() == Report(sent=1, delivered=1)
    assert messages(database) == {"queued": 1, "sent": 1, "delivered": 1}


def test_a_crash_between_hand_over_and_record_repeats_with_the_same_key(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    queue(database, clock)
    mailbox = Mailbox(tmp_path)

    class Crashing(Mailbox):
        def send(self, message: Message) -> Receipt:
            super().send(message)
            raise Dies

    with pytest.raises(Dies):
        relay(database, clock, Crashing(tmp_path)).run()
    assert messages(database) == {"queued": 1}
    # The lease of the dead relay still runs.
    assert not relay(database, clock, mailbox, holder="two").run()
    clock.move_to(clock.now() + LEASE)
    assert relay(database, clock, mailbox, holder="two").run() == Report(sent=1, delivered=1)
    assert [path.name for path in tmp_path.rglob("*.eml")] == ["ann%3A1%3A1.eml"]
    assert messages(database) == {"queued": 1, "sent": 1, "delivered": 1}
    assert fact(database, "sent").decode(MessageFact).attempt == 2


def test_a_process_that_comes_back_takes_its_own_leases_at_once(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock)
    with pytest.raises(Dies):
        relay(database, clock, MemoryChannel(after=once(Dies()))).run()
    channel = MemoryChannel()
    assert relay(database, clock, channel, holder="two").take_back() == 0
    assert not relay(database, clock, channel, holder="two").run()
    back = relay(database, clock, channel)
    assert back.take_back() == 1
    assert back.run() == Report(sent=1)
    assert back.take_back() == 0


def test_a_channel_that_must_not_repeat_marks_the_message_unknown(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock)
    channel = MemoryChannel(after_crash=AfterCrash.UNKNOWN, after=once(Dies()))
    with pytest.raises(Dies):
        relay(database, clock, channel).run()
    clock.move_to(clock.now() + LEASE)
    assert relay(database, clock, channel).run() == Report(unknown=1)
    assert channel.handed_over == [ANN]
    assert messages(database) == {"queued": 1, "unknown": 1}
    clock.move_to(clock.now() + timedelta(days=9))
    assert not relay(database, clock, channel).run()


def test_what_a_rule_stops_after_a_crash_is_unknown_for_the_user_may_have_it(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, ["ann", "bob"])
    channel = MemoryChannel(after=once(Dies()))
    with pytest.raises(Dies):
        relay(database, clock, channel, batch=1).run()
    clock.move_to(clock.now() + LEASE)
    gate = Gate(stopped=["ann", "bob"])
    assert relay(database, clock, channel, gate=gate).run() == Report(unknown=1, suppressed=1)
    assert channel.handed_over == [ANN]
    assert messages(database) == {"queued": 2, "unknown": 1}
    said = fact(database, "unknown").decode(MessageFact)
    assert said.attempt == 1
    assert said.reason == (
        "no record of what became of attempt 1, and cap.coupons.monthly stops a repeat; "
        "a receipt of the provider settles it"
    )
    with database.read() as connection:
        assert ledger.get(connection, Kind.SUPPRESSION, ANN) is None
        assert ledger.get(connection, Kind.SUPPRESSION, "bob:1:1") is not None
    assert gate.committed_for == []


def test_a_message_that_kills_every_process_is_given_up(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock)
    retry = Retry(attempts=2)
    for _ in range(2):
        with pytest.raises(Dies):
            relay(database, clock, MemoryChannel(retry=retry, before=once(Dies()))).run()
        clock.move_to(clock.now() + LEASE)
    assert relay(database, clock, MemoryChannel(retry=retry)).run() == Report(failed=1)
    assert "no record" in str(fact(database, "failed").decode(MessageFact).reason)


def test_a_relay_that_was_overtaken_records_nothing(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock)
    other = relay(database, clock, MemoryChannel(), holder="two")
    gate = Gate()

    def outlive_the_lease(_: Message) -> None:
        clock.move_to(clock.now() + LEASE)
        assert other.run() == Report(sent=1)

    slow = MemoryChannel(after=outlive_the_lease)
    assert relay(database, clock, slow, gate=gate).run() == Report()
    assert messages(database) == {"queued": 1, "sent": 1}
    assert gate.committed_for == []


def test_what_a_lease_no_longer_covers_is_not_handed_over(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock, ["ann", "bob"])
    slow = MemoryChannel(after=lambda _: clock.move_to(clock.now() + LEASE))
    first = relay(database, clock, slow, batch=2)
    first.run()
    assert sorted(set(slow.handed_over)) == [ANN, "bob:1:1"]
    assert messages(database) == {"queued": 2, "sent": 2}


def test_a_gate_is_asked_in_the_order_of_users_whatever_is_queued_first(
    database: Database, clock: SimulatedClock
) -> None:
    for user in ("eve", "ann", "bob"):
        queue(database, clock, [user])
        clock.move_to(clock.now() + timedelta(seconds=1))
    gate = Gate()
    assert relay(database, clock, MemoryChannel(), gate=gate).run() == Report(sent=3)
    assert gate.asked == ["ann", "bob", "eve"]


def test_two_relays_never_hold_one_message(database: Database, clock: SimulatedClock) -> None:
    users = [f"u{number:03}" for number in range(120)]
    queue(database, clock, users)
    channel = MemoryChannel()
    relays = [relay(database, clock, channel, holder=f"r{number}", batch=7) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda one: one.run(), relays))
    reports.append(relays[0].run())
    assert sum(reports, Report()) == Report(sent=120)
    assert len(channel.handed_over) == len(set(channel.handed_over)) == 120


def test_a_failed_attempt_waits_longer_each_time_and_the_last_one_is_final(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock)
    retry = Retry(attempts=3, first=timedelta(minutes=1), longest=timedelta(hours=1))

    def refuse(_: Message) -> None:
        raise NotHandedOver("the provider is out of order")

    failing = relay(database, clock, MemoryChannel(retry=retry, before=refuse))
    for attempt in (1, 2):
        assert failing.run() == Report(retried=1)
        assert not failing.run()
        delay = retry.delay(ANN, attempt)
        assert delay is not None
        clock.move_to(clock.now() + delay - timedelta(microseconds=1))
        assert not failing.run()
        clock.move_to(clock.now() + timedelta(microseconds=1))
    assert failing.run() == Report(failed=1)
    assert messages(database) == {"queued": 1, "failed": 1}
    given_up = fact(database, "failed").decode(MessageFact)
    assert (given_up.attempt, given_up.reason) == (3, "the provider is out of order")


def test_the_provider_may_ask_for_more_time_or_refuse_for_good(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, ["ann", "bob", "eve"])

    def answer(message: Message) -> None:
        if message.user_id == "ann":
            raise NotHandedOver("no such address", permanent=True)
        if message.user_id == "bob":
            raise NotHandedOver("come back tomorrow", after=timedelta(days=1))
        raise KeyError("a fault of the channel")

    channel = MemoryChannel(before=answer)
    assert relay(database, clock, channel).run() == Report(failed=1, retried=2)
    channel.before = None
    clock.move_to(clock.now() + timedelta(hours=2))
    assert relay(database, clock, channel).run() == Report(sent=1)
    clock.move_to(clock.now() + timedelta(hours=22))
    assert relay(database, clock, channel).run() == Report(sent=1)
    assert channel.handed_over == ["eve:1:1", "bob:1:1"]


def test_one_users_template_fails_alone(database: Database, clock: SimulatedClock) -> None:
    template = "{% if user_id == 'bob' %}{{ offer.price }}{% endif %}Hello"
    plans = MemoryPlans({1: version_body(body=template)})
    queue(database, clock, ["ann", "bob", "eve"])
    channel = MemoryChannel()
    one = Relay(database, clock, plans, {"memory": channel}, OpenGate(), holder="one")
    assert one.run() == Report(sent=2, failed=1)
    assert sorted(message.user_id for message in channel.messages.values()) == ["ann", "eve"]
    assert "price" in str(fact(database, "failed", "bob:1:1").decode(MessageFact).reason)


def test_an_unknown_channel_or_version_fails_with_the_reason(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, ["ann"])
    assert Relay(database, clock, PLANS, {}, OpenGate(), holder="one").run() == Report(failed=1)
    assert "no channel 'memory'" in str(fact(database, "failed").decode(MessageFact).reason)
    queue(database, clock, ["bob"])
    lost = Relay(database, clock, MemoryPlans({}), {"memory": MemoryChannel()}, OpenGate(), holder="one")
    assert lost.run() == Report(failed=1)
    assert "no version 1" in str(fact(database, "failed", "bob:1:1").decode(MessageFact).reason)


def test_a_send_that_a_rule_stops_is_a_suppression_and_nothing_else(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, ["ann", "bob"])
    channel, gate = MemoryChannel(), Gate(stopped=["ann"])
    assert relay(database, clock, channel, gate=gate).run() == Report(sent=1, suppressed=1)
    assert channel.handed_over == ["bob:1:1"]
    assert gate.committed_for == ["bob"]
    with database.read() as connection:
        assert ledger.counts(connection)[Kind.SUPPRESSION] == {"cap.coupons.monthly": 1}
        stopped = ledger.get(connection, Kind.SUPPRESSION, ANN)
    assert stopped is not None
    assert stopped.decode(SuppressionFact) == SuppressionFact(
        "ann", "ann", "coupons", "coupons/milk", "memory", ANN
    )
    assert messages(database) == {"queued": 2, "sent": 1}
    # The flow goes on: the enrolment still waits, and ends by its timeout.
    clock.move_to(clock.now() + timedelta(days=14))
    delivery = Delivery(database, clock, PLANS, {"memory": channel}, lambda *_: None, gate=gate)
    assert delivery.run_until_idle().ended == 2
    assert channel.handed_over == ["bob:1:1"]


def test_a_send_that_waits_for_its_window_goes_out_then_and_holds_up_nobody(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock, ["ann", "bob", "eve"])
    channel, gate = MemoryChannel(), Gate()
    gate.until = {"ann": clock.now() + timedelta(hours=9), "eve": clock.now() + timedelta(hours=11)}
    one = relay(database, clock, channel, gate=gate)
    # With batches of one: those who wait are claimed first, and not again before their time.
    assert one.run() == Report(sent=1, held=2)
    assert channel.handed_over == ["bob:1:1"]
    asked = len(gate.asked)
    assert not one.run()
    assert len(gate.asked) == asked
    clock.move_to(clock.now() + timedelta(hours=10))
    assert one.run() == Report(sent=1)
    clock.move_to(clock.now() + timedelta(hours=1))
    assert one.run() == Report(sent=1)
    assert channel.handed_over == ["bob:1:1", "ann:1:1", "eve:1:1"]
    # Waiting is no attempt.
    assert [fact(database, "sent", f"{user}:1:1").decode(MessageFact).attempt for user in ("ann", "eve")] == [
        1,
        1,
    ]


def test_a_message_that_may_have_gone_out_and_then_waits_is_not_called_suppressed(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock)
    channel, gate = MemoryChannel(before=once(Dies())), Gate()
    with pytest.raises(Dies):
        relay(database, clock, channel, gate=gate).run()
    clock.move_to(clock.now() + LEASE)
    gate.until = {"ann": clock.now() + timedelta(hours=9)}
    assert relay(database, clock, channel, gate=gate).run() == Report(held=1)
    clock.move_to(clock.now() + timedelta(hours=9))
    gate.stopped = {"ann"}
    assert relay(database, clock, channel, gate=gate).run() == Report(unknown=1)


@pytest.mark.parametrize("again", [NotHandedOver("no room"), NotHandedOver("no answer", perhaps=True)])
def test_an_attempt_of_which_nothing_was_heard_is_not_forgotten_for_one_that_failed(
    database: Database, clock: SimulatedClock, again: NotHandedOver
) -> None:
    queue(database, clock, ["ann", "bob"])
    with pytest.raises(Dies):
        relay(database, clock, MemoryChannel(after=once(Dies())), batch=1).run()
    clock.move_to(clock.now() + LEASE)
    # Ann's second attempt fails and Bob's first one.
    failing = MemoryChannel(before=fails(again))
    assert relay(database, clock, failing).run() == Report(retried=2)
    clock.move_to(clock.now() + timedelta(hours=1))
    gate = Gate(stopped=["ann", "bob"])
    unknown = 2 if again.perhaps else 1
    stopped = Report(unknown=unknown, suppressed=2 - unknown)
    assert relay(database, clock, MemoryChannel(), gate=gate).run() == stopped
    assert fact(database, "unknown").decode(MessageFact).attempt == 2


def fails(error: Exception) -> Callable[[Message], None]:
    """Return a `before` that always raises."""

    def fail(_message: Message) -> None:
        raise error

    return fail


class Phones:
    """Ann has a phone; notes of how many users it was asked."""

    def __init__(self) -> None:
        self.known = {"ann": "+4915112345678"}
        self.asked: list[int] = []

    def of(self, user_id: str, address: Address) -> str:
        found = self.of_many([user_id], address)
        if user_id not in found:
            raise NoAddress("the user has no phone number")
        return found[user_id]

    def of_many(self, user_ids: Sequence[str], address: Address) -> dict[str, str]:
        assert address is Address.PHONE
        self.asked.append(len(user_ids))
        return {user: self.known[user] for user in user_ids if user in self.known}


def test_who_can_not_be_reached_fails_alone(database: Database, clock: SimulatedClock) -> None:
    queue(database, clock, ["ann", "bob"])
    channel = MemoryChannel(address=Address.PHONE)
    one = Relay(database, clock, PLANS, {"memory": channel}, OpenGate(), holder="one", addresses=Phones())
    assert one.run() == Report(sent=1, failed=1)
    assert [message.address for message in channel.messages.values()] == ["+4915112345678"]
    assert fact(database, "failed", "bob:1:1").decode(MessageFact).reason == "the user has no phone number"


def test_addresses_are_asked_for_together_and_anew_of_whoever_waited(
    database: Database, clock: SimulatedClock
) -> None:
    phones = Phones()
    phones.known |= {"bob": "+4915112345679", "eve": "+4915112345670"}
    queue(database, clock, ["ann", "bob", "eve"])

    def slowly(message: Message) -> None:
        if message.user_id == "bob":
            phones.known["eve"] = "+4915112345671"
            clock.move_to(clock.now() + timedelta(seconds=1))

    channel = MemoryChannel(address=Address.PHONE, after=slowly)
    one = Relay(database, clock, PLANS, {"memory": channel}, OpenGate(), holder="one", addresses=phones)
    assert one.run() == Report(sent=3)
    assert phones.asked == [3, 1]
    assert {one.user_id: one.address for one in channel.messages.values()} == phones.known


def test_without_anybody_who_knows_addresses_none_is_written_to(
    database: Database, clock: SimulatedClock
) -> None:
    queue(database, clock)
    assert relay(database, clock, MemoryChannel(address=Address.EMAIL)).run() == Report(failed=1)


@pytest.mark.parametrize("after_crash", AfterCrash)
def test_what_may_have_been_taken_is_repeated_only_where_keys_are_known(
    database: Database, clock: SimulatedClock, after_crash: AfterCrash
) -> None:
    queue(database, clock)
    silent = once(NotHandedOver("it did not answer", perhaps=True))
    channel = MemoryChannel(after_crash=after_crash, after=silent)
    honours = after_crash is AfterCrash.REPEAT
    first = relay(database, clock, channel).run()
    assert first == (Report(retried=1) if honours else Report(unknown=1))
    clock.move_to(clock.now() + timedelta(hours=1))
    assert relay(database, clock, channel).run() == (Report(sent=1) if honours else Report())
    assert len(channel.handed_over) == (2 if honours else 1)
    if not honours:
        assert fact(database, "unknown").decode(MessageFact).reason == "it did not answer"


def test_who_says_no_while_a_batch_is_in_hand_gets_no_message_of_it(
    database: Database, clock: SimulatedClock
) -> None:
    said_no: set[str] = set()

    class Words:
        def by(self, run: Enrolment, channel: str) -> bool:
            asked.append((run.user_id, channel))
            return run.user_id not in said_no

    def slowly(_message: Message) -> None:
        clock.move_to(clock.now() + timedelta(seconds=2))
        said_no.update(("bob", "eve"))
        gate.stopped = {"bob", "eve"}

    asked: list[tuple[str, str]] = []
    queue(database, clock, ["ann", "bob", "eve"])
    gate, slow = Gate(), MemoryChannel(after=slowly)
    made = relay(database, clock, slow, gate=gate, wanted=Words())
    assert made.run() == Report(sent=1, suppressed=2)
    assert slow.handed_over == [ANN]
    assert asked == [("bob", "memory"), ("eve", "memory")]
    assert messages(database) == {"queued": 3, "sent": 1}
