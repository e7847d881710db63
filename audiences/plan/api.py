"""HTTP routes of the tracking plan."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from audiences.plan.live import Live
from audiences.plan.plan import Plan


def router(live: Live[Plan]) -> APIRouter:
    """Return the routes of the tracking plan."""
    routes = APIRouter(prefix="/v1/plan", tags=["audiences"])

    def told() -> dict[str, Any]:
        plan = live.value
        return {
            "unknown": "quarantine" if plan.refuses_unknown else "accept",
            "events": {
                name: {"mode": one.mode, "schema": one.schema} for name, one in sorted(plan.planned.items())
            },
            "refused": live.refused or None,
        }

    @routes.get("")
    def show() -> dict[str, Any]:
        """The plan that holds now, and why its files are refused if they are."""
        return told()

    @routes.post("/reload")
    def reload() -> dict[str, Any]:
        """Read the plan's files again; wrong ones are refused and the plan that holds stays."""
        live.reload()
        return told()

    return routes
