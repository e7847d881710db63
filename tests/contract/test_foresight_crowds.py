"""Crowds as they are read: on SQLite and Postgres, exact for whatever constraints ask of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pyroaring import BitMap
from sqlalchemy import Connection, insert

from audiences import repository as users_repository
from audiences.accounts.primary import PrimaryAccounts
from audiences.accounts.tables import account_members
from audiences.consent import repository as consent_repository
from audiences.consent.models import Channel, Consent, ConsentState
from audiences.features import Features
from audiences.identity.models import Person
from audiences.rules import Schema, Type
from audiences.selection import repository as selection_repository
from audiences.selection.changes import Change
from audiences.selection.memberships import Memberships
from audiences.selection.repository import State
from audiences.service import set_tags
from audiences.triggers.definitions import ZonesSpec
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.looking_into import LookingInto
from decision.surroundings import Surroundings
from feature_repo.aggregates import FeatureType
from playbooks.constraints.counting import of_account
from playbooks.constraints.documents import Cap, ConsentNeeded, CoolDown, Hold, Layer
from playbooks.constraints.rulebook import Rulebook
from playbooks.counters import SqlCounters
from playbooks.library import Library
from playbooks.matching import Snapshot
from playbooks.models import Rules
from playbooks.rehearsal.asking import Asker
from playbooks.rehearsal.repository import by_hour
from playbooks.tables import uses
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.conftest import START as NOW
from tests.unit.test_playbooks_matching import Favourite
from tests.unit.test_playbooks_rehearsal import playbook, told_alone

DAY = timedelta(days=1)
USERS = [f"user{number}" for number in range(48)]
# Who is known by another profile too.
PHONES = {f"{user}_phone": user for user in USERS[::6]}
LIBRARY = Library(
    (
        playbook("asks", rules=Rules(eligibility="orders > 3 AND NOT tag('grumpy')"), audience="gold"),
        playbook("early", rules=Rules(applicability="context.hour < 8 OR in_audience('silver')")),
        playbook("plain", constraints=[Cap(id="two", limit=2, window=3 * DAY)]),
    ),
    rules=Rulebook(
        (
            ConsentNeeded(kind="consent", id="agreed", channels={"mailbox": Channel.EMAIL}),
            Hold(kind="hold", id="quarrel", opened_by="complained", closed_by="settled"),
            CoolDown(kind="cool_down", id="bought", after="conversion", lasts=2 * DAY),
            Cap(id="daily", limit=1, window="day", each="playbook"),
            Cap(id="account", limit=2, window=4 * DAY, per="account"),
            Layer(kind="suitability", id="known", rule="orders IS NOT NULL"),
        ),
        1,
        Schema({"orders": Type.NUMBER, "zone": Type.TEXT}),
    ),
)
ASKED = {
    "consent.agreed",
    "hold.quarrel",
    "cool_down.bought",
    "cap.daily",
    "cap.account",
    "suitability.known",
    "eligibility.asks",
    "applicability.early",
}
SNAPSHOT = Snapshot(LIBRARY, Favourite(), "seed", 0.1)


class Joined:
    """Implements `People`: phones belong to users."""

    def person(self, user_id: str) -> Person:
        user = PHONES.get(user_id, user_id)
        return Person(user, (user, *(phone for phone, of in PHONES.items() if of == user)))

    def canonical(self, user_id: str) -> str:
        return self.person(user_id).canonical

    def members(self, user_id: str) -> tuple[str, ...]:
        return tuple(self.person(user_id).members)


class Known:
    """Implements `FeatureReader`: orders and zones by the user's number."""

    types: Mapping[str, FeatureType] = {"orders": "float", "zone": "text", "likes": "text"}

    def read(self, user_id: str) -> Features:
        number = int(user_id.removeprefix("user"))
        orders = None if number % 7 == 0 else float(number % 6)
        zone = ("Europe/Berlin", "America/Los_Angeles", None)[number % 3]
        return Features({"orders": orders, "zone": zone, "likes": "pear"}, missing=False, as_of=NOW)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user_id) for user_id in user_ids]


