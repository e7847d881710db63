"""HTTP routes of data quality."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from audiences.quality.service import Quality
from storage.clock import Clock

_MOST_HOURS = 24 * 92


def router(quality: Quality, clock: Clock) -> APIRouter:
    """Return the routes of data quality."""
    routes = APIRouter(prefix="/v1/quality", tags=["audiences"])

    @routes.get("")
    def report(hours: Annotated[int, Query(ge=1, le=_MOST_HOURS)] = 24) -> dict[str, Any]:
        """What came in during the last hours, by source and event, and how much of it anything uses."""
        return quality.report(clock.now(), hours=hours)

    @routes.get("/hours")
    def by_hour(hours: Annotated[int, Query(ge=1, le=24 * 14)] = 24) -> list[dict[str, Any]]:
        """The same figures hour by hour."""
        return quality.by_hour(clock.now(), hours=hours)

    return routes
