"""Forms on both databases, over HTTP: all of a submission or nothing, once, and no 5xx whatever comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiences.consent.models import Channel
from audiences.consent.repository import of_users
from audiences.consent.standing import allowed
from audiences.errors import FormDefinitionError
from audiences.events import Event, EventBody
from audiences.forms.api import add_form_routes
from audiences.forms.definitions import Rate, read_forms
from audiences.forms.guards import Buckets, Tokens
from audiences.forms.service import Forms
from audiences.identity.people import PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.repository import tags_of
from audiences.traits.service import Traits
from decision import problems
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind
from tests.conftest import START
from tests.serving import serving

FORMS = """
forms:
  - id: white_paper
    event: white_paper_asked_for
    fields:
      - {name: email, type: email, required: true, identity: email}
      - {name: phone, type: phone, identity: phone, trait: phone}
      - {name: company, max_length: 20, trait: company}
      - {name: seats, type: integer}
      - {name: topic, type: choice, choices: [pricing, security], property: subject}
    consents:
      - field: newsletter
        wording: {id: newsletter, version: "3", text: "Yes, write to me."}
        grants: [{purpose: marketing, channel: email}, {purpose: marketing, channel: sms}]
    tag: {name: downloaded, expires_after: P30D}
    download: https://www.example.com/white-paper.pdf
    origins: ["https://www.example.com"]
    honeypot: website
    rate: {burst: 1000, per_minute: 6000}
  - id: slow
    fields: [{name: email, type: email, identity: email}, {name: terms, type: boolean, required: true}]
    redirect: https://www.example.com/thanks
    minimal_seconds: 3
  - id: rare
    fields: [{name: email, type: email, identity: email}]
    rate: {burst: 2, per_minute: 1}
"""
GOOD = {"email": "Ann@Example.com", "company": "Acme", "seats": "12", "topic": "pricing", "newsletter": "on"}
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Site:
    """A site's forms, behind a real server."""

    http: httpx2.Client
    database: Database
    clock: SimulatedClock

    def send(self, form: str = "white_paper", headers: Any = None, **fields: Any) -> httpx2.Response:
        return self.http.post(f"/v1/forms/{form}", data=fields, headers=headers)

    def facts(self, kind: Kind) -> list[Fact]:
        with self.database.read() as connection:
            return ledger.read_after(connection, 0, kind=kind)

    def counts(self) -> dict[Kind, dict[str, int]]:
        with self.database.read() as connection:
            return ledger.counts(connection)


class NoWhitePapers:
    """A plan that does not know the form's event."""

    def check(self, event: Event) -> tuple[Event, str]:
        return event, "not planned" if event.name == "white_paper_asked_for" else ""


def site_of(database: Database, clock: SimulatedClock, folder: Path, **intake: Any) -> FastAPI:
    path = folder / "forms.yaml"
    path.write_text(FORMS)
    traits = Traits(database, profiles=PersonsProfiles())
    taken = Intake(database, identities=IdentityService(database), traits=traits, **intake)
    app = FastAPI()
    problems.install(app)
    add_form_routes(app, Forms(database, clock, taken, read_forms(path), b"k" * 32, "DE"), problems.of_error)
    return app


@pytest.fixture
def site(database: Database, clock: SimulatedClock, tmp_path: Path) -> Iterator[Site]:
    with serving(site_of(database, clock, tmp_path)) as http:
        yield Site(http, database, clock)


def test_a_submission_is_identity_event_consent_and_tag(site: Site) -> None:
    answer = site.send(**GOOD, phone="0170 1234567", submit="Send")
    assert answer.status_code == 200
    assert answer.json()["download"] == "https://www.example.com/white-paper.pdf"
    (identify, event) = site.facts(Kind.EVENT)
    body: EventBody = event.decode(EventBody)
    assert (event.label, identify.label) == ("white_paper_asked_for", "identify")
    assert body.properties == {"seats": 12, "subject": "pricing", "form": "white_paper"}
    assert body.source == "form.white_paper"
    assert identify.decode(EventBody).properties == {"company": "Acme", "phone": "+491701234567"}
    user = event.user_id or ""
    assert identify.user_id == user
    with site.database.read() as connection:
        said = of_users(connection, [user])
        tags = tags_of(connection, [user], START)
        later = tags_of(connection, [user], START + timedelta(days=31))
        assert allowed(said, "marketing", Channel.SMS)
    assert {one.wording and one.wording.version for one in said} == {"3"}
    assert {one.source for one in said} == {"form.white_paper"}
    assert (list(tags), later) == (["downloaded"], {})


def test_the_same_address_is_the_same_person(site: Site) -> None:
    site.send(**GOOD)
    site.send(**{**GOOD, "email": "ann@EXAMPLE.com"})
    assert len({fact.user_id for fact in site.facts(Kind.EVENT)}) == 1


