"""HTTP routes of tags: what a person carries, put on and taken off by an operator."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from audiences import repository
from audiences.errors import TagNotThere
from audiences.identity.looking import Lookup
from audiences.identity.people import People
from audiences.service import set_tag, take_off
from storage.clock import Clock
from storage.engine import Database

TagName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
By = Annotated[str, Field(min_length=1, max_length=255)]


class PutTag(BaseModel):
    """Who puts the tag on, and after how long it expires; never, unless it is said."""

    model_config = ConfigDict(extra="forbid")

    by: By
    expires_after: Annotated[timedelta, Field(gt=timedelta(0))] | None = None


def router(database: Database, clock: Clock, people: People, lookup: Lookup) -> APIRouter:
    """Return the routes of tags."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/users/{user_id}/tags")
    def show_tags(user_id: str) -> list[dict[str, Any]]:
        """The tags that a person carries now: source, time and expiry of each, the latest first."""
        return _carried(lookup.canonical(user_id))

    @routes.put("/users/{user_id}/tags/{tag}")
    def put_tag(user_id: str, tag: TagName, put: PutTag) -> list[dict[str, Any]]:
        """Put a tag on a person; one that is there is renewed."""
        person, now = lookup.canonical(user_id), clock.now()
        expires_at = now + put.expires_after if put.expires_after else None
        source = f"operator:{put.by}"
        database.write(
            partial(set_tag, user_id=person, tag=tag, source=source, at=now, expires_at=expires_at), rows=2
        )
        return _carried(person)

    @routes.delete("/users/{user_id}/tags/{tag}")
    def take_tag(user_id: str, tag: TagName, by: Annotated[By, Query()]) -> list[dict[str, Any]]:
        """Take a tag off a person, whoever put it on."""
        person, now = lookup.canonical(user_id), clock.now()
        profiles = people.members(person)
        work = partial(take_off, user_ids=profiles, tag=tag, source=f"operator:{by}", at=now)
        if not database.write(work, rows=2 * len(profiles)):
            raise TagNotThere(f"user {user_id!r} does not carry the tag {tag!r} now")
        return _carried(person)

    def _carried(person: str) -> list[dict[str, Any]]:
        with database.read() as connection:
            return repository.tagging_of(connection, people.members(person), clock.now())

    return routes