def fill(connection: Connection) -> None:
    """Users who differ in all that constraints look at, by themselves or by another profile of theirs."""
    chance = np.random.default_rng(5)

    def some(share: float) -> list[str]:
        """Some users, by their phones where they have one."""
        phones = {user: phone for phone, user in PHONES.items()}
        return [phones.get(user, user) for user in USERS if chance.random() < share]

    everybody = [*USERS, *PHONES]
    users_repository.add_users(connection, [(name, NOW) for name in everybody])
    selection_repository.number_users(connection, everybody)
    numbers = selection_repository.numbers_of(connection, USERS)
    for audience in ("gold", "silver"):
        members = BitMap([number for number in numbers.values() if chance.random() < 0.6])
        selection_repository.stage(
            connection, audience, "r", members, Change(BitMap(), BitMap()), quiet=False
        )
        selection_repository.make_live(connection, [State(audience, "r", 1, "", NOW, len(members))])
    set_tags(connection, some(0.3), "grumpy", "test", NOW - DAY, None)
    for state, share in ((ConsentState.GRANTED, 0.7), (ConsentState.DENIED, 0.3)):
        said = [
            Consent(user, "promotional", Channel.EMAIL, state, NOW - DAY * chance.integers(1, 9).item(), "t")
            for user in some(share)
        ]
        consent_repository.record(connection, said, NOW)
    events = [
        NewFact(Kind.EVENT, f"{name}:{user}:{ago}", name, user, NOW - ago * DAY, {})
        for name, share in (("complained", 0.4), ("settled", 0.4), ("order_completed", 0.5))
        for user in some(share)
        for ago in (chance.integers(1, 5).item(),)
    ]
    ledger.append(connection, events, NOW)
    rows = [
        {"account_id": f"a{number % 5}", "user_id": user, "since": NOW - DAY, "named_at": NOW - DAY}
        for number, user in enumerate(some(0.5))
    ]
    connection.execute(insert(account_members), [{**row, "chosen_at": None} for row in rows])
    counters = ["cap.plain.two", "cap.daily@plain", "cap.daily@asks"]
    used = [(user, counters[chance.integers(3)]) for user in [*some(0.6), *some(0.6), *some(0.3)]]
    used += [(of_account(f"a{number % 4}"), "cap.account") for number in range(16)]
    connection.execute(insert(uses), [_use(user, counter, chance) for user, counter in used])


def _use(user: str, counter: str, chance: np.random.Generator) -> dict[str, Any]:
    """Committed, reserved, or reserved until a moment ago."""
    expires = (None, NOW + timedelta(hours=1), NOW)[chance.integers(3)]
    ago = timedelta(hours=chance.integers(1, 90).item())
    return {
        "user_id": user,
        "rule": counter,
        "decision_id": "d",
        "used_at": NOW - ago,
        "expires_at": expires,
    }


@pytest.fixture
def read(database: Database) -> tuple[Crowds, Inquiries]:
    database.write(fill)
    people, reader, zones = Joined(), Known(), ZonesSpec(feature="zone", fallback="UTC")
    memberships = Memberships(people.canonical)
    with database.read() as connection:
        memberships.load(connection)
    accounts = PrimaryAccounts(database, people)
    looking = LookingInto(database, people, reader, zones)
    surroundings = Surroundings(database, SqlCounters(database, people), people, accounts, zones)
    return (
        Crowds(database, memberships, lambda: PHONES, accounts, looking),
        Inquiries(memberships, reader, surroundings),
    )


@pytest.mark.parametrize("hours", [0, 14])
def test_what_is_said_of_a_group_is_what_decide_says_of_each(
    read: tuple[Crowds, Inquiries], hours: int
) -> None:
    crowds, inquiries = read
    now: datetime = NOW + timedelta(hours=hours)
    crowd = crowds.read(None, SNAPSHOT, now)
    names = list(crowd.names(np.arange(crowd.size)))
    assert sorted(names) == sorted(USERS)
    asker = Asker(SNAPSHOT, "home", now)
    members = inquiries.members(names, LIBRARY, "home", now)
    groups = crowd.groups(SNAPSHOT, now)
    answers = [asker.ask(members[place]) for place in groups.first]
    assert [answers[group] for group in groups.of] == [
        told_alone(SNAPSHOT, member, now) for member in members
    ]
    rules = {rule for answer in answers for rule in answer.suppressed}
    # After fourteen hours, nobody has used anything that day.
    assert rules >= (ASKED if hours == 0 else ASKED - {"cap.daily"})


def test_an_audience_has_its_members(read: tuple[Crowds, Inquiries]) -> None:
    crowds, inquiries = read
    crowd = crowds.read("gold", SNAPSHOT, NOW)
    names = crowd.names(np.arange(crowd.size))
    assert set(names) == {user for user in USERS if "gold" in inquiries.memberships.of(user)}
    assert crowds.read("nobody", SNAPSHOT, NOW).size == 0


def test_facts_are_counted_by_the_hour(database: Database) -> None:
    facts = [
        NewFact(Kind.TRIGGER, f"f{number}", label, "u", NOW - timedelta(minutes=31 * number), {})
        for number in range(6)
        for label in (("cart", "other")[number == 5],)
    ]
    database.write(lambda connection: ledger.append(connection, facts, NOW))
    nine = int(NOW.timestamp()) // 3600
    with database.read() as connection:
        found = by_hour(connection, Kind.TRIGGER, "cart", NOW - DAY, NOW)
    assert found == {nine - 1: 1, nine - 2: 2, nine - 3: 1}
