"""HTTP routes of lifecycles: their stages and sizes, and where a user or an account stands, also by hand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from audiences.accounts import repository as accounts
from audiences.identity.looking import Lookup
from audiences.stages.service import Stages
from audiences.texts import fit
from storage.clock import Clock
from storage.engine import Database


class ByHand(BaseModel):
    """A stage that somebody puts a user or an account into, and why."""

    model_config = ConfigDict(extra="forbid")

    stage: Annotated[str, Field(min_length=1, max_length=64)]
    by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(max_length=2_000)] = ""


def router(database: Database, clock: Clock, stages: Stages, lookup: Lookup) -> APIRouter:
    """Return the routes of lifecycles."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/lifecycles")
    def list_lifecycles() -> list[dict[str, Any]]:
        """Every lifecycle with its stages, how many users or accounts stand in each, and for how long."""
        return [stages.describe(one.spec.id, clock.now()) for one in stages.lifecycles]

    @routes.get("/lifecycles/{lifecycle}")
    def show_lifecycle(lifecycle: str) -> dict[str, Any]:
        """One lifecycle with its stages, how many users or accounts stand in each, and for how long."""
        return stages.describe(lifecycle, clock.now())

    @routes.get("/users/{user_id}/stages")
    def show_stages(user_id: str) -> dict[str, Any]:
        """A person's stage in each lifecycle, and since when."""
        return stages.of(lookup.canonical(user_id))

    @routes.put("/users/{user_id}/stages/{lifecycle}")
    def put_stage(user_id: str, lifecycle: str, by_hand: ByHand) -> dict[str, Any]:
        """Put a person into a stage by hand."""
        person = lookup.canonical(user_id)
        stages.put(person, lifecycle, by_hand.stage, by=by_hand.by, reason=by_hand.reason, now=clock.now())
        return stages.of(person)

    @routes.get("/accounts/{account_id}/stages")
    def show_account_stages(account_id: str) -> dict[str, Any]:
        """An account's stage in each lifecycle of accounts, and since when."""
        return stages.of(_account(account_id), of_accounts=True)

    @routes.put("/accounts/{account_id}/stages/{lifecycle}")
    def put_account_stage(account_id: str, lifecycle: str, by_hand: ByHand) -> dict[str, Any]:
        """Put an account into a stage by hand."""
        account, now = _account(account_id), clock.now()
        stages.put(
            account,
            lifecycle,
            by_hand.stage,
            by=by_hand.by,
            reason=by_hand.reason,
            now=now,
            of_accounts=True,
        )
        return stages.of(account, of_accounts=True)

    def _account(account_id: str) -> str:
        with database.read() as connection:
            return accounts.known(connection, fit(account_id, "the account's id")).id

    return routes
