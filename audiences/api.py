"""HTTP routes of the audiences room that operators read from: users."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter

from audiences import repository
from audiences.identity.looking import Lookup
from audiences.identity.people import People
from audiences.selection.memberships import Memberships
from storage import ledger
from storage.clock import Clock
from storage.engine import Database


def router(
    database: Database, clock: Clock, memberships: Memberships, people: People, lookup: Lookup
) -> APIRouter:
    """Return the routes that operators and the demo read from."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/users/{user_id}")
    def show_user(user_id: str, limit: int = 50) -> dict[str, Any]:
        """A person's audiences, tags and latest facts, newest first, by any id or `kind:value`."""
        now: datetime = clock.now()
        user_id = lookup.canonical(user_id)
        members = people.members(user_id)
        with database.read() as connection:
            tags = repository.tags_of(connection, members, now)
            facts = ledger.of_users(connection, members, limit=min(max(limit, 1), 1000))
        return {
            "user_id": user_id,
            "members": list(members),
            "audiences": sorted(memberships.of(user_id)),
            "tags": tags,
            "history": [
                {
                    "kind": fact.kind,
                    "label": fact.label,
                    "id": fact.id,
                    "profile": fact.user_id,
                    "occurred_at": fact.occurred_at,
                    "body": msgspec.json.decode(fact.body),
                }
                for fact in facts
            ],
        }

    return routes