def test_a_visitor_of_the_site_is_known_by_its_cookie(site: Site) -> None:
    site.send("rare", _anonymous_id="visitor-7")
    assert [fact.user_id for fact in site.facts(Kind.EVENT)] == ["anonymous:visitor-7"]


def test_an_empty_box_grants_nothing_and_takes_nothing_back(site: Site) -> None:
    site.send(**GOOD)
    site.send(**{**GOOD, "newsletter": "", "_submission": "other"})
    assert site.counts()[Kind.CONSENT] == {"granted": 2}


def test_a_submission_counts_once(site: Site) -> None:
    answers = [site.send(**GOOD, _submission="s-1") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["submission_id"] for answer in answers} == {"s-1"}
    before = site.counts()
    assert before[Kind.EVENT] == {"identify": 1, "white_paper_asked_for": 1}
    for other in ({"topic": "security"}, {"company": "Other"}):
        refused = site.send(**{**GOOD, **other}, _submission="s-1")
        assert (refused.status_code, refused.json()["type"]) == (
            409,
            "urn:nextplay:problem:submission-reused",
        )
    assert site.counts() == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"email": ""}, "email: it is missing"),
        ({"email": "nobody"}, "email: this is no e-mail address"),
        ({"phone": "call me"}, "phone: this is no phone number"),
        ({"company": "x" * 21}, "company: it has 21 characters, at most 20"),
        ({"company": "a\x00b"}, "company: it has a control character"),
        ({"seats": "many"}, "seats: it must be a number"),
        ({"seats": "1.5"}, "seats: it must be a whole number"),
        ({"seats": "1e999"}, "seats: it must be a number"),
        ({"topic": "gossip"}, "topic: it must be one of pricing, security"),
        ({"newsletter": "perhaps"}, "newsletter: it must be ticked or not"),
        ({"company": ["a", "b"]}, "company: it was sent more than once"),
        ({"_submission": "x" * 65}, "`_submission` must have 1 to 64"),
        ({"_submission": "a\x00"}, "control character"),
        ({"_anonymous_id": ":1"}, "must not begin with a colon"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(site: Site, change: dict[str, Any], what: str) -> None:
    answer = site.send(**{**GOOD, **change})
    assert answer.status_code in (400, 422)
    assert what in answer.json()["detail"]
    assert site.counts() == {}


def test_all_that_is_wrong_is_named_at_once(site: Site) -> None:
    detail = site.send(company="x" * 30, topic="y").json()["detail"]
    assert all(field in detail for field in ("email: ", "company: ", "topic: "))


def test_every_kind_of_body(site: Site) -> None:
    path = "/v1/forms/white_paper"
    assert (
        site.http.post(path, json={"email": "a@example.com", "seats": 3, "newsletter": True}).status_code
        == 200
    )
    parts: Any = {name: (None, value) for name, value in GOOD.items()}
    assert site.http.post(path, files=parts).status_code == 200
    assert site.counts()[Kind.EVENT]["white_paper_asked_for"] == 2
    with_file: Any = {**parts, "cv": ("cv.pdf", b"%PDF")}
    assert "files are not taken" in site.http.post(path, files=with_file).json()["detail"]
    assert site.http.post(path, content=b"<form/>", headers={"content-type": "text/xml"}).status_code == 415
    many = "&".join(f"f{number}=1" for number in range(300))
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    assert site.http.post(path, content=many, headers=urlencoded).status_code == 422


def test_browsers_are_sent_on(site: Site) -> None:
    answer = site.send(headers=BROWSER, **GOOD)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "https://www.example.com/white-paper.pdf",
    )


