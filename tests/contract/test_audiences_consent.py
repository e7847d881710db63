"""Consent and the suppression list on both databases, and over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, text

from audiences.addresses import AddressKind
from audiences.consent.address_hash import AddressHash
from audiences.consent.api import router
from audiences.consent.models import Channel, Consent, ConsentState, Reason, wording
from audiences.consent.service import Consents, Listed
from audiences.errors import AddressUnfit
from audiences.repository import is_known
from decision import problems
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Kind
from tests.conftest import START
from tests.serving import serving

GRANTED, DENIED = ConsentState.GRANTED, ConsentState.DENIED
HOUR = timedelta(hours=1)
NEWSLETTER = wording("newsletter", "3", "Yes, write to me.")


class TwoProfiles:
    """Ann's profiles before she was known to be one person."""

    def of(self, connection: Connection, user_id: str) -> list[str]:
        return ["ann", "visitor-1"] if user_id in ("ann", "visitor-1") else [user_id]


@pytest.fixture
def consents(database: Database, clock: SimulatedClock) -> Consents:
    return Consents(database, clock, AddressHash(b"k" * 32), TwoProfiles())


@pytest.fixture
def http(database: Database, clock: SimulatedClock, consents: Consents) -> Iterator[httpx2.Client]:
    app = FastAPI()
    problems.install(app)
    app.include_router(router(database, clock, consents))
    with serving(app) as client:
        yield client


def word(state: ConsentState, hours: int = 0, user: str = "bob", **more: Any) -> Consent:
    return Consent(user, "marketing", Channel.EMAIL, state, START - 10 * HOUR + hours * HOUR, "test", **more)


def may(consents: Consents, database: Database, user: str, channel: Channel = Channel.EMAIL) -> bool:
    with database.read() as connection:
        return consents.allowed(connection, user, "marketing", channel)


def test_a_word_is_kept_with_its_wording(consents: Consents, database: Database) -> None:
    said = word(GRANTED, wording=NEWSLETTER)
    assert consents.say([said]) == [True]
    now, history = consents.of("bob")
    assert now == [said]
    assert NEWSLETTER.hash == hashlib.sha256(b"Yes, write to me.").hexdigest()
    assert [(fact.label, fact.occurred_at) for fact in history] == [("granted", said.at)]
    assert may(consents, database, "bob")
    assert not may(consents, database, "bob", Channel.SMS)
    with database.read() as connection:
        assert is_known(connection, "bob")


def test_the_same_word_again_is_nothing_new(consents: Consents) -> None:
    assert consents.say([word(GRANTED), word(GRANTED)]) == [True, False]
    assert consents.say([word(GRANTED)]) == [False]
    assert len(consents.of("bob")[1]) == 1


def test_whatever_the_order_the_latest_word_counts(consents: Consents) -> None:
    for number, order in enumerate(permutations([(GRANTED, 1), (DENIED, 2), (GRANTED, 3)])):
        user = f"user-{number}"
        for state, hours in order:
            consents.say([word(state, hours, user)])
        assert [one.state for one in consents.of(user)[0]] == [GRANTED]
        assert len(consents.of(user)[1]) == 3


@pytest.mark.parametrize("order", [(GRANTED, DENIED), (DENIED, GRANTED)])
def test_at_the_same_moment_a_denial_counts(consents: Consents, order: tuple[ConsentState, ...]) -> None:
    for state in order:
        consents.say([word(state)])
    consents.say([word(state, user="eve") for state in order])
    assert [consents.of(user)[0][0].state for user in ("bob", "eve")] == [DENIED, DENIED]


def test_what_one_profile_refused_the_person_refused(consents: Consents, database: Database) -> None:
    consents.say([word(GRANTED, 1, "ann"), word(DENIED, 2, "visitor-1")])
    assert not may(consents, database, "ann")
    consents.say([word(GRANTED, 3, "ann")])
    assert may(consents, database, "visitor-1")
    assert len(consents.of("ann")[0]) == 2


def test_many_at_once_are_recorded_once(consents: Consents) -> None:
    said = [word(GRANTED, hours, f"user-{user}") for hours in range(3) for user in range(5)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda turn: consents.say(said if turn % 2 else said[::-1]), range(8)))
    assert sum(map(sum, results)) == len(said)
    assert consents.of("user-1")[0][0].at == word(GRANTED, 2).at


def test_an_address_on_the_list_is_found_however_it_is_written(
    consents: Consents, database: Database
) -> None:
    ann = Listed(AddressKind.EMAIL, "Ann@Example.com", Reason.BOUNCED, START)
    assert consents.suppress([ann, ann], "mail") == [True, False]
    assert consents.suppress(
        [Listed(AddressKind.PHONE, "+49 170 1234567", Reason.DO_NOT_CONTACT, START)], "ops"
    )
    with database.read() as connection:
        assert consents.suppressed(connection, AddressKind.EMAIL, "ann@EXAMPLE.com") == [Reason.BOUNCED]
        assert consents.suppressed(connection, AddressKind.PHONE, "+491701234567") == [Reason.DO_NOT_CONTACT]
        assert consents.suppressed(connection, AddressKind.EMAIL, "bob@example.com") == []


