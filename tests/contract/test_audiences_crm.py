"""A CRM's webhooks on both databases, over HTTP: signed, once, in any order, and no 5xx whatever comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from standardwebhooks import Webhook

from audiences.accounts import repository as accounts
from audiences.crm.api import add_crm_routes
from audiences.crm.definitions import owners_in, read_crm
from audiences.crm.reconcile import Report, reconcile
from audiences.crm.service import Crm
from audiences.crm.signatures import Signatures
from audiences.errors import CrmDefinitionError
from audiences.events import Event, EventBody
from audiences.identity.people import PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.importing.reader import Row
from audiences.intake.intake import Intake
from audiences.traits.service import Traits
from decision import problems
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind
from tests.conftest import START
from tests.serving import serving

OLD, NEW = "whsec_b2xkIHNlY3JldCBvZiB0aGUgY3Jt", "whsec_bmV3IHNlY3JldCBvZiB0aGUgY3Jt"
CRM = """
sources:
  - id: acme
    type: kind
    owns: [tier, deal_stage]
    ignore: [task]
    objects:
      - when: note
        id: note.id
        updated_at: note.at
        user_id: user
        event: sales_note_added
        properties: {text: {path: note.text, required: true}}
      - when: deal
        id: deal.id
        updated_at: deal.at
        user_id: user
        identities: [{kind: email, path: email}]
        account_id: company.id
        event: deal_stage_changed
        properties:
          stage: {path: deal.stage, required: true}
          amount: {path: deal.amount, type: money, currency_path: deal.currency}
          probability: {path: deal.probability, type: number}
        traits: {deal_stage: deal.stage}
        account_traits: {tier: company.tier}
      - when: ticket
        id: ticket.id
        updated_at: ticket.at
        user_id: user
        event: {path: ticket.status, names: {open: ticket_opened, solved: ticket_resolved}}
        properties: {priority: ticket.priority}
      - when: contact
        id: contact.id
        updated_at: contact.at
        identities: [{kind: email, path: contact.email}, {kind: phone, path: contact.phone}]
        traits: {tier: contact.tier, city: contact.city}
      - when: company
        id: company.id
        updated_at: company.at
        account_id: company.id
        account_traits: {tier: company.tier, industry: company.industry}
