"""The guarded service over HTTP: every route by every kind of key, bodies of any size, every problem."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket
from typer.testing import CliRunner, Result

from decision import key_commands
from decision.app import create_app
from decision.auth.access import PUBLIC, ROUTES
from decision.auth.models import KEY_PATTERN, KeyText, Scope, mint
from decision.auth.routes import Declared, Routes, Unrouted, declared_routes
from decision.auth.service import Keys
from decision.body_limit import DEFAULT_LIMIT, LIMITS
from decision.demo.run import LIBRARY
from decision.settings import Settings, load_settings
from decision.wiring import Service
from storage.errors import ConfigurationError, NextplayError
from tests.faults.launcher import Request as Started
from tests.launching import Forked, launcher, running_service
from tests.migrated import copy_migrated

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROBLEM = "application/problem+json"
HUNDRED_MB = 100_000_000
# A path of every declared route; what is in it does not exist, so nothing is done.
FILLED = re.compile(r"{\w+}")


@dataclass
class Guarded:
    """The application, what it stands on, and a client without a key."""

    app: FastAPI
    service: Service
    keys: Keys
    http: httpx2.Client
    admin: KeyText

    def key(self, *scopes: Scope, lifetime: timedelta | None = None) -> str:
        """Make a key and return the header that presents it."""
        person = "ann" if Scope.WORK in scopes else None
        return bearer(self.keys.create("test", scopes, lifetime, by="test", person=person)[1])

    def ask(self, method: str, path: str, header: str | None = None, **given: Any) -> httpx2.Response:
        headers = {} if header is None else {"Authorization": header}
        return self.http.request(method, FILLED.sub("none", path), headers=headers, **given)

    @property
    def port(self) -> int:
        return int(self.http.base_url.port or 0)


def bearer(text: KeyText | str) -> str:
    return f"Bearer {text}"


def basic(user: KeyText | str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem document of a response, which must be whole."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:nextplay:problem:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == response.request.url.raw_path.decode().partition("?")[0]
    return document


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A whole service in this process, so that its routes can be walked, behind a real server."""
    data = tmp_path_factory.mktemp("guarded")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "people.yaml").write_text("people: [{id: ann, name: Ann}]\n")
    admin = mint()
    service = Service(Settings(data=data, clock=START, schedule=False, admin_key=SecretStr(str(admin))))
    app = create_app(service)
    add_broken_routes(app)
    (keys,) = [one.kwargs["keys"] for one in app.user_middleware if "keys" in one.kwargs]
    assert isinstance(keys, Keys)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with httpx2.Client(base_url=url, timeout=30) as http:
        while not server.started:
            time.sleep(0.01)
        yield Guarded(app, service, keys, http, admin)
    server.should_exit = True
    thread.join()
    service.close()


# Routes that take no key, and what they answer to somebody who names nothing that there is.
OPEN = {
    "/v1/forms/{form_id}": (404, "unknown-form"),
    "/v1/webhooks/{source}": (401, "webhook-refused"),
    "/t/{token}": (404, "link-broken"),
    "/p/{token}": (404, "link-broken"),
    "/u/{token}": (404, "link-broken"),
    "/v1/receipts/{channel}": (401, "webhook-refused"),
    "/v1/tasks/callback": (401, "webhook-refused"),
}
# Pages that take the key from a cookie, and what they answer to somebody who has none.
PAGES = {
    "/inbox": 200,
    "/inbox/key": 401,
    "/inbox/leave": 303,
    "/inbox/{task_id}": 303,
    "/inbox/{task_id}/{what}": 303,
}
UNDECLARED = ("/undeclared", "/v1/undeclared/{what}", "/mounted/anything")


def add_broken_routes(app: FastAPI) -> None:
    """Add routes that nobody declared, of every sort."""

    async def raw(_request: Request) -> Response:
        return PlainTextResponse("you should not see this")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()

    app.add_route("/undeclared", raw)
    app.get("/v1/undeclared/{what}")(lambda what: what)
    app.router.routes.append(Mount("/mounted", routes=[Route("/anything", raw)]))
    app.websocket("/talk")(talk)


