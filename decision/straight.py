"""Takes the requests of one route straight to it, past the router and what stands between them.

Routing, exception handlers and exit stacks cost as much as reading and answering a small request. The route
is declared to the application all the same: it answers whatever is not taken here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from decision import problems
from decision.observe import traces
from storage.errors import NextplayError

Endpoint = Callable[[Request], Awaitable[Response]]


class Straight:
    """ASGI middleware, the innermost one: what stands outside of it holds for the route as for all others."""

    def __init__(self, app: ASGIApp, method: str, path: str, endpoint: Endpoint) -> None:
        self._app = app
        self._method, self._path, self._endpoint = method, path, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Spans of routes are named by the router.
        if scope.get("path") != self._path or scope.get("method") != self._method or traces.on():
            await self._app(scope, receive, send)
            return
        scope["endpoint"] = self._endpoint
        try:
            response = await self._endpoint(Request(scope, receive, send))
        except NextplayError as error:
            response = problems.answered(error)
        await response(scope, receive, send)