"""
AT = "2026-03-02T08:00:00Z"
DEAL: dict[str, Any] = {
    "kind": "deal",
    "user": "ann",
    "email": "ann@example.com",
    "company": {"id": "acme-gmbh", "tier": "gold"},
    "deal": {"id": 7, "at": AT, "stage": "offer", "amount": "1200.50", "currency": "EUR", "probability": 0.5},
}


def company(tier: str, at: str = AT, **more: Any) -> dict[str, Any]:
    return {"kind": "company", "company": {"id": "acme-gmbh", "tier": tier, "at": at, **more}}


REFUSAL = "the webhook is not signed as it must be, or was signed too long ago"


def deal(stage: str, at: str, **more: Any) -> dict[str, Any]:
    return {**DEAL, "deal": {**DEAL["deal"], "stage": stage, "at": at, **more}}


@dataclass
class Sales:
    """A CRM that sends webhooks to a service, and what the service holds."""

    http: httpx2.Client
    database: Database
    crm: Crm
    traits: Traits
    clock: SimulatedClock
    folder: Path = field(default_factory=Path)

    def send(
        self, payload: Any, webhook_id: str | None = None, secret: str = NEW, source: str = "acme"
    ) -> httpx2.Response:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.post(body, signed(body, webhook_id or str(uuid4()), secret), source)

    def post(self, body: bytes, headers: Mapping[str, str], source: str = "acme") -> httpx2.Response:
        return self.http.post(f"/v1/webhooks/{source}", content=body, headers=dict(headers))

    def outcome(self, payload: Any, **more: Any) -> str:
        answer = self.send(payload, **more)
        assert answer.status_code in (200, 202), answer.text
        outcome: str = answer.json()["outcome"]
        return outcome

    def events(self, label: str = "") -> list[Fact]:
        with self.database.read() as connection:
            facts = ledger.read_after(connection, 0, kind=Kind.EVENT)
        return [fact for fact in facts if label in ("", fact.label)]

    def held(self) -> dict[str, Any]:
        with self.database.read() as connection:
            rows = connection.execute(text("SELECT type, object_id, fields FROM crm_objects")).all()
        return {f"{row.type}:{row.object_id}": json.loads(row.fields) for row in rows}

    def compare(self, *rows: dict[str, Any]) -> Report:
        with self.database.read() as connection:
            numbered = [Row(line, values) for line, values in enumerate(rows, start=2)]
            return reconcile(connection, self.crm.source("acme"), numbered, self.traits, self.clock.now())


def signed(body: bytes, webhook_id: str, secret: str = NEW, at: datetime | None = None) -> dict[str, str]:
    # A signature's time is real time, whatever clock the service lives on.
    moment = at or datetime.now(UTC)
    signature = Webhook(secret).sign(webhook_id, moment, body.decode("utf-8", "surrogatepass"))
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }


def open_crm(
    database: Database, clock: SimulatedClock, folder: Path, definition: str = CRM
) -> tuple[Crm, Traits]:
    path = folder / "crm.yaml"
    path.write_text(definition)
    sources = read_crm(path)
    traits = Traits(database, owners_in(path, sources), PersonsProfiles())
    intake = Intake(database, identities=IdentityService(database), traits=traits)
    return Crm(database, clock, intake, sources), traits


@pytest.fixture
def sales(database: Database, clock: SimulatedClock, tmp_path: Path) -> Iterator[Sales]:
    crm, traits = open_crm(database, clock, tmp_path)
    app = FastAPI()
    problems.install(app)

    def compare(source: str, rows: Any) -> Report:
        with database.read() as connection:
            return reconcile(connection, crm.source(source), rows, traits, clock.now())

    add_crm_routes(app, crm, Signatures({"acme": [OLD, NEW], "gone": [NEW]}), compare)
    with serving(app) as http:
        yield Sales(http, database, crm, traits, clock, tmp_path)


# Signatures


def test_both_secrets_count_while_one_is_replaced(sales: Sales) -> None:
    assert [sales.send(DEAL, secret=secret).status_code for secret in (OLD, NEW)] == [200, 200]


def test_what_is_not_signed_is_refused_without_a_hint(sales: Sales) -> None:
    body = json.dumps(DEAL).encode()
    good = signed(body, "w-1")
    hour = timedelta(hours=1)
    wrong: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (body, {name: value for name, value in good.items() if name != "webhook-id"}),
        (body, {**good, "webhook-id": "w-2"}),
        (body, {**good, "webhook-signature": "v1,AAAA"}),
        (body, {**good, "webhook-signature": "v1"}),
        (body, {**good, "webhook-signature": "v1," + "é"}),
        (body, {**good, "webhook-timestamp": "nan"}),
        (body, {**good, "webhook-timestamp": "1" * 400}),
        (body + b" ", good),
        (b"\xff", good),
        (body, signed(body, "w-1", "whsec_Zm9yZ2VyJ3Mgc2VjcmV0")),
        (body, signed(body, "w-1", at=datetime.now(UTC) - hour)),
        (body, signed(body, "w-1", at=datetime.now(UTC) + hour)),
    ]
    answers = [
        sales.http.post(
            "/v1/webhooks/acme",
            content=content,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        )
        for content, headers in wrong
    ]
    answers += [sales.post(body, good, source) for source in ("unknown", "%00")]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["detail"] for answer in answers} == {REFUSAL}
    assert sales.send(DEAL, source="gone").status_code == 401
    assert sales.events() == []
    with sales.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM crm_inbox")).scalar() == 0


# What is told


def test_a_deal_is_events_traits_and_an_account_of_the_right_user(sales: Sales) -> None:
    assert sales.outcome(DEAL) == "recorded"
    identify, group, changed = sales.events()
    body: EventBody = changed.decode(EventBody)
    assert (changed.label, changed.user_id) == ("deal_stage_changed", "ann")
    assert changed.occurred_at == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert body.properties == {
        "stage": "offer",
        "amount": 120050,
        "amount_currency": "EUR",
        "probability": 0.5,
    }
    assert (body.source, body.account_id) == ("crm.acme", "acme-gmbh")
    assert group.decode(EventBody).properties == {"tier": "gold"}
    assert identify.decode(EventBody).properties == {"deal_stage": "offer"}
    assert sales.traits.of("ann")["deal_stage"]["source"] == "crm.acme"


def test_a_contact_is_found_by_its_address(sales: Sales) -> None:
    sales.outcome(DEAL)
    contact = {"id": "c-1", "at": AT, "email": "Ann@Example.com", "tier": "silver", "city": "Bonn"}
    assert sales.outcome({"kind": "contact", "contact": contact}) == "recorded"
    assert sales.traits.of("ann")["city"]["value"] == "Bonn"


def test_a_ticket_is_named_by_its_status(sales: Sales) -> None:
    for status, at in (("open", "2026-03-02T07:00:00Z"), ("solved", "2026-03-02T08:00:00Z")):
        ticket = {"id": "t-1", "at": at, "status": status, "priority": "high"}
        assert sales.outcome({"kind": "ticket", "user": "ann", "ticket": ticket}) == "recorded"
    assert [fact.label for fact in sales.events()] == ["ticket_opened", "ticket_resolved"]


def test_a_webhook_and_a_version_count_once(sales: Sales) -> None:
    assert sales.outcome(DEAL, webhook_id="w-1") == "recorded"
    assert sales.outcome(DEAL, webhook_id="w-1") == "duplicate"
    assert sales.outcome(DEAL, webhook_id="w-2") == "duplicate"
    assert len(sales.events("deal_stage_changed")) == 1
    assert sales.outcome({"kind": "task"}) == "ignored"


def test_in_whatever_order_the_latest_version_is_held_and_all_are_history(sales: Sales) -> None:
    versions = [deal("lead", "2026-03-02T06:00:00Z"), deal("offer", "2026-03-02T07:00:00Z"), deal("won", AT)]
    for number, order in enumerate(permutations(versions)):
        user = f"user-{number}"
        for one in order:
            sales.outcome({**one, "user": user, "email": None, "deal": {**one["deal"], "id": user}})
        assert sales.held()[f"deal:{user}"]["properties.stage"] == "won"
        assert sales.traits.of(user)["deal_stage"]["value"] == "won"
        stages = {
            fact.occurred_at.hour: fact.decode(EventBody).properties["stage"]
            for fact in sales.events("deal_stage_changed")
            if fact.user_id == user
        }
        assert stages == {6: "lead", 7: "offer", 8: "won"}
    assert (
        sales.outcome({**versions[0], "deal": {**versions[0]["deal"], "id": "user-0"}, "user": "user-0"})
        == "older"
    )


def test_of_two_versions_of_one_moment_the_same_is_held_in_either_order(sales: Sales) -> None:
    held = []
    for order in (("offer", "won"), ("won", "offer")):
        for stage in order:
            sales.outcome(deal(stage, AT, id=f"d-{order[0]}"))
        held.append(sales.held()[f"deal:d-{order[0]}"]["properties.stage"])
    assert held[0] == held[1]
    assert len(sales.events("deal_stage_changed")) == 4


def test_the_products_word_on_a_trait_that_the_crm_owns_does_not_count(
    sales: Sales, database: Database
) -> None:
    sales.outcome(deal("won", AT))
    intake = Intake(database, identities=IdentityService(database), traits=sales.traits)
    later = START + timedelta(hours=1)
    intake.take([Event("m1", "ann", "identify", {"deal_stage": "lost"}, later, later, type="identify")])
    shown = sales.traits.of("ann")["deal_stage"]
    assert (shown["value"], shown["overruled"][0]["value"]) == ("won", "lost")


# What can't be read


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({"kind": "lunch"}, "`kind` is 'lunch'"),
        ({}, "`kind` is missing"),
        ({"kind": ["deal"]}, "`kind` must be text"),
        ({**DEAL, "deal": None}, "`deal.id` is missing"),
        ({**DEAL, "deal": "x"}, "`deal.id` is missing"),
        ({**DEAL, "user": None, "email": None}, "nobody is named: `user` and `email` is missing"),
        ({**DEAL, "user": "anonymous:1"}, "marks users who are not known"),
        ({**DEAL, "user": "a\u0000b"}, "`user` has a control character"),
        (deal("", AT), "`deal.stage` is missing"),
        (deal("won", ""), "`deal.at` is no moment"),
        (deal("won", "2026-03-02T08:00:00"), "`deal.at` has no time zone"),
        (deal("won", "1970-01-01T00:00:00Z"), "`deal.at` 1970-01-01T00:00:00+00:00 lies"),
        (deal("won", "2036-01-01T00:00:00Z"), "lies in the future"),
        (deal("won", AT, amount="a lot"), "`deal.amount` must be a number"),
        (deal("won", AT, amount=1.005), "at most 2 decimals"),
        (deal("won", AT, amount=1e300), "`deal.amount` must be a number"),
        (deal("won", AT, currency=None), "`deal.currency` is missing"),
        (deal("won", AT, probability="NaN"), "`deal.probability` must be a number"),
        (deal("won", AT, id="x" * 101), "`deal.id` must have 1 to 100"),
        (
            {"kind": "ticket", "user": "a", "ticket": {"id": 1, "at": AT, "status": "lost"}},
            "`ticket.status` is",
        ),
    ],
)
def test_what_a_payload_lacks_is_named_by_its_path_and_kept(
    sales: Sales, payload: dict[str, Any], what: str
) -> None:
    answer = sales.send(payload, "w-1")
    assert (answer.status_code, answer.json()["outcome"]) == (202, "quarantined")
    assert what in answer.json()["reason"]
    assert sales.outcome(payload, webhook_id="w-1") == "quarantined"
    (waiting,) = sales.http.get("/v1/crm/acme/waiting").json()["waiting"]
    assert json.loads(waiting["body"]) == payload
    assert what in waiting["reason"]
    assert sales.events() == []


def test_after_the_mapping_was_put_right_what_waits_is_replayed_once(sales: Sales) -> None:
    lunch = {"kind": "lunch", "user": "ann", "lunch": {"id": 1, "at": AT}}
    for number in range(3):
        sales.outcome({**lunch, "lunch": {"id": number, "at": AT}})
    sales.outcome({"kind": "dinner"})
    assert sales.http.post("/v1/crm/acme/replay").json() == {"taken": 0, "waiting": 4}
    more = "      - {when: lunch, id: lunch.id, updated_at: lunch.at, user_id: user, event: lunch_had}\n"
    crm, _ = open_crm(sales.database, sales.clock, sales.folder, CRM + more)
    assert msgspec.to_builtins(crm.replay(crm.source("acme"))) == {"taken": 3, "waiting": 1}
    assert msgspec.to_builtins(crm.replay(crm.source("acme"))) == {"taken": 0, "waiting": 1}
    assert len(sales.events("lunch_had")) == 3


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"a":', b"nonsense", b"[" * 50_000])
def test_a_signed_body_that_is_no_object_is_said_to_be_none(sales: Sales, body: bytes) -> None:
    answer = sales.send(body)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:nextplay:problem:payload-unreadable")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "id": values,
        "at": values | st.just(AT),
        "stage": values,
        "amount": values,
        "currency": values,
        "status": values | st.just("open"),
        "email": values | st.just("a@example.com"),
        "text": values,
        "tier": values,
    },
)
payloads = st.fixed_dictionaries(
    {"kind": st.sampled_from(["deal", "note", "ticket", "contact"]) | values},
    optional={
        "user": values | st.just("ann"),
        "email": values,
        "company": values | parts,
        **dict.fromkeys(("deal", "note", "ticket", "contact"), parts | values),
    },
)


def test_whatever_a_crm_sends_is_answered(sales: Sales) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(payloads)
    def signed_payload(payload: Any) -> None:
        assert sales.send(payload).status_code < 500

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=60), st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])))
    def forged(body: bytes, header: str) -> None:
        headers = {"webhook-id": "w", "webhook-timestamp": "1", "webhook-signature": header}
        raw = [(name.encode(), value.strip().encode("latin-1")) for name, value in headers.items()]
        assert sales.http.post("/v1/webhooks/acme", content=body, headers=raw).status_code == 401

    signed_payload()
    forged()


# Reconciliation


FLAT = {
    "kind": "deal",
    "user": "ann",
    "email": "ann@example.com",
    "company.id": "acme-gmbh",
    "company.tier": "gold",
    "deal.id": "7",
    "deal.at": AT,
    "deal.stage": "offer",
    "deal.amount": "1200.50",
    "deal.currency": "EUR",
    "deal.probability": "0.5",
}


def test_an_export_that_says_the_same_agrees(sales: Sales) -> None:
    sales.outcome(DEAL)
    for rows in ([DEAL], [FLAT], [FLAT, {"kind": "task"}]):
        report = sales.compare(*rows)
        assert report.agrees
        assert report.counts["equal"] == 1


def test_what_differs_is_told_with_both_values(sales: Sales) -> None:
    sales.outcome(DEAL)
    sales.outcome(deal("won", AT, id=8))
    other = {**FLAT, "deal.stage": "won", "deal.at": "2026-03-02T08:30:00Z"}
    report = sales.compare(other, {**FLAT, "deal.id": "9"}, {"kind": "deal"}, {**FLAT, "deal": "x"})
    assert not report.agrees
    assert {one.field: (one.here, one.there, one.owner) for one in report.differing} == {
        "properties.stage": ("offer", "won", None),
        "traits.deal_stage": ("offer", "won", "crm.acme"),
    }
    assert report.differing[0].here_updated_at < report.differing[0].there_updated_at
    assert [(one.type, one.id) for one in report.missing_here] == [("deal", "9")]
    assert [(one.type, one.id) for one in report.missing_there] == [("deal", "8")]
    assert [one.line for one in report.unreadable] == [4, 5]
    assert report.counts["rows"] == 4


def test_a_trait_that_another_source_owns_is_told(sales: Sales, database: Database) -> None:
    contact = {"kind": "contact", "contact": {"id": "c", "at": AT, "email": "a@example.com", "city": "Bonn"}}
    traits = Traits(database, {"city": "product"}, PersonsProfiles())
    sales.traits.owners = traits.owners
    sales.outcome(contact)
    (user,) = {fact.user_id or "" for fact in sales.events()}
    intake = Intake(database, identities=IdentityService(database), traits=traits)
    alias = Event("m0", "eve", "alias", {}, START, START, type="alias", previous_id=user)
    told = Event("m1", "eve", "identify", {"city": "Köln"}, START, START, type="identify")
    intake.take([alias, told])
    report = sales.compare(contact)
    assert report.agrees
    (one,) = report.overruled
    assert (one.trait, one.there, one.counts, one.owner) == ("city", "Bonn", "Köln", "product")


def test_a_reconciliation_over_http(sales: Sales) -> None:
    sales.outcome(DEAL)
    lines = [{"line": 2, "values": FLAT}, {"line": 3, "error": "the line is not UTF-8"}]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\nnonsense\n"
    report = sales.http.post("/v1/crm/acme/reconcile", content=body).json()
    assert (report["agrees"], report["counts"]["equal"], report["counts"]["unreadable"]) == (False, 1, 2)
    assert sales.http.post("/v1/crm/nobody/reconcile", content=body).status_code == 404


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        ("sources: [{id: a, type: kind, objects: []}]", "sources.0.objects"),
        ("sources: [{id: a, type: 'a[', objects: []}]", "is no JMESPath"),
        ("sources: [{id: a, type: t, objects: [{when: x, id: i, updated_at: u, event: e}]}]", "whose it is"),
        (
            "sources: [{id: a, type: t, objects: [{when: x, id: i, updated_at: u, user_id: w}]}]",
            "nothing would",
        ),
        (CRM.replace("currency_path: deal.currency", "minor_digits: 3"), "money has either"),
        (CRM.replace("ignore: [task]", "ignore: [deal]"), "deal: a type is mapped once"),
        (CRM + CRM.replace("sources:", "").replace("id: acme", "id: acme"), "an id is one source's"),
        (CRM.replace("owns:", "secret: whsec_x\n    owns:"), "sources.0.secret"),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(tmp_path: Path, definition: str, what: str) -> None:
    path = tmp_path / "crm.yaml"
    path.write_text(definition)
    with pytest.raises(CrmDefinitionError) as refused:
        read_crm(path)
    assert what in str(refused.value)
    assert str(path) in str(refused.value)


def test_an_account_alone_is_told_of_in_any_order_and_once(sales: Sales) -> None:
    later = "2026-03-02T08:30:00Z"
    assert sales.send(company("gold", later)).json()["outcome"] == "recorded"
    assert sales.send(company("gold", later)).json()["outcome"] == "duplicate"
    assert sales.send(company("silver", AT)).json()["outcome"] == "older"
    with sales.database.read() as connection:
        held = accounts.account(connection, "acme-gmbh")
        changes = ledger.read_after(connection, 0, kind=Kind.CHANGE, labels=["account_told"])
    assert held is not None
    assert held.traits == {"tier": "gold"}
    assert [one.decode(dict)["traits"] for one in changes] == [{"tier": "gold"}]


def test_an_account_alone_must_be_named(sales: Sales) -> None:
    nameless = sales.send({"kind": "company", "company": {"at": AT, "tier": "gold"}}).json()
    assert nameless["outcome"] == "quarantined"
    assert "no account is named: `company.id` is missing" in nameless["reason"]


def test_a_mapping_of_nobody_is_refused(tmp_path: Path) -> None:
    of_nobody = CRM.replace("      - when: company\n", "      - when: company\n        event: told\n", 1)
    (tmp_path / "crm.yaml").write_text(of_nobody)
    with pytest.raises(CrmDefinitionError, match="name whose it is"):
        read_crm(tmp_path / "crm.yaml")
