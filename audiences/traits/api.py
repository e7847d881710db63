"""The HTTP route of traits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from audiences.identity.looking import Lookup
from audiences.traits.service import Traits


def router(traits: Traits, lookup: Lookup) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["traits"])

    @routes.get("/users/{user_id}/traits")
    def show_traits(user_id: str) -> dict[str, Any]:
        """What is said of a person: the value that counts, its source and owner, and what was overruled."""
        person = lookup.canonical(user_id)
        return {"user_id": person, "traits": traits.of(person)}

    return routes
