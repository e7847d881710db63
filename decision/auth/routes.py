"""Which route a request is for, and who may use it, before the application sees the request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path

from decision.auth.access import Access

_EVERYTHING = re.compile("")


class Declared(msgspec.Struct, frozen=True):
    """A route as an application has it; `methods` is None where it takes all."""

    path: str
    methods: frozenset[str] | None
    pattern: re.Pattern[str]


class Unrouted(msgspec.Struct, frozen=True):
    """No route takes the request; `allowed` methods are those of the routes that have its path."""

    allowed: tuple[str, ...] = ()


def declared_routes(routes: Sequence[BaseRoute]) -> Iterator[Declared]:
    """Yield the routes of an application in the order in which it looks at them, included ones in place."""
    for route in iter_route_contexts(routes):
        methods = frozenset(route.methods) if route.methods else None
        if route.path is None or not route.path.startswith("/"):
            # It can't be told what such a route takes, so nothing that comes after is let through.
            yield Declared(str(route.path), None, _EVERYTHING)
        else:
            prefix = methods is None and not hasattr(route.original_route, "endpoint")
            path = route.path.rstrip("/") + "/{path:path}" if prefix else route.path
            yield Declared(route.path, methods, compile_path(path)[0])


class Routes:
    """Finds the route of a request as the application will, and who may use it."""

    def __init__(
        self, routes: Callable[[], Sequence[BaseRoute]], access: Mapping[tuple[str, str], Access]
    ) -> None:
        self._routes = routes
        self._access = access
        self._declared: list[Declared] = []
        self._exact: dict[tuple[str, str], Access | None] = {}

    def find(self, method: str, path: str) -> Access | Unrouted | None:
        """Return who may use the route of a request; None where nobody said."""
        try:
            return self._exact[method, path]
        except KeyError:
            pass
        found = self._match(method, path)
        if isinstance(found, Unrouted):
            # A route may have been added since.
            self._declared = list(declared_routes(self._routes()))
            found = self._match(method, path)
        if isinstance(found, Unrouted):
            return found
        access = self._access.get(("GET" if method == "HEAD" else method, found.path))
        if found.path == path:
            self._exact[method, path] = access
        return access

    def _match(self, method: str, path: str) -> Declared | Unrouted:
        allowed: set[str] = set()
        for route in self._declared:
            if route.pattern.match(path):
                if route.methods is None or method in route.methods:
                    return route
                allowed |= route.methods
        return Unrouted(tuple(sorted(allowed)))
