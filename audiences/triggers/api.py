"""HTTP routes of triggers: what there is, and firing one by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from audiences.errors import UnknownUser
from audiences.repository import are_known
from audiences.triggers.service import TriggerService
from storage.engine import Database


class ByHand(BaseModel):
    """For whom to fire a trigger, who says so, and a key that makes a repeat harmless."""

    model_config = ConfigDict(extra="forbid")

    user_ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=255)]], Field(min_length=1)]
    by: Annotated[str, Field(min_length=1, max_length=255)]
    key: Annotated[str, Field(min_length=1, max_length=255)]


def router(database: Database, triggers: TriggerService) -> APIRouter:
    """Return the routes of triggers."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/triggers")
    def list_triggers() -> list[dict[str, Any]]:
        """Every trigger as it is defined, for how many users it ever fired, and when it did last."""
        return triggers.describe()

    @routes.post("/triggers/{trigger}/fire")
    def fire(trigger: str, by_hand: ByHand) -> dict[str, int]:
        """Fire a trigger for some users; the same key does so at most once for a user."""
        with database.read() as connection:
            unknown = sorted(set(by_hand.user_ids) - are_known(connection, by_hand.user_ids))
        if unknown:
            some = ", ".join(map(repr, unknown[:5]))
            raise UnknownUser(f"{len(unknown)} of these users are not known, {some} first; nothing was fired")
        fired = triggers.fire_by_hand(trigger, by_hand.user_ids, by=by_hand.by, key=by_hand.key)
        return {"fired": fired}

    return routes
