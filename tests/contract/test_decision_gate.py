"""The gate on both databases: what changed since a message was queued stops it, under its rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import Connection, insert

from audiences.addresses import AddressKind
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel, Consent, ConsentState, Reason, about, paced
from audiences.consent.service import Consents, Listed
from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone
from audiences.identity.tables import identities
from audiences.rules import Schema
from audiences.triggers.definitions import ZonesSpec
from decision.gate import Gate, WindowCheck
from decision.gate_playbooks import Playbooks
from decision.limits import Limits
from decision.overtaken_check import OvertakenCheck
from decision.permission_check import LESS, NO_MORE, PermissionCheck
from decision.still_wanted import StillWanted
from decision.whereabouts import Whereabouts
from delivery import repository as enrolments
from delivery.coupons.wallet import Wallet, coupon
from delivery.effects import message_fact
from delivery.gate import Send
from delivery.models import Enrolment, MessageState
from delivery.outbox_repository import Queued
from delivery.testing import arms_of, version_body
from feature_repo.store import FeatureRepository
from playbooks.counters import SqlCounters
from playbooks.library import Draft
from playbooks.models import Arm, Playbook
from playbooks.windows import Hold, Skip, Windows
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.publishing import publish

BODY = version_body()
ARM = arms_of(BODY)["milk"]
HOUR = timedelta(hours=1)
CHANNEL = "sms"


class Ann(EveryoneAlone):
    """Ann has two profiles."""

    def members(self, user_id: str) -> tuple[str, ...]:
        return ("ann", "ann_at_work") if user_id.startswith("ann") else (user_id,)


def published(
    database: Database, now: datetime, *, windows: Windows | None = None, **fields: Any
) -> Playbooks:
    """Publish the playbook with other fields, as version 1."""
    document = Playbook.model_validate(BODY.playbook.model_dump(mode="json") | fields)
    offers = {one.id: one for one in BODY.offers}
    contents = {one.id: one for one in BODY.contents}
    draft = Draft((document,), offers, contents, windows)
    database.write(lambda connection: publish(connection, draft, now))
    return Playbooks()


def send(now: datetime, user: str = "ann", arm: Arm = ARM, *, queued_at: datetime | None = None) -> Send:
    run = Enrolment(f"{user}-run", user, "coupons", 1, f"{user}-run", arm, "wait", now, None)
    return Send(f"{user}-run:1:0", run, CHANNEL, queued_at or now)


def rules(check: Any, database: Database, sends: Sequence[Send], now: datetime) -> list[str | None]:
    found = database.write(lambda connection: check.rule(connection, sends, now))
    return [one.rule if isinstance(one, Skip) else None for one in found]


def happened(database: Database, user: str, at: datetime, name: str, **properties: Any) -> None:
    fact = NewFact(Kind.EVENT, f"{user}:{name}:{at}", name, user, at, EventBody(properties))
    database.write(lambda connection: ledger.append(connection, [fact], at))


# What overtook the message


def test_a_goal_that_was_reached_meanwhile_stops_it_and_one_before_does_not(
    database: Database, clock: SimulatedClock
) -> None:
    goal = {
        "event": "order_completed",
        "where": "list_contains(event.categories, arm.category)",
        "window": "P7D",
    }
    check = OvertakenCheck(published(database, clock.now(), goal=goal), Ann())
    now = clock.now()
    happened(database, "ann", now - HOUR, "order_completed", categories=["milk"])
    waiting = [send(now), send(now, "bob"), send(now, "eve")]
    assert rules(check, database, waiting, now) == [None, None, None]
    # Bought under another profile; Bob buys something else, and Eve's shop sends nonsense.
    happened(database, "ann_at_work", now + HOUR, "order_completed", categories=["milk"])
    happened(database, "bob", now + HOUR, "order_completed", categories=["bread"])
    happened(database, "eve", now + HOUR, "order_completed", categories="milk")
    later = now + 2 * HOUR
    assert rules(check, database, waiting, later) == ["goal_reached", None, None]
    # What the run queued after its goal says thank you.
    assert rules(check, database, [send(now, queued_at=later)], later) == [None]


def test_an_order_that_was_confirmed_is_no_reason_to_keep_the_confirmation(
    database: Database, clock: SimulatedClock
) -> None:
    goal = {"event": "order_completed", "window": "P7D"}
    playbooks = published(database, clock.now(), goal=goal, purpose="transactional")
    now = clock.now()
    happened(database, "ann", now + HOUR, "order_completed", categories=["milk"])
    assert rules(OvertakenCheck(playbooks, Ann()), database, [send(now)], now + 2 * HOUR) == [None]


def test_a_decision_holds_for_as_long_as_its_playbook_says(database: Database, clock: SimulatedClock) -> None:
    check = OvertakenCheck(published(database, clock.now(), expires_after="P2D"), Ann())
    now = clock.now()
    fact = NewFact(Kind.DECISION, "ann-run", "outbound", "ann", now, {})
    database.write(lambda connection: ledger.append(connection, [fact], now))
    end = now + timedelta(days=2)
    assert rules(check, database, [send(now)], end - timedelta(microseconds=1)) == [None]
    assert rules(check, database, [send(now), send(now, "bob")], end) == ["decision_expired", None]


def test_a_coupon_that_is_over_is_not_promised(database: Database, clock: SimulatedClock) -> None:
    check = OvertakenCheck(published(database, clock.now()), Ann())
    now, wallet = clock.now(), Wallet(database, clock)
    mine = send(now)
    offer = next(one for one in BODY.offers if one.id == "milk")
    issued = coupon("ann-run:1:1", mine.enrolment, offer, now, now.tzinfo)  # type: ignore[arg-type]
    database.write(lambda connection: wallet.issue(connection, [issued], now))
    assert rules(check, database, [mine], issued.expires_at - HOUR) == [None]
    assert rules(check, database, [mine], issued.expires_at) == ["coupon_over"]
    # Queued when it was over already: it may say just that.
    late = send(now, queued_at=issued.expires_at)
    assert rules(check, database, [late], issued.expires_at + HOUR) == [None]


def test_an_offer_that_ended_is_not_promised(database: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    ending = version_body(terms={"validity": {"until": (now + HOUR).isoformat()}})
    draft = Draft(
        (ending.playbook,), {one.id: one for one in ending.offers}, {one.id: one for one in ending.contents}
    )
    database.write(lambda connection: publish(connection, draft, now))
    check = OvertakenCheck(Playbooks(), Ann())
    assert rules(check, database, [send(now)], now) == [None]
    assert rules(check, database, [send(now)], now + HOUR) == ["offer_over"]


# When it may go out


def test_a_send_is_bound_by_rules_by_its_playbook_and_by_itself(
    database: Database, clock: SimulatedClock
) -> None:
    flow = {
        "start": "first",
        "states": {
            "first": {"kind": "send", "next": "second"},
            "second": {"kind": "send", "window": "mornings", "next": "end"},
            "end": {"kind": "end", "result": "told"},
        },
    }
    windows = Windows.model_validate(
        {
            "windows": [
                {"id": "evenings", "hours": ["18:00-22:00"]},
                {"id": "mornings", "hours": ["08:00-12:00"], "outside": "skip"},
                {"id": "by_day", "quiet": ["21:00-08:00"]},
            ],
            "rules": [{"window": "by_day", "channels": [CHANNEL]}],
        }
    )
    playbooks = published(database, clock.now(), flow=flow, windows=windows, window="evenings")
    lives = Whereabouts(cast(FeatureRepository, None), clock, ZonesSpec(fallback="America/New_York"))
    check = WindowCheck(playbooks, lives)
    # Eleven at night in New York: quiet, and neither evening nor morning there.
    now = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
    first, webhook = send(now), msgspec.structs.replace(send(now), channel="webhook")
    second = msgspec.structs.replace(send(now), step="second")
    assert rules(check, database, [first, webhook, second], now) == [None, None, "window.mornings"]
    (held,) = database.write(lambda connection: check.rule(connection, [first], now))
    # Eight is not quiet any more, six in the evening is the playbook's.
    assert held == Hold(datetime(2026, 3, 3, 23, 0, tzinfo=UTC), "window.evenings")


def test_a_cap_counts_the_channel_that_is_really_used(database: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    caps = [
        {"kind": "cap", "id": "texts", "limit": 1, "window": "P7D", "for": {"channels": [CHANNEL]}},
        {"kind": "cap", "id": "all", "limit": 3, "window": "P7D"},
        {"kind": "cap", "id": "mails", "limit": 1, "window": "P7D", "for": {"channels": ["memory"]}},
    ]
    counters = SqlCounters(database)
    limits = Limits(
        published(database, now, constraints=caps), counters, Schema({}, tags=False, audiences=False)
    )
    gate = Gate([], limits)

    def sending(number: int, channel: str) -> Send:
        run = msgspec.structs.replace(send(now).enrolment, id=f"run{number}", decision_id=f"d{number}")
        return Send(f"run{number}:1:0", run, channel, now)

    def goes(number: int, channel: str) -> str | None:
        one = sending(number, channel)
        (ruling,) = database.write(lambda connection: gate.check(connection, [one], now))
        if ruling is None:
            database.write(lambda connection: gate.committed(connection, one.enrolment, channel, now))
        return ruling.rule if isinstance(ruling, Skip) else None

    # Reserved for the arm's own channel first, as a decision does; then it goes by text message.
    mail = sending(1, "memory")
    assert database.write(lambda connection: gate.check(connection, [mail], now)) == [None]
    assert goes(1, CHANNEL) is None
    assert goes(2, CHANNEL) == "cap.coupons.texts"
    # The mail that did not go out is not counted, and the text message counts once among all.
    assert goes(2, "memory") is None
    assert goes(3, "memory") == "cap.coupons.mails"
    assert {rule: len(uses) for rule, uses in counters.read("ann", now, since=now - 9 * HOUR).items()} == {
        "cap.coupons.texts": 1,
        "cap.coupons.all": 2,
        "cap.coupons.mails": 1,
    }


# What the user, or somebody for them, said


@pytest.fixture
def consents(database: Database, clock: SimulatedClock) -> Consents:
    return Consents(database, clock, AddressHash(b"k" * 32))


def permission(database: Database, consents: Consents, now: datetime, **fields: Any) -> PermissionCheck:
    playbooks = published(database, now, **fields)
    limits = Limits(playbooks, SqlCounters(database), Schema({}, tags=False, audiences=False))
    return PermissionCheck(playbooks, limits.terms, Ann(), consents, {CHANNEL: Channel.SMS})


def says(
    consents: Consents,
    user: str,
    state: ConsentState,
    now: datetime,
    purpose: str = "promotional",
    channel: Channel = Channel.SMS,
) -> None:
    consents.say([Consent(user, purpose, channel, state, now, "preference_page")])


def test_no_more_of_this_stops_one_playbook_alone_until_it_is_wanted_again(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    check = permission(database, consents, now)
    wanted = StillWanted(database, Ann(), {CHANNEL: Channel.SMS})
    mine = send(now)
    says(consents, "ann", ConsentState.DENIED, now, purpose=about("other"), channel=Channel.ANY)
    assert (rules(check, database, [mine], now), wanted.by(mine.enrolment, CHANNEL)) == ([None], True)
    says(consents, "ann_at_work", ConsentState.DENIED, now, purpose=about("coupons"), channel=Channel.ANY)
    assert (rules(check, database, [mine], now), wanted.by(mine.enrolment, CHANNEL)) == ([NO_MORE], False)
    # What is said of everything is another word.
    says(consents, "ann", ConsentState.GRANTED, now + HOUR, purpose="any", channel=Channel.ANY)
    assert rules(check, database, [mine], now) == [NO_MORE]
    again = now + 2 * HOUR
    says(consents, "ann", ConsentState.GRANTED, again, purpose=about("coupons"), channel=Channel.ANY)
    assert (rules(check, database, [mine], now), wanted.by(mine.enrolment, CHANNEL)) == ([None], True)


def was_sent(database: Database, one: Send, at: datetime) -> None:
    """Record that a message like one went out, under a key of its own."""
    queued = Queued(f"{one.key}@{at}", one.enrolment.id, at, 1, None, one.channel, "hello", "send")
    fact = message_fact(queued, MessageState.SENT, one.enrolment, at)
    database.write(lambda connection: ledger.append(connection, [fact], at))


def test_less_of_this_lets_so_many_through_in_four_weeks_and_no_more(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now, day = clock.now(), timedelta(days=1)
    check = permission(database, consents, now)
    mine, again, bobs = send(now), send(now, "ann_at_work"), send(now, "bob")
    runs = [one.enrolment for one in (mine, again, bobs)]
    database.write(lambda connection: enrolments.add_enrolments(connection, runs))
    says(consents, "ann", ConsentState.GRANTED, now, purpose=paced("promotional", 2))
    was_sent(database, mine, now - 28 * day)
    was_sent(database, mine, now - 27 * day)
    # One is left for both profiles, and of two at once the first gets it.
    assert rules(check, database, [mine, again, bobs], now) == [None, LESS, None]
    was_sent(database, again, now)
    assert rules(check, database, [mine, bobs], now) == [LESS, None]
    # It concerns neither other purposes nor other ways, and ends as the four weeks go by.
    says(consents, "bob", ConsentState.GRANTED, now, purpose=paced("service", 1))
    says(consents, "bob", ConsentState.GRANTED, now, purpose=paced("promotional", 1), channel=Channel.PUSH)
    was_sent(database, bobs, now)
    assert rules(check, database, [bobs], now) == [None]
    assert rules(check, database, [mine], now + day) == [None]
    says(consents, "ann_at_work", ConsentState.GRANTED, now + HOUR, purpose=paced("promotional", 0))
    assert rules(check, database, [mine, again], now) == [None, None]


def test_an_opt_out_holds_at_once_for_its_purpose_and_channel(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    check = permission(database, consents, now)
    both = [send(now), send(now, "bob")]
    assert rules(check, database, both, now) == [None, None]
    says(consents, "ann_at_work", ConsentState.DENIED, now, purpose="any", channel=Channel.ANY)
    says(consents, "bob", ConsentState.DENIED, now, purpose="service")
    says(consents, "bob", ConsentState.DENIED, now, channel=Channel.EMAIL)
    assert rules(check, database, both, now) == ["opted_out", None]
    says(consents, "ann", ConsentState.GRANTED, now + HOUR)
    clock.move_to(now + HOUR)
    assert rules(check, database, both, now + HOUR) == [None, None]


def test_a_transactional_message_still_goes(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    check = permission(database, consents, now, purpose="transactional")
    says(consents, "ann", ConsentState.DENIED, now, purpose="any", channel=Channel.ANY)
    assert rules(check, database, [send(now)], now) == [None]


def test_where_consent_is_needed_silence_is_none(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    needed = [{"id": "agreed", "kind": "consent", "channels": {CHANNEL: "sms"}}]
    check = permission(database, consents, now, constraints=needed)
    says(consents, "bob", ConsentState.GRANTED, now)
    stopped, free = rules(check, database, [send(now), send(now, "bob")], now)
    assert free is None
    assert stopped is not None
    assert "agreed" in stopped


def test_an_open_ticket_holds_what_is_queued(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    hold = [{"id": "ticket", "kind": "hold", "opened_by": "ticket_opened", "closed_by": "ticket_closed"}]
    check = permission(database, consents, now, constraints=hold)
    happened(database, "ann_at_work", now, "ticket_opened")
    stopped = rules(check, database, [send(now), send(now, "bob")], now + HOUR)
    assert stopped[1] is None
    assert "ticket" in str(stopped[0])
    happened(database, "ann", now + HOUR, "ticket_closed")
    assert rules(check, database, [send(now)], now + 2 * HOUR) == [None]


def test_addresses_of_the_suppression_list_are_not_written_to(
    database: Database, clock: SimulatedClock, consents: Consents
) -> None:
    now = clock.now()
    check = permission(database, consents, now)
    phones = {"ann": "+4915112345678", "ann_at_work": "+4915112345679", "bob": "+4915112345670"}

    def hold(connection: Connection) -> None:
        rows = [
            {
                "kind": "phone",
                "value": phone,
                "profile": user,
                "verified": True,
                "first_seen_at": now,
                "source": "",
            }
            for user, phone in phones.items()
        ]
        connection.execute(insert(identities), rows)

    database.write(hold)
    both = [send(now), send(now, "bob")]
    assert rules(check, database, both, now) == [None, None]

    def listed(user: str, reason: Reason) -> None:
        consents.suppress([Listed(AddressKind.PHONE, phones[user], reason, now)], "provider")

    listed("ann", Reason.BOUNCED)
    listed("bob", Reason.BOUNCED)
    # Ann has another number that works.
    assert rules(check, database, both, now) == [None, "suppressed.bounced"]
    listed("ann_at_work", Reason.COMPLAINED)
    assert rules(check, database, both, now) == ["suppressed.complained", "suppressed.bounced"]
