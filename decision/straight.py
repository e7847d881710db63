"""Takes the requests of one route straight to it, past the router and what stands between them.

Routing, exception handlers and exit stacks cost as much as reading and answering a small request. The route
is declared to the application all the same: it answers whatever is not taken here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from decision.observe import traces

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
        request = Request(scope, receive, send)
        try:
            response = await self._endpoint(request)
        except Exception as error:
            refusal = await _refused(request, error)
            if refusal is None:
                raise
            response = refusal
        await response(scope, receive, send)


async def _refused(request: Request, error: Exception) -> Response | None:
    """Return what the application's own handler answers, None where it has none for such an error."""
    handlers = request.app.exception_handlers
    for kind in type(error).__mro__:
        if kind is Exception:
            # What is unexpected is for the layer outside of all others.
            return None
        if (handler := handlers.get(kind)) is not None:
            answered = handler(request, error)
            response: Response = await answered if isinstance(answered, Awaitable) else answered
            return response
    return None
