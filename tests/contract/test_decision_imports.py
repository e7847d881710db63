"""What was before nextplay is imported once, is known to caps, wallet and consent, and starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from audiences.addresses import AddressKind
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel, Reason
from audiences.consent.service import Consents
from audiences.errors import UnknownImport
from audiences.importing.api import add_import_route
from audiences.importing.reader import Row
from audiences.importing.service import Imported, Imports
from audiences.intake.intake import Intake
from decision import problems
from decision.demo.run import LIBRARY
from decision.importing import open_imports
from delivery.coupons.wallet import Wallet
from playbooks.constraints.counting import UseLimit
from playbooks.constraints.documents import Cap, CoolDown
from playbooks.counters import COUNTERS_LOST, Counters, Wanted, open_counters
from playbooks.library import read_library
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from tests.conftest import START
from tests.serving import serving

DAY = timedelta(days=1)
RULE = "cap.welcome.two_months"
AT = "2026-02-20T09:00:00Z"
CONSENT: dict[str, Any] = {
    "user_id": "ann",
    "purpose": "marketing",
    "channel": "email",
    "state": "granted",
    "at": AT,
}
SUPPRESSION: dict[str, Any] = {"address": "Ann@example.com", "reason": "bounced", "at": AT}
COUPON: dict[str, Any] = {
    "code": "SPRING-0001",
    "user_id": "ann",
    "offer": "canned_juices",
    "issued_at": AT,
    "expires_at": "2026-03-20T09:00:00+01:00",
}
# What makes a row another one.
OWN = ("code", "user_id", "address")
CONTACT: dict[str, Any] = {"user_id": "ann", "playbook": "welcome", "at": AT, "count": 3}


@pytest.fixture
def counters(database: Database) -> Iterator[Counters]:
    opened = open_counters(database)
    yield opened
    opened.close()


@pytest.fixture
def consents(database: Database, clock: SimulatedClock) -> Consents:
    return Consents(database, clock, AddressHash(b"k" * 32, "DE"))


@pytest.fixture
def imports(database: Database, clock: SimulatedClock, consents: Consents, counters: Counters) -> Imports:
    return open_imports(database, clock, Intake(database), consents, counters, read_library(LIBRARY))


def take(imports: Imports, kind: str, *rows: dict[str, Any]) -> Imported:
    return imports.take(kind, [Row(line, values) for line, values in enumerate(rows, start=2)])


def counts(database: Database) -> dict[Kind, dict[str, int]]:
    with database.read() as connection:
        return ledger.counts(connection)


@pytest.mark.parametrize(
    ("kind", "row"),
    [("consents", CONSENT), ("suppressions", SUPPRESSION), ("coupons", COUPON), ("contacts", CONTACT)],
)
def test_the_same_rows_again_are_nothing_new(
    imports: Imports, database: Database, kind: str, row: dict[str, Any]
) -> None:
    other = {name: "x-bob@example.com" if name in OWN else value for name, value in row.items()}
    first = take(imports, kind, row, other, row)
    assert first == Imported(2, 1)
    before = counts(database)
    assert take(imports, kind, row, other) == Imported(0, 2)
    assert counts(database) == before
    assert before.keys() <= {Kind.CONSENT, Kind.COUPON, Kind.MESSAGE}


def test_consents_are_known(imports: Imports, database: Database, consents: Consents) -> None:
    shown = {"wording_id": "newsletter", "wording_version": 3, "wording_text": "Yes."}
    later = {**CONSENT, "state": "denied", "at": "2026-02-21T09:00:00Z"}
    assert take(imports, "consents", {**CONSENT, **shown}, later).recorded == 2
    ((now,), history) = consents.of("ann")
    assert (now.state, now.source) == ("denied", "import")
    assert [fact.label for fact in history] == ["denied", "granted"]
    with database.read() as connection:
        assert not consents.allowed(connection, "ann", "marketing", Channel.EMAIL)


def test_suppressions_are_known(imports: Imports, database: Database, consents: Consents) -> None:
    phone = {"address": "0170 1234567", "reason": "do_not_contact", "at": AT}
    assert take(imports, "suppressions", SUPPRESSION, phone).recorded == 2
    with database.read() as connection:
        assert consents.suppressed(connection, AddressKind.EMAIL, "ann@example.com") == [Reason.BOUNCED]
        assert consents.suppressed(connection, AddressKind.PHONE, "+49 170 1234567") == [
            Reason.DO_NOT_CONTACT
        ]


def test_coupons_are_in_the_wallet_and_end(
    imports: Imports, database: Database, clock: SimulatedClock
) -> None:
    wallet = Wallet(database, clock)
    gone = {**COUPON, "code": "OLD-1", "expires_at": "2026-02-21T09:00:00Z"}
    used = {**COUPON, "code": "USED-1", "state": "used"}
    assert take(imports, "coupons", COUPON, gone, used).recorded == 3
    assert {one.code: state for one, state in wallet.of_user("ann")} == {
        "SPRING-0001": "issued",
        "OLD-1": "expired",
        "USED-1": "used",
    }
    assert counts(database)[Kind.COUPON] == {"imported": 3}
    clock.move_to(START + 30 * DAY)
    assert wallet.expire_due().expired == 1
    assert counts(database)[Kind.COUPON] == {"imported": 3, "expired": 1}
    with database.read() as connection:
        assert not [one for one in ledger.of_user(connection, "ann") if "SPRING" in one.body + one.id]


def test_a_code_of_another_user_is_refused_and_the_first_is_kept(
    imports: Imports, database: Database, clock: SimulatedClock
) -> None:
    result = take(imports, "coupons", COUPON, {**COUPON, "user_id": "bob"}, {**COUPON, "code": "B"})
    assert (result.recorded, [one.line for one in result.refused]) == (2, [3])
    assert "of another user" in result.refused[0].error
    assert Wallet(database, clock).of_user("bob") == []


def reserve(counters: Counters, database: Database, decision: str) -> str | None:
    wanted = Wanted(decision, "ann", [UseLimit(RULE, 4, 60 * DAY)])
    return database.write(counters.reserve(wanted, START).keep)


def test_caps_know_contacts_and_a_recount_agrees(
    imports: Imports, database: Database, counters: Counters
) -> None:
    assert take(imports, "contacts", CONTACT).recorded == 1
    uses = counters.read("ann", START, since=START - 60 * DAY)
    assert [len(one) for one in uses.values()] == [3]
    assert reserve(counters, database, "d1") is None
    assert reserve(counters, database, "d2") == RULE
    assert counters.recount(START) == []
    assert counts(database)[Kind.MESSAGE] == {"past_contact": 3}
    assert take(imports, "contacts", {**CONTACT, "count": 4}).recorded == 1
    assert counts(database)[Kind.MESSAGE] == {"past_contact": 4}


def test_contacts_count_under_what_holds_for_all(
    database: Database, clock: SimulatedClock, consents: Consents, counters: Counters
) -> None:
    rules = (
        Cap(id="week", limit=1, window="week"),
        Cap(id="apart", limit=1, window="week", each="offer"),
        CoolDown(kind="cool_down", id="same", after="playbook", lasts=DAY),
    )
    library = replace(read_library(LIBRARY), constraints=rules)
    imports = open_imports(database, clock, Intake(database), consents, counters, library)
    assert take(imports, "contacts", CONTACT).recorded == 1
    uses = counters.read("ann", START, since=START - 60 * DAY)
    assert {name: len(of) for name, of in uses.items()} == dict.fromkeys(
        (RULE, "cap.week", "cool_down.same@welcome"), 3
    )


def test_contacts_reach_counters_that_valkey_keeps(
    database: Database, clock: SimulatedClock, consents: Consents, valkey_url: str
) -> None:
    counters, other = open_counters(database, valkey_url), open_counters(database, valkey_url)
    try:
        imports = open_imports(database, clock, Intake(database), consents, counters, read_library(LIBRARY))
        # Both processes have the user in memory before.
        assert reserve(counters, database, "d0") is None
        assert len(other.read("ann", START, since=START - 60 * DAY)[RULE]) == 1
        assert take(imports, "contacts", CONTACT).recorded == 1
        for one in (counters, other):
            assert len(one.read("ann", START, since=START - 60 * DAY)[RULE]) == 4
        assert reserve(other, database, "d1") == RULE
        assert counters.recount(START) == []
    finally:
        counters.close()
        other.close()


def test_a_process_that_died_before_it_told_valkey_exceeds_no_cap(
    database: Database,
    clock: SimulatedClock,
    consents: Consents,
    valkey_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counters = open_counters(database, valkey_url)
    try:
        imports = open_imports(database, clock, Intake(database), consents, counters, read_library(LIBRARY))
        assert reserve(counters, database, "d0") is None
        monkeypatch.setattr(type(counters), "forget", lambda *_: None)
        take(imports, "contacts", CONTACT)
        assert reserve(counters, database, "d1") == COUNTERS_LOST
        assert reserve(counters, database, "d2") == RULE
    finally:
        counters.close()


BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "consents",
        {**CONSENT, "channel": "fax"},
        "`channel` is 'fax'; it must be one of any, email, sms, push",
    ),
    ("consents", {**CONSENT, "at": None}, "`at` is missing"),
    ("consents", {**CONSENT, "at": "yesterday"}, "`at` is no moment"),
    ("consents", {**CONSENT, "at": "2026-02-20T09:00:00"}, "has no time zone"),
    ("consents", {**CONSENT, "at": "1970-01-01T00:00:00Z"}, "lies before 2000"),
    ("consents", {**CONSENT, "at": "2036-01-01T00:00:00Z"}, "in the future"),
    ("consents", {**CONSENT, "at": 10**30}, "`at` is no moment"),
    ("consents", {**CONSENT, "user_id": "a\x00b"}, "control character"),
    ("consents", {**CONSENT, "user_id": ["a"]}, "must be text"),
    ("consents", {**CONSENT, "reson": "x"}, "there is no column 'reson'; the columns are user_id"),
    ("consents", {**CONSENT, "wording_id": "a"}, "either `wording_text` or `wording_hash`"),
    ("suppressions", {**SUPPRESSION, "address": "nobody"}, "no phone number"),
    ("suppressions", {**SUPPRESSION, "kind": "phone"}, "no phone number"),
    ("suppressions", {**SUPPRESSION, "reason": "hunch"}, "bounced, complained, do_not_contact"),
    ("coupons", {**COUPON, "offer": "yacht"}, "there is no offer 'yacht' in offers.yaml"),
    ("coupons", {**COUPON, "expires_at": AT}, "later than `issued_at`"),
    ("coupons", {**COUPON, "code": "x" * 33}, "1 to 32 characters"),
    ("contacts", {**CONTACT, "playbook": "nothing"}, "no playbook 'nothing'"),
    ("contacts", {**CONTACT, "cap": "weekly"}, "has no cap 'weekly'; it has two_months"),
    ("contacts", {**CONTACT, "count": 0}, "whole number from 1 to 100"),
    ("contacts", {**CONTACT, "count": "many"}, "whole number from 1 to 100"),
]


@pytest.mark.parametrize(("kind", "row", "what"), BAD)
def test_a_wrong_row_is_told_what_is_wrong_and_the_others_are_taken(
    imports: Imports, kind: str, row: dict[str, Any], what: str
) -> None:
    good = {"consents": CONSENT, "suppressions": SUPPRESSION, "coupons": COUPON, "contacts": CONTACT}[kind]
    present = {name: value for name, value in row.items() if value is not None}
    result = take(imports, kind, present, good)
    assert result.recorded == 1
    assert [one.line for one in result.refused] == [2]
    assert what in result.refused[0].error


def test_more_than_a_turn_is_taken_in_shares(imports: Imports, database: Database) -> None:
    rows = [{**CONTACT, "user_id": f"user-{number}", "count": 40} for number in range(30)]
    assert take(imports, "contacts", *rows).recorded == 30
    assert counts(database)[Kind.MESSAGE] == {"past_contact": 1200}


def test_what_is_not_imported_is_named(imports: Imports) -> None:
    with pytest.raises(UnknownImport, match="there are events, past_events, consents, suppressions"):
        take(imports, "wishes", CONSENT)


# Over HTTP


@pytest.fixture
def http(imports: Imports) -> Iterator[httpx2.Client]:
    app = FastAPI()
    problems.install(app)
    add_import_route(app, imports)
    with serving(app) as client:
        yield client


def test_rows_over_http(http: httpx2.Client) -> None:
    rows = [{"line": 2, "values": CONSENT}, {"line": 3, "values": {**CONSENT, "state": "maybe"}}]
    answer = http.post("/v1/import/consents", json={"rows": rows})
    assert answer.status_code == 200
    assert (answer.json()["recorded"], answer.json()["refused"][0]["line"]) == (1, 3)
    assert http.post("/v1/import/wishes", json={"rows": rows}).status_code == 404
    for wrong in (
        b"",
        b"[]",
        b'{"rows": [{"line": "x"}]}',
        b'{"rows": [{"line": 1, "values": {"a": "\xff"}}]}',
    ):
        refused = http.post("/v1/import/consents", content=wrong)
        assert refused.status_code == 422
        assert "no rows to import" in refused.json()["detail"]
    many = {"rows": [{"line": 1, "values": {}}] * 501}
    assert "at most 500" in http.post("/v1/import/consents", json=many).json()["detail"]


def test_the_library_has_what_the_tests_name() -> None:
    assert (Path(LIBRARY) / "playbooks" / "welcome.yaml").is_file()
