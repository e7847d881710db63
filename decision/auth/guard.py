"""Lets a request through to its route when the route is public or the request holds a key that may use it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from decision import problems
from decision.auth import body_key
from decision.auth.access import PUBLIC, ROUTES, Access
from decision.auth.errors import KeyMissing, KeyUnknown, RouteUndeclared, ScopeMissing, Unauthenticated
from decision.auth.models import KEY_PATTERN, Key, ordered
from decision.auth.routes import Routes, Unrouted
from decision.auth.service import Keys
from decision.auth.verifier import Verifier
from storage.errors import NextplayError

_SCOPE_KEY = "nextplay.key"
_BEARER = re.compile(rb"[Bb]earer +" + KEY_PATTERN.encode())
_USER_NAME = re.compile(KEY_PATTERN.encode() + rb":.*", re.DOTALL)
_REALM = 'realm="nextplay"'
_WEBSOCKET_REFUSED = 1008


class Guard:
    """ASGI middleware. What no route of the application takes is answered here and never reaches it."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        routes: Callable[[], Sequence[BaseRoute]],
        access: Mapping[tuple[str, str], Access] = ROUTES,
    ) -> None:
        self._app = app
        self._verifier = Verifier(keys)
        self._routes = Routes(routes, access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            # Nothing here speaks websocket, so nobody has said who may.
            await send({"type": "websocket.close", "code": _WEBSOCKET_REFUSED})
        elif (access := self._routes.find(scope["method"], scope["path"])) is PUBLIC:
            await self._app(scope, receive, send)
        elif isinstance(access, Unrouted):
            refusal = problems.unrouted(scope["method"], scope["path"], access.allowed)
            await refusal(scope, receive, send)
        else:
            try:
                given = _header(scope)
                if given is None and access is not None and access.basic:
                    given, receive = await body_key.found(scope, receive)
                if access is None:
                    raise RouteUndeclared(
                        f"nobody has said who may use {scope['method']} {scope['path']}, so nobody may"
                    )
                presented = _presented(given, access)
                key = self._verifier.at_once(*presented) or await self._verifier.verify(*presented)
                scope[_SCOPE_KEY] = _admitted(key, access)
            except NextplayError as error:
                await _refusal(error, access)(scope, receive, send)
                return
            await self._app(scope, receive, send)


def install(app: FastAPI, keys: Keys) -> None:
    """Guard every route of an application, and say in its OpenAPI document that it asks for a key."""
    app.add_middleware(Guard, keys=keys, routes=lambda: app.routes)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def key_of(request: Request) -> Key:
    """Return the key that a request was let through with."""
    key: Key = request.scope[_SCOPE_KEY]
    return key


def source_of(request: Request) -> str:
    """Return who sends the events of a request: the id of its key."""
    return key_of(request).id


def name_of(request: Request) -> str:
    """Return who does what a request asks for: the name of its key, which a rotated key goes on with."""
    key = key_of(request)
    return key.name or key.id


def _header(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            given: bytes = value
            return given
    return None


def _presented(given: bytes | None, access: Access) -> tuple[bytes, bytes]:
    """Return id and secret of the key that a request presents.

    Raises:
        KeyMissing: it presents none.
        KeyUnknown: what it presents is not a key's text.
    """
    if given is None:
        raise KeyMissing(
            "a key is needed: send `Authorization: Bearer np_…`; "
            "an operator makes one with `nextplay keys create`"
        )
    found = _BEARER.fullmatch(given)
    if found is None and given[:6].lower() == b"basic ":
        if not access.basic:
            raise KeyUnknown("basic auth is for the event routes only: send `Authorization: Bearer np_…`")
        found = _USER_NAME.fullmatch(_decoded(given[6:]))
    if found is None:
        raise KeyUnknown("what was sent is not the text of a key: send `Authorization: Bearer np_…`")
    return found[1], found[2]


def _admitted(key: Key, access: Access) -> Key:
    if access.scopes.isdisjoint(key.grants):
        raise ScopeMissing(
            f"this needs a key with the scope {_named(access)}; the key {key.id} has "
            f"{', '.join(ordered(key.scopes))}"
        )
    return key


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _refusal(error: NextplayError, access: Access | None) -> problems.Problem:
    refusal = problems.of_error(error)
    challenge = f"Bearer {_REALM}"
    if isinstance(error, Unauthenticated):
        if error.error is not None:
            challenge += f', error="{error.error}"'
        refusal.headers.append("WWW-Authenticate", challenge)
        if access is not None and access.basic:
            refusal.headers.append("WWW-Authenticate", f"Basic {_REALM}")
    elif isinstance(error, ScopeMissing) and access is not None:
        scopes = " ".join(ordered(access.scopes))
        refusal.headers["WWW-Authenticate"] = f'{challenge}, error="insufficient_scope", scope="{scopes}"'
    return refusal


def _named(access: Access) -> str:
    return " or ".join(ordered(access.scopes))
