"""A route that is taken past the router answers as the router would."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from decision import problems
from decision.straight import Straight
from storage.errors import DatabaseUnavailable, NextplayError

FAILURES: dict[str, Exception] = {
    "own": DatabaseUnavailable("away"),
    "lost": ConnectionResetError("gone"),
    "unexpected": ValueError("no"),
}


def app_of(straight: bool, seen: list[str]) -> FastAPI:
    app = FastAPI()
    problems.install(app)

    async def lost(_request: Request, error: Exception) -> Response:
        return problems.problem(503, "lost", str(error))

    app.add_exception_handler(OSError, lost)

    async def echo(request: Request) -> Response:
        body = (await request.body()).decode()
        seen.append("router" if "router" in request.scope else "straight")
        if body in FAILURES:
            raise FAILURES[body]
        return Response(body)

    app.add_route("/echo", echo, methods=["POST"])
    if straight:
        app.add_middleware(Straight, method="POST", path="/echo", endpoint=echo)
    return app


def ask(app: FastAPI, body: str, method: str = "POST", path: str = "/echo") -> tuple[int, bytes]:
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
    }
    try:
        asyncio.run(app(scope, receive, send))
    except ValueError:
        # Raised again for the server's log, once it is answered.
        assert told
    return told[0]["status"], b"".join(one.get("body", b"") for one in told)


@pytest.mark.parametrize("body", ["hello", *FAILURES])
def test_answers_and_refusals_are_those_of_the_router(body: str) -> None:
    ways: list[str] = []
    straight, routed = ask(app_of(True, ways), body), ask(app_of(False, ways), body)
    assert straight == routed
    assert ways == ["straight", "router"]
    assert straight[0] == {"hello": 200, "own": 503, "lost": 503, "unexpected": 500}[body]
    assert isinstance(FAILURES["own"], NextplayError)


def test_other_methods_and_paths_are_the_routers() -> None:
    app = app_of(True, [])
    assert ask(app, "hello", method="GET")[0] == 405
    assert ask(app, "hello", path="/echo/")[0] in (307, 404)