def routes_of(guarded: Guarded) -> list[Declared]:
    return [
        route
        for route in declared_routes(guarded.app.routes)
        if route.path not in (*UNDECLARED, "/mounted", "/talk")
    ]


def calls(guarded: Guarded) -> list[tuple[str, str]]:
    """Return method and path of everything that the application takes."""
    return [(method, one.path) for one in routes_of(guarded) for method in sorted(one.methods or {"GET"})]


# Declarations


def test_every_route_declares_who_may_use_it(guarded: Guarded) -> None:
    found = {(method, path) for method, path in calls(guarded) if method != "HEAD"}
    assert len(found) > 20
    assert found - ROUTES.keys() == set(), "name the route in decision/auth/access.py"
    assert ROUTES.keys() - found == set(), "no such route any more"


def test_what_is_public_is_on_this_list() -> None:
    public = {path for (_, path), access in ROUTES.items() if not access.scopes}
    served = {"/health", "/ready", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
    assert public == {*served, *OPEN, *PAGES}
    assert all(access is PUBLIC for access in ROUTES.values() if not access.scopes)


def test_the_route_found_is_the_one_the_application_takes(guarded: Guarded) -> None:
    routes = Routes(lambda: guarded.app.routes, ROUTES)
    for method, path in calls(guarded):
        expected = ROUTES["GET" if method == "HEAD" else method, path]
        for _ in range(2):
            assert routes.find(method, FILLED.sub("x", path)) is expected
    assert routes.find("GET", "/v1/users/a/b") == Unrouted()
    assert routes.find("GET", "/v1/decide") == Unrouted(("POST",))
    assert routes.find("POST", "/v1/decide/") == Unrouted()
    assert routes.find("POST", "/V1/decide") == Unrouted()
    assert routes.find("POST", "//v1/decide") == Unrouted()


@pytest.mark.parametrize("path", UNDECLARED)
def test_an_undeclared_route_is_refused_to_everybody(guarded: Guarded, path: str) -> None:
    for header in (None, bearer(mint()), bearer(guarded.admin)):
        assert "nobody may" in problem(guarded.ask("GET", path, header), 403, "route-undeclared")["detail"]


def test_a_websocket_is_refused(guarded: Guarded) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Authorization": bearer(guarded.admin),
    }
    assert guarded.http.get("/talk", headers=headers).status_code == 403


def test_a_route_added_later_is_guarded(guarded: Guarded) -> None:
    problem(guarded.ask("GET", "/added"), 404, "not-found")
    guarded.app.add_route("/added", lambda _request: PlainTextResponse("open"))
    try:
        problem(guarded.ask("GET", "/added", bearer(guarded.admin)), 403, "route-undeclared")
    finally:
        guarded.app.router.routes.pop()


def test_the_api_says_that_it_asks_for_a_key(guarded: Guarded) -> None:
    for _ in range(2):
        schema = guarded.ask("GET", "/openapi.json").json()
    assert schema["security"] == [{"key": []}]
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert schema["components"]["schemas"]["KeyWish"]


def test_the_api_tells_of_deciding(guarded: Guarded) -> None:
    schema = guarded.ask("GET", "/openapi.json").json()
    decide, known = schema["paths"]["/v1/decide"]["post"], schema["components"]["schemas"]

    def resolved(content: Any) -> Any:
        return known[content["application/json"]["schema"]["$ref"].rpartition("/")[2]]

    asked = resolved(decide["requestBody"]["content"])
    assert asked["required"] == ["placement"]
    assert asked["properties"]["deadline_ms"]["anyOf"][0]["maximum"] == 60_000
    answer = resolved(decide["responses"]["200"]["content"])
    assert {"decision_id", "propensity", "suppressed", "message"} <= answer["properties"].keys()
    named = set(re.findall(r'"#/components/schemas/(decide\.\w+)"', json.dumps(schema)))
    assert len(named) > 5
    assert named <= known.keys()


