"""What users say on their pages: fewer messages of a purpose by a way, none of a playbook, and all again."""

from __future__ import annotations

from typing import Any

import pytest

from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel
from audiences.consent.service import Consents
from audiences.consent.standing import pacing
from audiences.events import Event
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from delivery import repository as enrolments
from delivery.effects import message_fact
from delivery.errors import PreferencesUnfit
from delivery.models import Enrolment, MessageState
from delivery.outbox_repository import Queued
from delivery.preferences import page
from delivery.preferences.service import UserPreferences
from delivery.receipts.way import Way
from delivery.testing import arms_of, version_body
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database

BODY = version_body()
ARM = arms_of(BODY)["milk"]
WAYS = {"memory": Way.of(Channel.EMAIL), "sms": Way.of(Channel.SMS)}


def sent(database: Database, clock: SimulatedClock, number: int, channel: str = "memory") -> None:
    """Record that Ann was sent so many messages of the playbook."""
    now = clock.now()
    for one in range(number):
        run = Enrolment(f"{channel}{one}", "ann", "coupons", 1, f"{channel}{one}", ARM, "wait", now, None)
        queued = Queued(f"{run.id}:1:0", run.id, now, 1, None, channel, "hello", "send")
        fact = message_fact(queued, MessageState.SENT, run, now)

        def keep(connection: Any, run: Enrolment = run, fact: Any = fact) -> None:
            enrolments.add_enrolments(connection, [run])
            ledger.append(connection, [fact], now)

        database.write(keep)


def test_less_halves_what_came_and_less_again_halves_that(database: Database, clock: SimulatedClock) -> None:
    identity = IdentityService(database)
    now = clock.now()
    Intake(database, identities=identity).take([Event("e", "ann", "seen", {}, now, now)])
    consents = Consents(database, clock, AddressHash(b"k" * 32))
    published = BODY.published(1)
    receipts: Any = None
    wishes = UserPreferences(
        database,
        clock,
        consents,
        identity.people,
        receipts,
        lambda *_: published,
        WAYS.get,
        [Channel.EMAIL, Channel.SMS],
    )

    def pace() -> int | None:
        found = pacing(consents.of("ann")[0], "promotional", Channel.EMAIL)
        return None if found is None else found[0]

    sent(database, clock, 6)
    sent(database, clock, 3, "sms")
    shown = page.preferences(wishes.of("ann"))
    assert "Less of this" in shown
    assert "None of these" in shown
    (latest,) = wishes.of("ann").sent
    wishes.less("ann", "coupons")
    # Of the way of the message that is shown; those by the other way are as many as before.
    most = {Channel.EMAIL: 3, Channel.SMS: 1}[latest.channel]
    assert pacing(consents.of("ann")[0], "promotional", latest.channel) == (most, latest.channel)
    shown = page.preferences(wishes.of("ann"))
    assert shown.count(f"(at most {most} in four weeks, as you asked)") == 2
    assert f"You asked for fewer of these: at most {most} in four weeks." in shown
    assert "As often as before" in shown
    clock.move_to(clock.now() + clock.now().resolution)
    wishes.less("ann", "coupons")
    assert pacing(consents.of("ann")[0], "promotional", latest.channel) == (1, latest.channel)
    clock.move_to(clock.now() + clock.now().resolution)
    wishes.less("ann", "coupons", usual=True)
    assert pace() is None
    assert "as you asked" not in page.preferences(wishes.of("ann"))
    # It is no opt-out, and ending a playbook is another word.
    assert {one.state.value for one in consents.of("ann")[0]} == {"granted"}
    wishes.end_playbook("ann", "coupons")
    assert "Send me these again" in page.preferences(wishes.of("ann"))
    with pytest.raises(PreferencesUnfit, match="did you mean 'coupons'"):
        wishes.less("ann", "coupon")
