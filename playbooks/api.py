"""HTTP routes of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from playbooks.library import Library


def router(library: Callable[[], Library]) -> APIRouter:
    """Return the routes that show what is live."""
    routes = APIRouter(prefix="/v1", tags=["playbooks"])

    @routes.get("/playbooks")
    def list_playbooks() -> list[dict[str, Any]]:
        """Every live playbook with its version and the number of its arms."""
        return [
            {
                "id": playbook.id,
                "version": playbook.version,
                "name": playbook.document.name,
                "placement": playbook.document.placement,
                "audience": playbook.document.audience,
                "priority": playbook.document.priority,
                "arms": len(playbook.arms),
            }
            for playbook in library().playbooks
        ]

    return routes