# Keys on every route


def test_without_a_key_only_public_routes_answer(guarded: Guarded) -> None:
    for method, path in calls(guarded):
        response = guarded.ask(method, path)
        if method == "HEAD":
            assert response.status_code in (OPEN.get(path, (PAGES.get(path, 200),))[0], 401)
        elif path in OPEN:
            problem(response, *OPEN[path])
        elif ROUTES[method, path] is PUBLIC:
            assert response.status_code == PAGES.get(path, 200), path
        else:
            assert response.headers.get_list("www-authenticate")[0] == 'Bearer realm="nextplay"'
            assert "nextplay keys create" in problem(response, 401, "key-missing")["detail"]


def test_every_route_refuses_keys_that_do_not_count(guarded: Guarded) -> None:
    expired = guarded.key(Scope.ADMIN, lifetime=timedelta(microseconds=1))
    text = guarded.keys.create("test", [Scope.ADMIN], by="test")[1]
    guarded.keys.revoke(text.id, by="test")
    wrong = {
        bearer(mint()): "key-unknown",
        bearer("sesame"): "key-unknown",
        "Digest x": "key-unknown",
        "": "key-unknown",
        bearer(f"{guarded.admin}x"): "key-unknown",
        bearer(KeyText(guarded.admin.id, mint().secret)): "key-unknown",
        expired: "key-expired",
        bearer(text): "key-revoked",
    }
    for method, path in calls(guarded):
        if ROUTES["GET" if method == "HEAD" else method, path] is PUBLIC or method == "HEAD":
            continue
        for header, code in wrong.items():
            response = guarded.ask(method, path, header)
            said = problem(response, 401, code)["detail"]
            assert 'error="invalid_token"' in response.headers["www-authenticate"]
            if code != "key-unknown":
                assert code.removeprefix("key-") in said


def test_every_route_refuses_a_key_without_its_scope(guarded: Guarded) -> None:
    single = {scope: guarded.key(scope) for scope in Scope if scope is not Scope.ADMIN}
    for (method, path), access in ROUTES.items():
        if access is PUBLIC:
            continue
        for scope, header in single.items():
            if scope in access.scopes:
                continue
            response = guarded.ask(method, path, header)
            said = problem(response, 403, "scope-missing")["detail"]
            for needed in access.scopes:
                assert needed in said
            assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


def test_every_route_lets_its_scopes_in_and_admin(guarded: Guarded) -> None:
    for (method, path), access in ROUTES.items():
        if path in OPEN or path in PAGES:
            continue
        # Without a body no route with a body does anything; what is revoked or rotated does not exist.
        for scope in {*access.scopes, Scope.ADMIN}:
            status = guarded.ask(method, path, guarded.key(scope)).status_code
            assert status not in (401, 403, 405, 413), (method, path, scope)
            assert status < 500, (method, path, scope)


def test_event_routes_take_the_key_as_a_user_name(guarded: Guarded) -> None:
    text = guarded.keys.create("test", [Scope.EVENTS, Scope.DECIDE], by="test")[1]
    message = {"userId": "ann", "event": "page_viewed"}
    for password in ("", "anything"):
        assert guarded.ask("POST", "/v1/track", basic(text, password), json=message).json()["accepted"] == 1
    for wrong in (
        basic(mint()),
        basic("", str(text)),
        "Basic",
        "Basic !",
        "Basic " + "=" * 9,
        f"basic {text}",
    ):
        response = guarded.ask("POST", "/v1/track", wrong, json=message)
        problem(response, 401, "key-unknown")
        assert response.headers.get_list("www-authenticate")[1] == 'Basic realm="nextplay"'
    refused = guarded.ask("POST", "/v1/decide", basic(text), json={"user_id": "ann", "placement": "outbound"})
    assert "event routes only" in problem(refused, 401, "key-unknown")["detail"]
    assert len(refused.headers.get_list("www-authenticate")) == 1


