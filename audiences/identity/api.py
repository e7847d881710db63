"""HTTP routes of identity: who is one person and why, joins by hand, taking joins back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from audiences.identity import repository
from audiences.identity.errors import UnknownIdentity
from audiences.identity.models import Join, Undone
from audiences.identity.service import IdentityService
from audiences.texts import fit
from storage.clock import Clock
from storage.engine import Database

MAX_PAGE = 200


class Merging(BaseModel):
    """Two users to be made one; `into` gives the person its id."""

    model_config = ConfigDict(extra="forbid")

    from_: str = Field(alias="from", min_length=1, max_length=300)
    into: str = Field(min_length=1, max_length=300)
    reason: str = Field(min_length=1, max_length=1_000)


class Undoing(BaseModel):
    """Why a join is taken back."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1_000)


def router(
    database: Database, clock: Clock, identity: IdentityService, who: Callable[[Request], str]
) -> APIRouter:
    """Return the routes; `who` names the one who makes a request."""
    routes = APIRouter(prefix="/v1", tags=["identity"])
    lookup = identity.lookup

    @routes.get("/users/{user_id}/identities")
    def show_identities(user_id: str) -> dict[str, Any]:
        """The profiles of a person, what they hold, by which joins they are one, and who else may be."""
        canonical = lookup.canonical(user_id)
        with database.read() as connection:
            graph = repository.graph_of(connection, [canonical])
            members = sorted(graph.person(canonical))
            held = repository.held_by(connection, members)
            wanted = {one.identity for one in held}
            shared = repository.shared_among(connection, wanted)
            others = repository.holders_of(connection, wanted)
        return {
            "user_id": canonical,
            "members": [{"profile": one, "first_seen": graph.first_seen[one]} for one in members],
            "identities": [
                {
                    "kind": one.identity.kind,
                    "value": one.identity.value,
                    "profile": one.profile,
                    "verified": one.verified,
                    "first_seen": one.first_seen,
                    "source": one.source,
                    "shared": shared.get(one.identity),
                }
                for one in held
            ],
            "joins": [_shown(join, None) for join in graph.joins if join.profile in members],
            "candidates": sorted(
                {
                    identity.people.canonical(profile)
                    for holders in others.values()
                    for profile in holders
                    if profile not in members
                }
            ),
        }

    @routes.post("/users/merge")
    def merge(merging: Merging, request: Request) -> dict[str, Any]:
        """Make two users one person."""
        join = identity.merge(
            lookup.profile(fit(merging.from_, "from", 300)),
            lookup.profile(fit(merging.into, "into", 300)),
            by=who(request),
            why=fit(merging.reason, "reason", 1_000),
            now=clock.now(),
        )
        person = identity.people.person(join.into)
        return {**_shown(join, None), "user_id": person.canonical, "members": list(person.members)}

    @routes.post("/merges/{merge_id}/undo")
    def undo(merge_id: str, undoing: Undoing, request: Request) -> dict[str, Any]:
        """Take a join back; `apart` says whether the two are two persons now, `still_by` what joins them."""
        why = fit(undoing.reason, "reason", 1_000)
        parted = identity.undo(merge_id, by=who(request), why=why, now=clock.now())
        return {"id": parted.id, "apart": parted.apart, "still_by": list(parted.still_by)}

    @routes.get("/merges")
    def list_merges(
        cursor: str | None = Query(default=None, max_length=64),
        limit: int = Query(default=50, ge=1, le=MAX_PAGE),
        user_id: str | None = None,
    ) -> dict[str, Any]:
        """Joins, the latest first, of all users or of one; those that were taken back say so."""
        profiles = None if user_id is None else identity.people.members(lookup.profile(user_id))
        before = None if cursor is None else fit(cursor, "cursor")
        with database.read() as connection:
            page = repository.joins_page(connection, before=before, limit=limit + 1, profiles=profiles)
        shown = page[:limit]
        return {
            "merges": [_shown(join, undone) for join, undone in shown],
            "next": shown[-1][0].id if len(page) > limit else None,
        }

    @routes.get("/identities")
    def find(kind: str, value: str) -> dict[str, Any]:
        """Who holds an identity: the person it resolves to, and every profile that named it."""
        wanted = lookup.identity(fit(kind, "kind"), fit(value, "value"))
        with database.read() as connection:
            holders = repository.holders_of(connection, [wanted]).get(wanted, {})
            shared = repository.shared_among(connection, [wanted]).get(wanted)
        persons = lookup.persons(wanted)
        if not persons and not holders:
            raise UnknownIdentity(f"nobody was ever known by {wanted.kind} {wanted.value!r}")
        return {
            "kind": wanted.kind,
            "value": wanted.value,
            "user_id": persons[0] if len(persons) == 1 else None,
            "users": persons,
            "shared": shared,
            "profiles": [
                {
                    "profile": one.profile,
                    "user_id": identity.people.canonical(one.profile),
                    "verified": one.verified,
                    "first_seen": one.first_seen,
                    "source": one.source,
                }
                for one in holders.values()
            ],
        }

    return routes


def _shown(join: Join, undone: Undone | None) -> dict[str, Any]:
    evidence = None
    if join.evidence is not None:
        evidence = {"kind": join.evidence.kind, "value": join.evidence.value}
    taken_back: dict[str, str | datetime] | None = None
    if undone is not None:
        taken_back = {"at": undone.at, "by": undone.by, "why": undone.why}
    return {
        "id": join.id,
        "from": join.profile,
        "into": join.into,
        "cause": join.cause,
        "evidence": evidence,
        "message_id": join.message_id,
        "by": join.by,
        "why": join.why,
        "joined_at": join.joined_at,
        "undone": taken_back,
    }
