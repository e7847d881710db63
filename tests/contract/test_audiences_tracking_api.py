"""The tracking routes over HTTP on both databases: whatever is sent, the answer is precise, never a 5xx."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from audiences.events import Event, EventBody, MessageType
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.tracking.answers import Answer
from audiences.tracking.api import add_routes
from audiences.tracking.limits import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from decision import problems
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind
from tests.conftest import START

ORDER: dict[str, Any] = {"userId": "ann", "event": "order_completed", "properties": {"value": 12.5}}
PATHS = [*(f"/v1/{type_}" for type_ in get_args(MessageType)), "/v1/batch"]


class Planned:
    """A plan that knows everything but `strange`, and takes one address for a machine's."""

    def check(self, event: Event) -> tuple[Event, str]:
        return event, "nobody planned it" if event.name == "strange" else ""

    def why(self, event: Event) -> str:
        return "a scanner" if event.context.get("ip") == "192.0.2.1" else ""


class Tracked:
    """The routes on one database, behind a real server."""

    def __init__(self, http: httpx2.Client, database: Database, answers: list[Answer]) -> None:
        self.http, self.database, self.answers = http, database, answers

    def batch(self, *messages: Any, **around: Any) -> dict[str, Any]:
        response = self.http.post("/v1/batch", json={"batch": messages, **around})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def facts(self, kind: Kind = Kind.EVENT) -> list[Fact]:
        with self.database.read() as connection:
            return ledger.read_after(connection, 0, kind=kind)


@pytest.fixture
def tracked(database: Database, clock: SimulatedClock) -> Iterator[Tracked]:
    app, answers = FastAPI(), list[Answer]()
    problems.install(app)
    identities = IdentityService(database)
    intake = Intake(database, plan=Planned(), machines=Planned(), identities=identities)
    add_routes(app, intake, clock, _source, answers.append, lambda _source, _number: None)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as http:
        while not server.started:
            time.sleep(0.01)
        yield Tracked(http, database, answers)
    server.should_exit = True
    thread.join()


def _source(request: Request) -> str:
    return request.headers.get("x-source", "key1")


def test_each_call_of_the_spec_is_recorded(tracked: Tracked) -> None:
    extra = {"previousId": "a1", "groupId": "acme", "event": "seen", "name": "Home", "traits": {"age": 3}}
    for path in PATHS[:-1]:
        response = tracked.http.post(path, json={"userId": "ann", **extra})
        assert response.json() == {
            "accepted": 1,
            "duplicates": 0,
            "machine": 0,
            "quarantined": [],
            "refused": [],
            "success": True,
        }
    labels = ["seen", "identify", "page_viewed", "screen_viewed", "group", "alias"]
    assert sorted(fact.label for fact in tracked.facts()) == sorted(labels)
    bodies = {fact.label: fact.decode(EventBody) for fact in tracked.facts()}
    assert {body.source for body in bodies.values()} == {"key1"}
    assert bodies["group"].account_id == "acme"
    assert bodies["page_viewed"].properties == {"name": "Home"}
    assert bodies["page_viewed"].type == "page"


def test_a_batch_is_answered_message_by_message(tracked: Tracked) -> None:
    order = {**ORDER, "messageId": "m1", "type": "track"}
    answer = tracked.batch(
        {**order, "userId": None},
        order,
        {**order, "messageId": "m2", "event": "strange"},
        order,
        {**order, "properties": {}},
        {**order, "messageId": "m3", "context": {"ip": "192.0.2.1"}},
        7,
    )
    refused = answer.pop("refused")
    assert answer == {
        "accepted": 1,
        "duplicates": 1,
        "machine": 1,
        "quarantined": [{"index": 2, "message_id": "m2", "reason": "nobody planned it"}],
        "success": True,
    }
    assert [(one["index"], one["message_id"]) for one in refused] == [(0, "m1"), (4, "m1"), (6, None)]
    assert "`userId` is missing" in refused[0]["error"]
    assert "was used before" in refused[1]["error"]
    assert [fact.id for fact in tracked.facts()] == ["m1"]
    assert [fact.id for fact in tracked.facts(Kind.QUARANTINED)] == ["m2"]
    assert [fact.id for fact in tracked.facts(Kind.MACHINE_EVENT)] == ["m3"]
    assert tracked.answers[-1].accepted == 1


def test_a_batch_larger_than_a_turn_of_the_writer(tracked: Tracked) -> None:
    messages = [{**ORDER, "messageId": f"m{n % 600}", "type": "track"} for n in range(700)]
    answer = tracked.batch(*messages, {"userId": "ann"})
    assert (answer["accepted"], answer["duplicates"]) == (600, 100)
    assert [one["index"] for one in answer["refused"]] == [700]


def test_an_id_used_for_something_else_is_a_conflict(tracked: Tracked) -> None:
    assert tracked.http.post("/v1/track", json={**ORDER, "messageId": "m1"}).json()["accepted"] == 1
    assert tracked.http.post("/v1/track", json={**ORDER, "messageId": "m1"}).json()["duplicates"] == 1
    response = tracked.http.post("/v1/track", json={**ORDER, "messageId": "m1", "event": "other"})
    assert (response.status_code, response.json()["type"]) == (409, "urn:nextplay:problem:message-conflict")


def test_the_clock_of_a_device_is_corrected(tracked: Tracked) -> None:
    message = {**ORDER, "type": "track", "timestamp": "2031-01-01T00:00:00Z"}
    assert tracked.batch(message, sentAt="2031-01-01T00:10:00Z")["accepted"] == 1
    (fact,) = tracked.facts()
    assert fact.occurred_at == START - timedelta(minutes=10)