# Keys over HTTP


def test_a_key_is_made_shown_rotated_and_revoked(guarded: Guarded) -> None:
    admin = bearer(guarded.admin)
    wish = {"name": "shop", "scopes": ["decide", "events"], "expires_in": "P90D"}
    made = guarded.ask("POST", "/v1/keys", admin, json=wish)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    key = made.json()
    assert re.fullmatch(KEY_PATTERN, key["key"])
    created, expires = (datetime.fromisoformat(key[name]) for name in ("created_at", "expires_at"))
    assert expires - created == timedelta(days=90)
    # Real time, not the service's.
    assert abs(created - datetime.now(UTC)) < timedelta(minutes=1)
    decide = {"user_id": "ann", "placement": "outbound"}
    assert guarded.ask("POST", "/v1/decide", bearer(key["key"]), json=decide).status_code == 200

    rotated = guarded.ask("POST", f"/v1/keys/{key['id']}/rotate", admin, json={"grace": "PT1H"}).json()
    assert rotated["rotated_from"] == key["id"]
    for text in (key["key"], rotated["key"]):
        assert guarded.ask("POST", "/v1/decide", bearer(text), json=decide).status_code == 200
    assert guarded.ask("DELETE", f"/v1/keys/{key['id']}", admin).json()["state"] == "revoked"
    problem(guarded.ask("POST", "/v1/decide", bearer(key["key"]), json=decide), 401, "key-revoked")
    assert guarded.ask("POST", "/v1/decide", bearer(rotated["key"]), json=decide).status_code == 200

    listed = guarded.ask("GET", "/v1/keys", admin)
    states = {one["id"]: one["state"] for one in listed.json()}
    assert (states[key["id"]], states[rotated["id"]]) == ("revoked", "valid")
    for secret in (key["key"], rotated["key"]):
        assert secret.rpartition("_")[2] not in listed.text
    changes = guarded.ask("GET", "/v1/summary", admin).json()["changes"]
    assert changes["key_created"] >= 2
    assert changes["key_rotated"] >= 1
    assert changes["key_revoked"] >= 1


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({}, 422),
        ({"name": "x", "scopes": ["fly"]}, 422),
        ({"name": "x", "scopes": ["decide"], "expires_in": "soon"}, 422),
        ({"name": "x", "scopes": ["decide"], "colour": "red"}, 422),
        ({"name": "x", "scopes": []}, 409),
        ({"name": "", "scopes": ["decide"]}, 409),
        ({"name": "x", "scopes": ["decide"], "expires_in": "P9000000D"}, 409),
        ({"name": "x", "scopes": ["decide"], "expires_in": -1}, 409),
    ],
)
def test_a_wish_that_can_not_be(guarded: Guarded, wish: dict[str, Any], status: int) -> None:
    before = len(guarded.keys.all())
    response = guarded.ask("POST", "/v1/keys", bearer(guarded.admin), json=wish)
    problem(response, status, "invalid-request" if status == 422 else "key-unfit")
    assert len(guarded.keys.all()) == before


def test_a_key_that_does_not_exist(guarded: Guarded) -> None:
    problem(guarded.ask("DELETE", "/v1/keys/none", bearer(guarded.admin)), 404, "no-such-key")


# Problems of every kind


def test_what_is_not_there_and_what_is_not_taken(guarded: Guarded) -> None:
    for path in ("/nothing", "/v1/decide/", "/v1/decisions/", "/%E2%82%AC", "/v1/users/a%2Fb/c"):
        problem(guarded.ask("POST", path), 404, "not-found")
    response = guarded.ask("DELETE", "/v1/clock")
    assert response.headers["allow"] == "GET, PUT"
    assert "it takes GET, PUT" in problem(response, 405, "method-not-allowed")["detail"]


