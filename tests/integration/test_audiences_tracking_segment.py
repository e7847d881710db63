"""Segment's own Python client, pointed at the service and otherwise as it is."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from pydantic import SecretStr
from segment.analytics.client import Client
from segment.analytics.request import APIError

from audiences.events import EventBody
from decision.app import create_app
from decision.auth.models import KeyText, Scope, mint
from decision.auth.service import Keys
from decision.demo.run import LIBRARY
from decision.observe.metrics import REGISTRY
from decision.settings import Settings
from decision.wiring import Service
from storage import ledger, sqlite_writer
from storage.ledger import Fact, Kind
from storage.writer import Lane


class Pointed:
    """A service behind a real server, and what the client's error handler was told."""

    def __init__(self, service: Service, key: KeyText, host: str) -> None:
        self.service, self.key, self.host = service, key, host
        self.errors: list[Exception] = []

    def client(self, **options: Any) -> Client:
        given = {"write_key": str(self.key), "upload_interval": 0.05, **options}
        return Client(host=self.host, on_error=lambda error, _items: self.errors.append(error), **given)

    def facts(self, user: str) -> list[Fact]:
        with self.service.database.read() as connection:
            return [fact for fact in ledger.of_user(connection, user) if fact.kind is Kind.EVENT]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, KeyText, str]]:
    data = tmp_path_factory.mktemp("segment")
    shutil.copytree(LIBRARY, data / "library")
    service = Service(Settings(data=data, schedule=False, admin_key=SecretStr(str(mint()))))
    app = create_app(service)
    (keys,) = [one.kwargs["keys"] for one in app.user_middleware if "keys" in one.kwargs]
    assert isinstance(keys, Keys)
    _, key = keys.create("website", [Scope.EVENTS], None, by="test")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield service, key, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    service.close()


@pytest.fixture
def pointed(served: tuple[Service, KeyText, str]) -> Pointed:
    return Pointed(*served)


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex[:12]}"


@pytest.mark.parametrize(
    "options", [{}, {"gzip": True}, {"thread": 3, "upload_size": 2}, {"sync_mode": True}]
)
def test_every_call_arrives(pointed: Pointed, user: str, options: dict[str, Any]) -> None:
    client = pointed.client(**options)
    before = datetime.now(UTC)
    client.identify(user, {"plan": "gold", "value": float("nan")}, context={"ip": "192.0.2.7"})
    client.track(user, "order_completed", {"value": 12.5, "when": datetime(2026, 1, 1, tzinfo=UTC)})
    client.page(user, "Shop", "Home", {"path": "/"})
    client.screen(user, name="Cart")
    client.group(user, "acme", {"size": 3})
    client.track(user, "order_returned", timestamp=before - timedelta(days=3))
    if not options.get("sync_mode"):
        client.shutdown()
    assert pointed.errors == []
    facts = {fact.label: fact for fact in pointed.facts(user)}
    bodies = {label: fact.decode(EventBody) for label, fact in facts.items()}
    assert {label: body.type for label, body in bodies.items()} == {
        "identify": "identify",
        "order_completed": "track",
        "page_viewed": "page",
        "screen_viewed": "screen",
        "group": "group",
        "order_returned": "track",
    }
    assert bodies["identify"].properties == {"plan": "gold", "value": None}
    assert bodies["identify"].context == {"ip": "192.0.2.7"}
    assert bodies["page_viewed"].properties == {"path": "/", "name": "Home", "category": "Shop"}
    assert bodies["group"].account_id == "acme"
    assert {body.source for body in bodies.values()} == {pointed.key.id}
    late = timedelta(seconds=30)
    assert abs(facts["order_completed"].occurred_at - before) < late
    assert abs(facts["order_returned"].occurred_at - (before - timedelta(days=3))) < late


def test_an_anonymous_visitor_is_joined_by_an_alias(pointed: Pointed, user: str) -> None:
    client = pointed.client()
    client.track(anonymous_id=f"anonymous-{user}", event="seen")
    client.alias(f"anonymous-{user}", user)
    client.shutdown()
    assert pointed.errors == []
    assert "alias" in {fact.label for fact in pointed.facts(user)}


def test_what_is_sent_again_counts_once(pointed: Pointed, user: str) -> None:
    client = pointed.client()
    for _ in range(3):
        client.track(user, "order_completed", {"value": 1}, message_id=f"m-{user}")
    client.shutdown()
    assert pointed.errors == []
    assert [fact.id for fact in pointed.facts(user)] == [f"m-{user}"]


def test_a_wrong_key_is_told_to_the_error_handler(pointed: Pointed, user: str) -> None:
    client = pointed.client(write_key=str(mint()))
    client.track(user, "seen")
    client.shutdown()
    (error,) = pointed.errors
    assert isinstance(error, APIError)
    assert error.status == 401
    assert "not one of this service" in str(error)
    assert pointed.facts(user) == []


def test_a_client_waits_while_too_much_is_to_be_written_and_loses_nothing(
    pointed: Pointed, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "QUEUE_ROWS", 60)
    refused = _refused()
    database = pointed.service.database
    go_on, begun = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        begun.set()
        go_on.wait(60)

    held = database.writer.submit(hold, lane=Lane.REQUEST)
    assert begun.wait(60)
    database.writer.submit(lambda _: None, rows=50, lane=Lane.REQUEST)
    client = pointed.client()
    for number in range(10):
        client.track(user, "seen", {"number": number})
    waiting = threading.Timer(0.5, go_on.set)
    waiting.start()
    client.shutdown()
    held.result()
    assert _refused() > refused
    assert pointed.errors == []
    assert sorted(fact.decode(EventBody).properties["number"] for fact in pointed.facts(user)) == list(
        range(10)
    )


def _refused() -> float:
    return REGISTRY.get_sample_value("nextplay_writer_refusals_total", {"lane": "request"}) or 0.0
