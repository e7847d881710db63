"""The HTTP route of traits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from audiences.texts import fit
from audiences.traits.service import Traits


def router(traits: Traits) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["traits"])

    @routes.get("/users/{user_id}/traits")
    def show_traits(user_id: str) -> dict[str, Any]:
        """What is said of a user: the value that counts, its source and owner, and what was overruled."""
        return {"user_id": user_id, "traits": traits.of(fit(user_id, "the user's id"))}

    return routes