def test_a_request_that_is_not_understood(guarded: Guarded) -> None:
    admin = bearer(guarded.admin)
    problem(guarded.ask("PUT", "/v1/clock", admin, content=b"{"), 422, "invalid-request")
    problem(guarded.ask("PUT", "/v1/clock", admin, json={"now": "then"}), 422, "invalid-request")
    as_text = guarded.ask("PUT", "/v1/clock", admin, content=b'{"now": "2026-03-02T09:00:00Z"}')
    told = problem(as_text, 422, "invalid-request")["detail"]
    assert told == "body: it is sent without a Content-Type: send it with Content-Type: application/json"
    problem(guarded.ask("GET", "/v1/users/ann?limit=many", admin), 422, "invalid-request")
    shaping = {"guards": [], "costs": {"EU": 1}, "why": "dear"}
    told = problem(guarded.ask("PUT", "/v1/shaping", admin, json=shaping), 422, "invalid-request")["detail"]
    assert told.startswith("body.costs: there is no currency 'EU'")
    problem(guarded.ask("POST", "/v1/decide", admin, content=b"{"), 400, "bad-request")


def test_what_nobody_expected(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(guarded.keys, "all", fail)
    guarded.keys.generation -= 1
    try:
        response = guarded.ask("GET", "/v1/clock", bearer(guarded.admin))
    finally:
        guarded.keys.generation += 1
    assert "secret" not in response.text
    problem(response, 500, "internal")


# Bodies


def test_each_route_has_its_limit(guarded: Guarded) -> None:
    admin = bearer(guarded.admin)
    for path, limit in {**LIMITS, "/v1/keys": DEFAULT_LIMIT}.items():
        assert guarded.ask("POST", path, admin, content=b" " * limit).status_code in (400, 422)
        response = guarded.ask("POST", path, admin, content=b" " * (limit + 1))
        assert str(limit) in problem(response, 413, "content-too-large")["detail"]
        assert response.headers["connection"] == "close"

        def chunks(size: int = limit + 1) -> Iterator[bytes]:
            for start in range(0, size, 10_000):
                yield b" " * min(10_000, size - start)

        problem(guarded.ask("POST", path, admin, content=chunks()), 413, "content-too-large")
        assert guarded.ask("POST", path, admin, content=chunks(limit)).status_code in (400, 422)


def sent(port: int, head: str, body: Iterator[bytes], seconds: float = 20.0) -> tuple[bytes, int]:
    """Send what a client of bad manners sends; return the answer and how much of the body went out."""
    went = 0
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(head.encode())
        try:
            for chunk in body:
                connection.sendall(chunk)
                went += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
    return received, went


def much(chunked: bool = False) -> Iterator[bytes]:
    piece = b"x" * 100_000
    for _ in range(HUNDRED_MB // len(piece)):
        yield b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    if chunked:
        yield b"0\r\n\r\n"


def head(path: str, key: KeyText, *lines: str) -> str:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {bearer(key)}", *lines, "", ""])


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/batch", "/v1/keys"])
@pytest.mark.parametrize("length", [f"Content-Length: {HUNDRED_MB}", "Transfer-Encoding: chunked"])
def test_a_hundred_megabytes_are_neither_read_nor_kept(guarded: Guarded, path: str, length: str) -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    answer, went = sent(guarded.port, head(path, guarded.admin, length), much("chunked" in length))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert document["type"] == "urn:nextplay:problem:content-too-large"
    assert went < HUNDRED_MB / 2
    assert process.memory_info().rss - before < 30_000_000
    assert guarded.http.get("/health").status_code == 200


def test_a_body_that_is_asked_for_first_is_never_sent(guarded: Guarded) -> None:
    lines = (f"Content-Length: {HUNDRED_MB}", "Expect: 100-continue")
    answer, _ = sent(guarded.port, head("/v1/batch", guarded.admin, *lines), iter(()))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_without_a_key_a_body_without_end_is_not_waited_for(guarded: Guarded) -> None:
    lines = ["POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "", ""]
    started = time.monotonic()
    answer, went = sent(guarded.port, "\r\n".join(lines), much(chunked=True))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert went < HUNDRED_MB / 2
    # Neither is one that does not come at all.
    answer, _ = sent(guarded.port, "\r\n".join(lines), iter(()))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - started < 10


def test_a_content_length_that_lies(guarded: Guarded) -> None:
    body = b'{"user_id": "ann", "placement": "outbound"}'
    # More than said: what follows is no request, and is refused as such.
    answer, _ = sent(
        guarded.port,
        head("/v1/decide", guarded.admin, f"Content-Length: {len(body)}"),
        iter([body, b"x" * 200_000]),
    )
    assert answer[:13] in (b"HTTP/1.1 200 ", b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 200 ") <= 1
    for lie in ("-1", "many", "99999999999999999999999"):
        answer, _ = sent(
            guarded.port, head("/v1/decide", guarded.admin, f"Content-Length: {lie}"), iter([body])
        )
        assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")
    assert guarded.http.get("/health").status_code == 200


def test_a_connection_is_kept_after_a_refusal_of_a_small_body(guarded: Guarded) -> None:
    body = b"{}"
    one = f"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    last = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer, _ = sent(guarded.port, "", iter([one, one, last]))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401", b"401", b"200"]


# The command line


def nextplay(*arguments: str, key: str = "") -> Result:
    """Run a command of keys in this process."""
    return CliRunner().invoke(key_commands.app, arguments, env={"NEXTPLAY_KEY": key or None})


def refused(run: Result) -> str:
    """Return what a command refused with; the command line shows it in one line."""
    assert isinstance(run.exception, NextplayError), run.output
    assert run.stdout == ""
    said = str(run.exception)
    assert "\n" not in said
    return said


def test_keys_of_a_running_service(guarded: Guarded) -> None:
    place = ("--url", f"http://127.0.0.1:{guarded.port}")
    admin = str(guarded.admin)
    made = nextplay("create", "--name", "shop", "--scope", "decide", "--expires", "P90D", *place, key=admin)
    assert re.fullmatch(KEY_PATTERN + "\n", made.stdout), made.stderr
    assert "shop: decide, until " in made.stderr
    key_id = made.stdout.split("_")[1]
    rotated = nextplay("rotate", key_id, "--grace", "PT0S", *place, key=admin)
    assert re.fullmatch(KEY_PATTERN + "\n", rotated.stdout)
    successor = rotated.stdout.split("_")[1]
    assert "is revoked" in nextplay("revoke", successor, *place, key=admin).stdout
    lines = nextplay("list", *place, key=admin).stdout.splitlines()
    states = {line.split("\t")[0]: line.split("\t")[1] for line in lines[1:]}
    assert (states[key_id], states[successor]) == ("expired", "revoked")

    assert "is not one of this service" in refused(nextplay("list", *place, key=str(mint())))
    assert "needs a key with the scope admin" in refused(nextplay("list", *place))
    assert "there is no key 'none'" in refused(nextplay("revoke", "none", *place, key=admin))
    assert "'soon' is no duration" in refused(
        nextplay("create", "--name", "x", "--scope", "decide", "--expires", "soon", *place, key=admin)
    )


def test_the_file_of_a_running_service_is_left_alone(guarded: Guarded) -> None:
    said = refused(nextplay("list", "--data", str(guarded.service.settings.data)))
    assert "a service runs on" in said
    assert "--url http://127.0.0.1:8321" in said


def test_the_command_line_when_no_service_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "there is no database" in refused(nextplay("list", "--data", str(data)))
    assert not data.exists()
    copy_migrated(data / "nextplay.db")
    made = nextplay("create", "--name", "rescue", "--scope", "admin", "--data", str(data))
    assert re.fullmatch(KEY_PATTERN + "\n", made.stdout), made.stderr
    assert "rescue" in nextplay("list", "--data", str(data)).stdout
    unreachable = refused(nextplay("list", "--url", "http://127.0.0.1:1", key=made.stdout.strip()))
    assert "no service answers at http://127.0.0.1:1" in unreachable
    assert "give one of them" in refused(nextplay("list", "--url", "http://x", "--data", str(data)))


def test_an_odd_key_in_the_settings(tmp_path: Path) -> None:
    generated = nextplay("generate").stdout
    assert re.fullmatch(KEY_PATTERN + "\n", generated)
    assert load_settings(data=tmp_path, admin_key=generated.strip()).admin_key is not None
    with pytest.raises(ConfigurationError, match="nextplay keys generate") as error:
        load_settings(data=tmp_path, admin_key=generated[:-2])
    assert generated[:-2] not in str(error.value)


def test_the_first_start_prints_a_key_that_opens(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(LIBRARY, data / "library")
    said, log = tmp_path / "said", tmp_path / "log"
    process = Forked(
        launcher().start(
            Started(["serve", "--data", str(data), "--port", "0", "--no-schedule"], str(said), str(log))
        )
    )
    printed = ""
    while "--key …" not in printed:
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
        printed = said.read_text() if said.exists() else ""
    process.terminate()
    process.wait(60)
    found = re.search(KEY_PATTERN, printed)
    assert found is not None
    assert found[0] not in log.read_text()
    # The next start has another key from the environment and prints none; both open.
    with running_service(data, clock=START, seed="test", log=tmp_path / "next.log") as client:
        assert client.get("/v1/clock")
        headers = {"Authorization": bearer(found[0])}
        assert client.http.get("/v1/keys", headers=headers).status_code == 200
        kept = {one["name"] for one in client.get("/v1/keys")}
    assert kept == {"first", "settings"}
    assert not re.search(KEY_PATTERN, (tmp_path / "next.log").read_text())


def _event(**fields: Any) -> bytes:
    return json.dumps({"userId": "ann", "event": "seen", **fields}).encode()


def test_the_event_routes_take_a_key_from_the_body(guarded: Guarded) -> None:
    key = guarded.key(Scope.EVENTS).removeprefix("Bearer ")
    headers = {"Content-Encoding": "gzip"}
    zipped = gzip.compress(_event(writeKey=key))
    assert guarded.http.post("/v1/track", content=_event(writeKey=key)).json()["accepted"] == 1
    assert guarded.http.post("/v1/track", content=zipped, headers=headers).json()["accepted"] == 1
    batch = json.dumps({"batch": [json.loads(_event())] * 300, "writeKey": key}).encode()
    assert guarded.http.post("/v1/batch", content=batch).json()["accepted"] == 300


def test_a_key_in_the_body_counts_no_more_than_one_in_the_header(guarded: Guarded) -> None:
    key = guarded.key(Scope.EVENTS).removeprefix("Bearer ")
    wrong = {
        _event(): "key-missing",
        _event(writeKey=5): "key-missing",
        b"no json": "key-missing",
        b"[" * 5_000: "key-missing",
        _event(writeKey=str(mint())): "key-unknown",
        _event(writeKey=f"{key}\n"): "key-unknown",
        _event(writeKey="é"): "key-unknown",
    }
    for body, code in wrong.items():
        response = guarded.http.post("/v1/track", content=body)
        problem(response, 401, code)
        assert "Basic" in response.headers["www-authenticate"]
    bomb = gzip.compress(b" " * 50_000_000)
    response = guarded.http.post("/v1/track", content=bomb[:30_000], headers={"Content-Encoding": "gzip"})
    problem(response, 401, "key-missing")
    decide = guarded.key(Scope.DECIDE).removeprefix("Bearer ")
    problem(guarded.http.post("/v1/track", content=_event(writeKey=decide)), 403, "scope-missing")
    # The header goes first, and other routes look at nothing else.
    response = guarded.ask("POST", "/v1/track", bearer(mint()), content=_event(writeKey=key))
    problem(response, 401, "key-unknown")
    problem(guarded.http.post("/v1/decide", content=_event(writeKey=decide)), 401, "key-missing")
