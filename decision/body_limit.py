"""Refuses a body larger than its route takes, without reading it all or keeping it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping
from typing import get_args

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiences.crm.api import MAX_EXPORT_BYTES, MAX_WEBHOOK_BYTES
from audiences.events import MessageType
from audiences.forms.api import MAX_FORM_BYTES
from audiences.selection.lists import MAX_BYTES as MAX_LIST_BYTES
from audiences.tracking.limits import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from decision import problems
from decision.api import MAX_DECIDE_BYTES
from delivery.coupons.api import MAX_STOCK_BYTES
from delivery.preferences.api import MAX_PREFERENCES_BYTES
from delivery.receipts.api import MAX_RECEIPTS_BYTES
from playbooks.api import MAX_LIBRARY_BYTES

LIMITS: Mapping[str, int] = {
    "/v1/decide": MAX_DECIDE_BYTES,
    **{f"/v1/{type_}": MAX_MESSAGE_BYTES for type_ in get_args(MessageType)},
    "/v1/batch": MAX_BATCH_BYTES,
    "/v1/library/validate": MAX_LIBRARY_BYTES,
    "/v1/library/import": MAX_LIBRARY_BYTES,
    "/v1/coupon-stock": MAX_STOCK_BYTES,
}
# Of paths that begin so; what follows is a name.
PREFIXES: Mapping[str, int] = {
    "/v1/forms/": MAX_FORM_BYTES,
    "/v1/webhooks/": MAX_WEBHOOK_BYTES,
    "/v1/receipts/": MAX_RECEIPTS_BYTES,
    "/t/": MAX_PREFERENCES_BYTES,
    "/p/": MAX_PREFERENCES_BYTES,
    "/u/": MAX_PREFERENCES_BYTES,
    "/v1/crm/": MAX_EXPORT_BYTES,
}
# Files of users, whose route has the audience's name in it.
_LISTS = re.compile(r"/v1/audiences/[^/]+/(list|test)")
DEFAULT_LIMIT = 1024 * 1024

# A server that closes while the client still sends resets the connection, and the answer may be lost with it.
# So the answer goes out first, then this much is read and thrown away before the connection is closed.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 8 * 1024 * 1024


class BodyLimit:
    """ASGI middleware that counts what it lets through of a body that does not say how long it is.

    Of one that says so the server gives no more than was said: what follows is the next request.
    """

    def __init__(
        self, app: ASGIApp, limits: Mapping[str, int] = LIMITS, default: int = DEFAULT_LIMIT
    ) -> None:
        self._app = app
        self._limits = limits
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            limit = self._limits.get(scope["path"]) or self._by_pattern(scope["path"])
            announced = _announced(scope["headers"])
            if announced > limit:
                await _Counted(scope, receive, send, limit, announced).run(self._app)
                return
        await self._app(scope, receive, send)

    def _by_pattern(self, path: str) -> int:
        if _LISTS.fullmatch(path):
            return MAX_LIST_BYTES
        return next((limit for start, limit in PREFIXES.items() if path.startswith(start)), self._default)


def install(app: FastAPI) -> None:
    """Limit the bodies that an application is sent."""
    app.add_middleware(BodyLimit)


def _announced(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Return how many bytes a body is to have, infinity where nobody knows before it ends."""
    announced = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return math.inf
        if name == b"content-length" and value.isdigit():
            announced = int(value)
    return announced


class _TooLarge(Exception):
    """Unwinds the application; what it answers to that is not sent."""


class _Counted:
    """One request whose body is counted, or refused for the length it announces."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int, announced: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._limit = limit
        self._read = 0
        self._endless = math.isinf(announced)
        self._waits = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
        )
        self._ended = self._started = self._too_large = False

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer, unless the body turns out to be too large."""
        if not self._endless:
            await self._refuse()
            return
        try:
            await app(self._scope, self._receive_some, self._send_some)
        except Exception:
            if not self._too_large or self._started:
                raise
        if self._too_large and not self._started:
            await self._refuse()

    async def _receive_some(self) -> Message:
        message = await self._take()
        if self._read > self._limit:
            self._too_large = True
            raise _TooLarge
        return message

    async def _take(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True
        return message

    async def _send_some(self, message: Message) -> None:
        if self._too_large and not self._started:
            return
        self._started = True
        if not self._ended:
            # Answered before the end of a body that may never end.
            await self._send_and_close(message)
        else:
            await self._send(message)

    async def _refuse(self) -> None:
        refusal = problems.problem(
            413,
            "content-too-large",
            f"the body has more than the {self._limit} bytes that are taken here: send less at a time",
        )
        await refusal(self._scope, self._receive, self._send_and_close)

    async def _send_and_close(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await self._send(message)
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._throw_away()
            await self._send({"type": "http.response.body"})

    async def _throw_away(self) -> None:
        if self._waits and not self._read:
            # Reading would tell the client to begin to send.
            return
        enough = self._read + _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._ended and self._read < enough:
                    await self._take()
        except TimeoutError:
            pass