def test_gzip(tracked: Tracked) -> None:
    body = json.dumps({"batch": [{**ORDER, "type": "track"}] * 2}).encode()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    response = tracked.http.post("/v1/batch", content=gzip.compress(body), headers=headers)
    assert response.json()["accepted"] == 2


@pytest.mark.parametrize(
    ("path", "body", "encoding", "status"),
    [
        ("/v1/batch", gzip.compress(b" " * (MAX_BATCH_BYTES + 1), mtime=0), "gzip", 413),
        ("/v1/track", gzip.compress(b" " * (MAX_MESSAGE_BYTES + 1), mtime=0), "gzip", 413),
        ("/v1/batch", b" " * (MAX_BATCH_BYTES + 1), "", 413),
        ("/v1/batch", b"plain", "gzip", 400),
        ("/v1/batch", gzip.compress(b'{"batch": []}', mtime=0)[:-4], "gzip", 400),
        ("/v1/batch", b'{"batch": []}', "br", 415),
        ("/v1/batch", b'{"batch": []}', "identity", 200),
        ("/v1/batch", b"", "gzip", 400),
    ],
)
def test_bodies_that_are_too_large_or_not_what_they_say(
    tracked: Tracked, path: str, body: bytes, encoding: str, status: int
) -> None:
    response = tracked.http.post(path, content=body, headers={"Content-Encoding": encoding})
    assert response.status_code == status, response.text
    if status != 200:
        assert response.json()["detail"]


# Values that are hard to take, as they would arrive; the text around them can still be told apart.
HARD = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e-999",
    b"9" * 400,
    b"9" * 5_000,
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    rb'"\ud800"',
    rb'"\u0000"',
    rb'{"\u0000": 1}',
    b"[" * 3_000 + b"]" * 3_000,
    b'{"a":' * 40 + b"1" + b"}" * 40,
    b'{"a": 1, "a": 2}',
    b'"' + b"x" * 40_000 + b'"',
    b"{" + b",".join(b'"k%d": 0' % n for n in range(1_500)) + b"}",
]
# Identities, good and odd, in the places where they are looked for.
HARD += [
    b'{"email": "a@example.com", "phone": "+49 30 123456", "email_verified": true}',
    rb'{"email": "\u0001@\ud800", "phone": 1e300}',
    b'{"phone": -12, "email": ["a@example.com"]}',
    b'{"externalIds": [{"id": "1", "type": "open_id"}], "verified": ["open_id", "email"]}',
    rb'{"externalIds": [{"id": "x\u0000", "type": "email"}, {"id": "\ud83d", "type": "\uffff"}]}',
    b'{"device": {"id": "d1", "token": 5}, "groupId": "acme", "traits": {"email": "b@example.com"}}',
    b'{"verified": ["email"], "traits": {"email": "a@example.com"}}',
    '"{}"'.format("\U0001f600" * 255).encode(),
]
# These leave nothing to be told apart.
BROKEN = [b"{", b"", b"'", b'"']
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SPECIAL = st.sampled_from(
    ["2026-03-02T09:00:00Z", "1970-01-01", 0, 1772442000, -1e300, "\0", " ", "x" * 300, "é😀"]
)
READABLE = st.sampled_from(HARD) | (PLAIN | SPECIAL).map(lambda value: json.dumps(value).encode())
VALUE = READABLE | st.sampled_from(BROKEN)
FIELDS = [
    "type", "messageId", "userId", "anonymousId", "previousId", "groupId", "event", "name", "category",
    "properties", "traits", "context", "timestamp", "originalTimestamp", "sentAt", "integrations", "writeKey",
    "batch",
]  # fmt: skip
USUAL = {
    "userId": b'"ann"', "event": b'"seen"', "previousId": b'"a1"', "groupId": b'"acme"', "type": b'"track"',
}  # fmt: skip


def text_of(fields: dict[str, bytes]) -> bytes:
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name, value in fields.items()) + b"}"


def message_of(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    changes = st.dictionaries(st.sampled_from(FIELDS), value, max_size=4)
    return changes.map(lambda made: text_of({**USUAL, **made}))


MESSAGE = message_of(VALUE)
BATCH = st.tuples(
    st.lists(MESSAGE | VALUE, max_size=4), st.dictionaries(st.sampled_from(FIELDS[:-1]), VALUE, max_size=1)
).map(lambda made: text_of({**made[1], "batch": b"[" + b", ".join(made[0]) + b"]"}))
ON_ONE_SERVER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@given(st.sampled_from(PATHS), MESSAGE | BATCH | VALUE | st.binary(max_size=50), st.booleans())
@settings(ON_ONE_SERVER, max_examples=150)
def test_whatever_is_sent_is_never_a_server_error(
    tracked: Tracked, path: str, body: bytes, zipped: bool
) -> None:
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    response = tracked.http.post(path, content=gzip.compress(body) if zipped else body, headers=headers)
    assert response.status_code < 500, response.text
    answer = response.json()
    if response.status_code != 200:
        assert answer["status"] == response.status_code
        assert answer["detail"]


@given(message_of(READABLE))
@settings(ON_ONE_SERVER, max_examples=80)
def test_a_good_message_is_kept_whatever_lies_beside_it(tracked: Tracked, message: bytes) -> None:
    good_id = f"good-{time.perf_counter_ns()}"
    good = text_of({**USUAL, "messageId": f'"{good_id}"'.encode()})
    response = tracked.http.post("/v1/batch", content=b'{"batch": [' + message + b", " + good + b"]}")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [one["index"] for one in answer["refused"]] in ([], [0])
    told = ("accepted", "duplicates", "machine")
    assert sum(answer[name] for name in told) + len(answer["quarantined"]) + len(answer["refused"]) == 2
    with tracked.database.read() as connection:
        assert ledger.get(connection, Kind.EVENT, good_id) is not None
