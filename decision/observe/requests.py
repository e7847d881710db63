"""Around every request: counted, timed, numbered, and one line in the log for those who want it.

A pure ASGI layer, outside of all others. It costs a few microseconds; the line of the log is only made where
the level lets it through: answers of 500 and more as warnings, all others at `debug`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import Any

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decision.observe import metrics
from decision.observe.ids import begin_request, request_id

_log = structlog.get_logger(__name__)
# Asked at every request; the standard library remembers the answer (see `decision.logs.NAME`).
_wanted = logging.getLogger("nextplay")

# A request that met no route: its path is the client's invention and is kept nowhere.
NO_ROUTE = "none"
REQUEST_ID = b"x-request-id"
_REFUSED = 400
_FAILED = 500


class ObserveRequests:
    """Counts and logs the requests of an application. Refusals and failures carry an `X-Request-Id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._plain: dict[Any, str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        begin_request()
        status = 0

        def answer(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= _REFUSED:
                    message["headers"] = [*message["headers"], (REQUEST_ID, (request_id() or "").encode())]
            return send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception:
            # The layer outside of this one answers it.
            status = status or _FAILED
            raise
        finally:
            route = self._template(scope)
            seconds = time.perf_counter() - started
            metrics.answered(route, scope["method"], status, seconds)
            if status >= _FAILED or _wanted.isEnabledFor(logging.DEBUG):
                _line(scope["method"], route, status, seconds)

    def _template(self, scope: Scope) -> str:
        route = scope.get("route")
        if route is not None:
            return str(route.path)
        # Routes that go past FastAPI leave only their function behind.
        if self._plain is None:
            self._plain = {one.endpoint: one.path for one in scope["app"].routes if type(one) is Route}
        return self._plain.get(scope.get("endpoint"), NO_ROUTE)


def _line(method: str, route: str, status: int, seconds: float) -> None:
    level = logging.WARNING if status >= _FAILED else logging.DEBUG
    _log.log(level, "request", method=method, route=route, status=status, ms=round(seconds * 1000, 2))
