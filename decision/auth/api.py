"""HTTP routes of keys, for those whose key has the scope admin."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from decision.auth.guard import key_of
from decision.auth.models import Scope
from decision.auth.service import GRACE, Keys
from decision.auth.views import KeyView, NewKey, view, view_new


class KeyWish(BaseModel):
    """A key to make; `expires_in` is a duration as ISO 8601 writes it (P90D), none: it does not expire.

    `person` is whose of the staff it is.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    scopes: list[Scope]
    expires_in: timedelta | None = None
    person: str | None = None


class Rotation(BaseModel):
    """For how long the old key goes on to count, a duration as ISO 8601 writes it (PT1H)."""

    model_config = ConfigDict(extra="forbid")

    grace: timedelta = GRACE


def router(keys: Keys) -> APIRouter:
    """Return the routes of keys."""
    routes = APIRouter(prefix="/v1/keys", tags=["keys"])

    @routes.get("")
    def list_keys() -> list[KeyView]:
        """Every key there ever was, oldest first, without its secret."""
        now = keys.now()
        return [view(key, now) for key in keys.all()]

    @routes.post("", status_code=201)
    def create_key(wish: KeyWish, request: Request, response: Response) -> NewKey:
        """Make a key; its text is in this answer and nowhere else."""
        made = keys.create(wish.name, wish.scopes, wish.expires_in, by=key_of(request).id, person=wish.person)
        response.headers["Cache-Control"] = "no-store"
        return view_new(*made)

    @routes.post("/{key_id}/rotate", status_code=201)
    def rotate_key(
        key_id: str, request: Request, response: Response, rotation: Rotation | None = None
    ) -> NewKey:
        """Make a successor of a key; the old one goes on to count for the grace period, a day by default."""
        grace = GRACE if rotation is None else rotation.grace
        made = keys.rotate(key_id, grace, by=key_of(request).id)
        response.headers["Cache-Control"] = "no-store"
        return view_new(*made)

    @routes.delete("/{key_id}")
    def revoke_key(key_id: str, request: Request) -> KeyView:
        """Take a key back."""
        return view(keys.revoke(key_id, by=key_of(request).id), keys.now())

    return routes
