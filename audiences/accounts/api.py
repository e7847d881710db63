"""HTTP routes of accounts: who belongs to which, and which is a user's primary one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from audiences.accounts import repository
from audiences.accounts.errors import UnknownAccount
from audiences.identity.service import IdentityService
from audiences.texts import fit
from storage.clock import Clock
from storage.engine import Database
from storage.writer import Lane

MAX_PAGE = 1_000


class Choice(BaseModel):
    """The account that is to be a user's primary one."""

    model_config = ConfigDict(extra="forbid")

    account_id: str = Field(min_length=1, max_length=255)


# The features of an account as of a moment, and the moment they were computed.
Computed = Callable[[str, datetime], tuple[dict[str, Any], datetime | None]]


def router(database: Database, clock: Clock, identity: IdentityService, features: Computed) -> APIRouter:
    """Return the routes; `features` are those of an account as the last batch computed them."""
    routes = APIRouter(prefix="/v1", tags=["accounts"])

    @routes.get("/accounts/{account_id}")
    def show_account(
        account_id: str,
        cursor: str = Query(default="", max_length=600),
        limit: int = Query(default=100, ge=1, le=MAX_PAGE),
    ) -> dict[str, Any]:
        """An account's traits, its features as of the last batch, and its users by their canonical ids."""
        wanted = fit(account_id, "the account's id")
        with database.read() as connection:
            account = repository.known(connection, wanted)
            page = repository.members_of(connection, wanted, after=cursor, limit=limit + 1)
        values, computed_at = features(wanted, clock.now())
        return {
            "account_id": account.id,
            "traits": account.traits,
            "features": values,
            "features_as_of": computed_at,
            "first_seen": account.first_seen,
            "updated_at": account.updated_at,
            "users": sorted({identity.people.canonical(one.profile) for one in page[:limit]}),
            "next": page[limit - 1].profile if len(page) > limit else None,
        }

    @routes.get("/users/{user_id}/accounts")
    def show_accounts(user_id: str) -> dict[str, Any]:
        """The accounts that a person belongs to."""
        canonical = identity.lookup.canonical(user_id)
        with database.read() as connection:
            found = repository.accounts_of(connection, identity.people.members(canonical))
        return {
            "user_id": canonical,
            "primary": found[0].account_id if found else None,
            "accounts": [msgspec.to_builtins(one) for one in found],
        }

    @routes.put("/users/{user_id}/accounts/primary")
    def choose(user_id: str, choice: Choice) -> dict[str, Any]:
        """Make an account the person's primary one, whatever messages say later."""
        canonical = identity.lookup.canonical(user_id)
        account_id, members = fit(choice.account_id, "account_id"), identity.people.members(canonical)
        work = partial(repository.choose, account_id=account_id, profiles=members, now=clock.now())
        if not database.write(work, rows=len(members), lane=Lane.REQUEST):
            raise UnknownAccount(f"user {canonical!r} does not belong to an account {account_id!r}")
        return show_accounts(canonical)

    return routes
