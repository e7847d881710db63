"""HTTP route of liveness."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter

from audiences.liveness.service import Liveness
from storage.clock import Clock


def router(liveness: Liveness, clock: Clock) -> APIRouter:
    """Return the route that shows every source."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])
    one_at_a_time = threading.Lock()

    @routes.get("/sources")
    def sources() -> list[dict[str, Any]]:
        """Every source and its events: what comes, what usually comes, and whether that is odd."""
        with one_at_a_time:
            return liveness.describe(clock.now())

    return routes
