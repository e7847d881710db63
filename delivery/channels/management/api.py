"""HTTP routes of channels: how each is doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter

from delivery.channels.management.documents import Management
from delivery.channels.management.health import health
from delivery.errors import UnknownChannel
from playbooks.suggesting import closest
from storage.clock import Clock
from storage.engine import Database


def router(
    database: Database, clock: Clock, kinds: Mapping[str, str], management: Mapping[str, Management]
) -> APIRouter:
    """Return the routes; `kinds` are those of the channels by name, `management` how each is used."""
    routes = APIRouter(prefix="/v1", tags=["channels"])

    @routes.get("/channels")
    def list_channels() -> dict[str, Any]:
        """How every channel is doing: state, queue, rate, breaker, quota, what came of the last minutes."""
        return {"channels": listing(database, clock, kinds, management)}

    @routes.get("/channels/{name}")
    def show_channel(name: str) -> dict[str, Any]:
        """How one channel is doing."""
        return listing(database, clock, one_of(kinds, name), management)[0]

    return routes


def one_of(kinds: Mapping[str, str], name: str) -> dict[str, str]:
    """Return one channel with its kind. Raises UnknownChannel."""
    if name not in kinds:
        raise UnknownChannel(f"there is no channel {name!r}{closest(name, kinds)}")
    return {name: kinds[name]}


def listing(
    database: Database, clock: Clock, kinds: Mapping[str, str], management: Mapping[str, Management]
) -> list[dict[str, Any]]:
    """Return how channels are doing, as plain data."""
    now = clock.now()
    with database.read() as connection:
        return [
            msgspec.to_builtins(health(connection, name, kind, management[name], now))
            for name, kind in kinds.items()
        ]