def test_nothing_kept_of_the_list_has_an_address_in_it(consents: Consents, database: Database) -> None:
    consents.suppress([Listed(AddressKind.EMAIL, "ann@example.com", Reason.COMPLAINED, START)], "mail")
    with database.read() as connection:
        kept = [
            str(row)
            for table in ("facts", "suppressions")
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        ]
        assert ledger.counts(connection)[Kind.CONSENT] == {"suppressed": 1}
    assert len(kept) == 2
    assert not [row for row in kept if "ann" in row or "example.com" in row]


def test_lifting_takes_away_one_reason_and_older_words_do_not_bring_it_back(
    consents: Consents, database: Database
) -> None:
    def listed(reason: Reason, hours: int) -> list[Listed]:
        return [Listed(AddressKind.EMAIL, "ann@example.com", reason, START + hours * HOUR)]

    consents.suppress(listed(Reason.BOUNCED, 1) + listed(Reason.COMPLAINED, 1), "mail")
    consents.suppress(listed(Reason.BOUNCED, 2), "ops", lift=True)
    consents.suppress(listed(Reason.BOUNCED, 0), "mail")
    with database.read() as connection:
        assert consents.suppressed(connection, AddressKind.EMAIL, "ann@example.com") == [Reason.COMPLAINED]
    consents.suppress(listed(Reason.BOUNCED, 3), "mail")
    with database.read() as connection:
        assert len(consents.suppressed(connection, AddressKind.EMAIL, "ann@example.com")) == 2


def test_one_wrong_address_and_nothing_is_listed(consents: Consents, database: Database) -> None:
    right = Listed(AddressKind.EMAIL, "ann@example.com", Reason.BOUNCED, START)
    with pytest.raises(AddressUnfit):
        consents.suppress([right, Listed(AddressKind.PHONE, "ann", Reason.BOUNCED, START)], "mail")
    with database.read() as connection:
        assert ledger.counts(connection) == {}


def test_another_key_would_find_nobody_and_is_refused(database: Database, clock: SimulatedClock) -> None:
    Consents(database, clock, AddressHash(b"k" * 32))
    Consents(database, clock, AddressHash(b"k" * 32))
    with pytest.raises(ConfigurationError, match="another address key"):
        Consents(database, clock, AddressHash(b"l" * 32))


# Over HTTP


def test_consent_over_http(http: httpx2.Client) -> None:
    shown = {"id": "newsletter", "version": "3", "text": "Yes, write to me."}
    granted = {"purpose": "marketing", "channel": "email", "state": "granted", "wording": shown}
    answer = http.put("/v1/users/bob/consents", json={"source": "preference_page", "consents": [granted]})
    assert answer.status_code == 200
    (kept,) = answer.json()["consents"]
    assert (kept["state"], kept["source"], kept["wording"]["hash"]) == (
        "granted",
        "preference_page",
        NEWSLETTER.hash,
    )
    denied = {"purpose": "any", "channel": "any", "state": "denied", "at": "2026-03-02T08:59:00Z"}
    assert http.put("/v1/users/bob/consents", json={"consents": [denied]}).json()["recorded"] == 1
    found = http.get("/v1/users/bob/consents").json()
    assert [one["purpose"] for one in found["consents"]] == ["any", "marketing"]
    assert [one["state"] for one in found["history"]] == ["granted", "denied"]
    assert http.get("/v1/users/nobody/consents").json()["consents"] == []


def test_suppressions_over_http(http: httpx2.Client) -> None:
    ann = {"kind": "email", "address": "ann@example.com"}
    bounced = {"addresses": [{**ann, "reason": "bounced"}]}
    assert http.post("/v1/suppressions", json=bounced).json() == {"recorded": 1}
    assert http.post("/v1/suppressions/check", json=ann).json() == {
        "suppressed": True,
        "reasons": ["bounced"],
    }
    later = {"addresses": [{**ann, "reason": "bounced", "at": "2026-03-02T09:30:00Z"}]}
    assert http.post("/v1/suppressions/lift", json=later).status_code == 200


GOOD = {"purpose": "marketing", "channel": "email", "state": "granted"}


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ({**GOOD, "channel": "pigeon"}, "channel"),
        ({**GOOD, "state": "maybe"}, "state"),
        ({**GOOD, "purpose": "Everything!"}, "is no name"),
        ({**GOOD, "at": "2026-03-02T09:00:00"}, "timezone"),
        ({**GOOD, "at": "2036-03-02T09:00:00Z"}, "in the future"),
        ({**GOOD, "at": "1970-01-01T00:00:00Z"}, "the clock was not set"),
        ({**GOOD, "wording": {"id": "a", "version": "1"}}, "either `text` or `hash`"),
        ({**GOOD, "wording": {"id": "a", "version": "1", "hash": "abc"}}, "SHA-256"),
        ({**GOOD, "wording": {"id": "a\u0000", "version": "1", "text": "x"}}, "control character"),
        ({**GOOD, "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_word_is_told_what_is_wrong_and_nothing_is_recorded(
    http: httpx2.Client, word: dict[str, Any], what: str
) -> None:
    answer = http.put("/v1/users/bob/consents", json={"consents": [GOOD, word]})
    assert answer.status_code == 422
    assert what in answer.json()["detail"]
    assert http.get("/v1/users/bob/consents").json()["consents"] == []


def test_a_user_that_cannot_be_kept_is_refused(http: httpx2.Client) -> None:
    for user in ("a%00b", "x" * 256):
        assert http.put(f"/v1/users/{user}/consents", json={"consents": [GOOD]}).status_code == 422
        assert http.get(f"/v1/users/{user}/consents").status_code == 422
