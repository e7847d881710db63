"""Which channel a user answers: messages count once, shares lie between the user's and everybody's."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from delivery.best_hour import active, best_hour
from delivery.models import MessageFact, SendMessage
from delivery.plans import Plan
from delivery.preference import STRENGTH, Tally, answering, preferred, tallied
from delivery.simulator import messages
from delivery.testing import arms_of, version_body
from delivery.view import View
from playbooks.flow import Send
from storage.ledger import Fact, Kind

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def fact(key: str, label: str, channel: str) -> Fact:
    body = msgspec.json.encode(MessageFact("d", "e", "p", "a", channel, "c")).decode()
    return Fact(1, Kind.MESSAGE, f"{key}:{label}", label, "ann", NOW, NOW, body)


def test_a_message_counts_once_and_what_is_no_answer_does_not() -> None:
    said = [
        ("1", "queued", "sms"),
        ("1", "sent", "sms"),
        ("1", "opened", "sms"),
        ("1", "clicked", "sms"),
        ("1", "replied", "sms"),
        ("2", "sent", "sms"),
        ("2", "delivered", "sms"),
        ("3", "sent", "email"),
        ("3", "bounced", "email"),
        # Its fact `sent` lies too far back.
        ("4", "opened", "email"),
        ("5", "suppressed", "push"),
    ]
    found = tallied(fact(*one) for one in said)
    assert found == {"sms": Tally(2, 1), "email": Tally(2, 1)}


@settings(max_examples=60, deadline=None)
@given(
    own=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    all_=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
)
def test_a_share_lies_between_the_users_and_everybodys(own: tuple[int, int], all_: tuple[int, int]) -> None:
    mine, everybody = Tally(max(own), min(own)), Tally(max(all_), min(all_))
    share = answering({"sms": mine}, {"sms": everybody})["sms"]
    mean = (1 + everybody.answered) / (2 + everybody.sent)
    assert 0 < share < 1
    if mine.sent:
        low, high = sorted([mean, mine.answered / mine.sent])
        assert low - 1e-12 <= share <= high + 1e-12
        # The more is known of a user, the less everybody counts.
        weight = STRENGTH / (STRENGTH + mine.sent)
        assert share == pytest.approx(weight * mean + (1 - weight) * mine.answered / mine.sent)
    else:
        assert share == pytest.approx(mean)


def test_who_reads_sms_and_ignores_mail_gets_sms() -> None:
    flow = {
        "start": "tell",
        "states": {
            "tell": {"kind": "send", "channel": "preferred", "among": ["email", "sms"], "next": "end"},
            "end": {"kind": "end", "result": "over"},
        },
    }
    body = version_body(flow)
    plan = Plan.of(body, 1)
    assert plan.asks
    arm = arms_of(body)["milk"]

    def channel(view: View) -> str:
        (one,) = messages(plan, arm, "ann", NOW, view, NOW.replace(year=2027))
        assert isinstance(one, SendMessage)
        return one.channel

    everybody = {"email": Tally(100, 50), "sms": Tally(100, 50)}
    reads = answering({"email": Tally(8, 0), "sms": Tally(3, 3)}, everybody)
    assert channel(View(answers=reads)) == "sms"
    assert channel(View(answers=answering({"sms": Tally(8, 0)}, everybody))) == "email"
    # Nothing is known of anybody: the first.
    assert channel(View()) == "email"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"channel": "preferred"}, "write both, or neither"),
        ({"channel": "sms", "among": ["sms", "email"]}, "write both, or neither"),
        ({"among": ["sms", "email"]}, "write both, or neither"),
        ({"channel": "preferred", "among": ["sms"]}, "two channels or more"),
        ({"channel": "preferred", "among": ["sms", "sms"]}, "two channels or more"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Send.model_validate({"kind": "send", "next": "end", **said})


def test_equal_channels_are_taken_in_their_order() -> None:
    assert preferred(["b", "a", "c"], {"a": 0.3, "b": 0.3, "c": 0.2}) == "b"


def test_the_best_hour_is_when_messages_are_opened_and_not_when_they_are_sent() -> None:
    def event(name: str, hour: int, day: int) -> Fact:
        at = NOW.replace(hour=hour, day=day)
        return Fact(1, Kind.EVENT, f"{name}{at}", name, "ann", at, at, "{}")

    sent = [
        event(name, 10, day)
        for day in range(10, 20)
        for name in ("email_delivered", "sms_bounced", "push_failed")
    ]
    opened = [
        event(name, 21, day) for day in range(10, 13) for name in ("email_opened", "email_link_clicked")
    ]
    assert best_hour(active(sent, NOW), ZoneInfo("UTC")) is None
    assert best_hour(active([*sent, *opened], NOW), ZoneInfo("UTC")) == time(21)
    assert best_hour(active(opened, NOW.replace(day=12)), ZoneInfo("UTC")) is None