def test_only_pages_of_the_forms_origins(site: Site) -> None:
    ours, others = {"Origin": "https://www.example.com"}, {"Origin": "https://evil.example"}
    path = "/v1/forms/white_paper"
    asked = site.http.options(path, headers={**ours, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://www.example.com"
    assert "access-control-allow-origin" not in site.http.options(path, headers=others).headers
    wrong = site.send(headers=ours, email="nobody")
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (422, ours["Origin"])
    refused = site.send(headers=others, **GOOD)
    assert refused.status_code == 403
    assert site.counts() == {}


def test_the_description_is_what_a_site_needs(site: Site) -> None:
    form = site.http.get("/v1/forms/white_paper").json()
    assert [field["name"] for field in form["fields"]] == ["email", "phone", "company", "seats", "topic"]
    assert form["consents"][0]["wording"]["text"] == "Yes, write to me."
    assert site.send(**GOOD, **form["hidden"]).json()["submission_id"] == form["hidden"]["_submission"]
    assert site.http.get("/v1/forms/nothing").status_code == 404


def test_machines_are_kept_apart_and_do_not_notice(site: Site) -> None:
    person = site.send(**GOOD)
    machine = site.send(**GOOD, website="https://spam.example")
    assert machine.json().keys() == person.json().keys()
    (apart,) = site.facts(Kind.MACHINE_EVENT)
    assert "'website', which people do not see" in apart.body
    assert site.counts()[Kind.CONSENT] == {"granted": 2}
    assert site.counts()[Kind.TAG] == {"downloaded": 1}


def test_a_form_filled_in_at_once_was_not_filled_in_by_a_person(site: Site) -> None:
    hidden = site.http.get("/v1/forms/slow").json()["hidden"]
    fields = {"email": "a@example.com", "terms": "on"}
    assert site.send("slow", **fields, **hidden).status_code == 200
    assert set(site.counts()) == {Kind.MACHINE_EVENT}
    site.clock.move_to(START + timedelta(seconds=3))
    assert site.send("slow", **fields, **{**hidden, "_submission": "2"}).status_code == 200
    assert site.counts()[Kind.EVENT] == {"identify": 1, "form_submitted": 1}
    for token in ("", "1.2", "x", hidden["_token"] + "0", "\u0661." + "0" * 32):
        refused = site.send("slow", **fields, _token=token)
        assert (refused.status_code, "`_token` is missing" in refused.json()["detail"]) == (422, True)
    assert "terms: it is missing" in site.send("slow", email="a@example.com", _token=hidden["_token"]).text


def test_too_many_of_one_address_are_refused(site: Site) -> None:
    answers = [site.send("rare", email=f"a{number}@example.com").status_code for number in range(4)]
    assert answers == [200, 200, 429, 429]
    assert "retry-after" in site.send("rare", email="a@example.com").headers


def test_what_the_plan_does_not_know_is_set_aside_as_a_whole(
    database: Database, clock: SimulatedClock, tmp_path: Path
) -> None:
    with serving(site_of(database, clock, tmp_path, plan=NoWhitePapers())) as http:
        site = Site(http, database, clock)
        assert site.send(**GOOD).status_code == 200
        assert site.counts() == {Kind.QUARANTINED: {"white_paper_asked_for": 1}}


def test_buckets_fill_again() -> None:
    now = [0.0]
    buckets = Buckets(lambda: now[0])
    rate = Rate(burst=2, per_minute=60)
    assert [buckets.take("f", "a", rate) for _ in range(3)] == [True, True, False]
    assert buckets.take("f", "b", rate)
    assert buckets.take("g", "a", rate)
    now[0] = 1.0
    assert [buckets.take("f", "a", rate) for _ in range(2)] == [True, False]


def test_a_token_is_one_forms() -> None:
    tokens = Tokens(b"k")
    token = tokens.issue("a", START)
    assert tokens.opened("a", token) == START
    assert tokens.opened("b", token) is None
    assert Tokens(b"l").opened("a", token) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("forms: [", "not YAML"),
        ("forms: [{id: a, fields: []}]", "forms.0.fields"),
        ("forms: [{id: a, fields: [{name: _x}]}]", "forms.0.fields.0.name"),
        ("forms: [{id: a, fields: [{name: x}, {name: x}]}]", "x: a name is one field's"),
        ("forms: [{id: a, fields: [{name: x, type: choice}]}]", "has `choices`"),
        ("forms: [{id: a, fields: [{name: x, identity: email}]}]", "a field of the type email"),
        ("forms: [{id: a, fields: [{name: x}], redirect: 'javascript:x'}]", "forms.0.redirect"),
        ("forms: [{id: a, fields: [{name: x}], origins: ['example.com']}]", "is no origin"),
        ("forms: [{id: a, fields: [{name: x}], colour: red}]", "forms.0.colour"),
        ("forms: [{id: a, fields: [{name: x}]}, {id: a, fields: [{name: x}]}]", "an id is one form's"),
    ],
)
def test_a_wrong_definition_is_refused_with_its_place(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "forms.yaml"
    path.write_text(text)
    with pytest.raises(FormDefinitionError) as refused:
        read_forms(path)
    assert str(path) in str(refused.value)
    assert what in str(refused.value)


names = st.sampled_from([*GOOD, "phone", "website", "_submission", "_anonymous_id", "_token", "other"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)
kinds = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=b",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=b; charset=nonsense",
    ]
)
part = b'--b\r\nContent-Disposition: form-data; name="email"\r\n\r\na@example.com\r\n'
bodies = st.binary(max_size=200) | st.sampled_from(
    [part, part + b"--b--\r\n", b"--b\r\n", b"--b\r\n\r\nx\r\n--b--"]
)


def test_whatever_is_sent_is_answered(site: Site) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(names, values, max_size=6))
    def as_json(sent: dict[str, Any]) -> None:
        import json

        body = json.dumps({**{"email": "a@example.com"}, **sent})
        headers = {"content-type": "application/json"}
        assert site.http.post("/v1/forms/white_paper", content=body, headers=headers).status_code < 500

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kinds, bodies)
    def as_bytes(kind: str, body: bytes) -> None:
        answer = site.http.post("/v1/forms/white_paper", content=body, headers={"content-type": kind})
        assert answer.status_code < 500

    as_json()
    as_bytes()
