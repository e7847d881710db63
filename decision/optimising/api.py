"""HTTP routes of the optimisation log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from decision.optimising.undoing import Undoing
from learning import change_repository
from learning.optimisation_log import entry_of
from storage.engine import Database

MAX_CHANGES = 500


class UndoBody(BaseModel):
    """Why a change is taken back."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


def router(
    database: Database, undoing: Undoing, name_of: Callable[[Request], str], served: Callable[[], None]
) -> APIRouter:
    """Return the routes of the log; `served` is called after something was taken back."""
    routes = APIRouter(prefix="/v1", tags=["changes"])

    @routes.get("/changes")
    def list_changes(
        what: Annotated[list[str] | None, Query(description="Kinds of things; all without it.")] = None,
        before: Annotated[int | None, Query(ge=1, description="Only entries with a smaller seq.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_CHANGES)] = 100,
    ) -> dict[str, Any]:
        """What changed, newest first: before and after, who or what, why, the evidence, what undoes it."""
        with database.read() as connection:
            found = change_repository.changes_before(connection, what or [], before, limit)
        entries = [entry_of(fact) for fact in found]
        # The cursor of the next page, None on the last one.
        following = entries[-1].seq if len(entries) == limit else None
        return {"changes": msgspec.to_builtins(entries, str_keys=True), "before": following}

    @routes.get("/changes/{change_id}")
    def show_change(change_id: str) -> dict[str, Any]:
        """One entry of the log."""
        with database.read() as connection:
            fact = change_repository.change(connection, change_id)
        answer: dict[str, Any] = msgspec.to_builtins(entry_of(fact))
        return answer

    @routes.post("/changes/{change_id}/undo")
    def undo_change(change_id: str, request: Request, body: UndoBody | None = None) -> dict[str, Any]:
        """Take a change back; the answer is the change that did it."""
        entry = undoing.undo(change_id, name_of(request), "" if body is None else body.why)
        served()
        answer: dict[str, Any] = msgspec.to_builtins(entry)
        return answer

    return routes
