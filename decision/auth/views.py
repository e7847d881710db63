"""Keys as they may be shown: in answers of the service, and to the command line that reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from decision.auth.models import Key, KeyText, Scope, ordered


class KeyView(BaseModel):
    """A key as it may be shown."""

    id: str
    name: str
    scopes: list[Scope]
    state: Literal["valid", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    rotated_from: str | None
    person: str | None = None


class NewKey(KeyView):
    """A key just made, with its text, which is never shown again."""

    key: str


def view(key: Key, now: datetime) -> KeyView:
    """Return a key as it may be shown at a moment."""
    return KeyView(
        id=key.id,
        name=key.name,
        scopes=ordered(key.scopes),
        state=key.state(now),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
        rotated_from=key.rotated_from,
        person=key.person,
    )


def view_new(key: Key, text: KeyText) -> NewKey:
    """Return a key just made, as it is shown once."""
    return NewKey(**view(key, key.created_at).model_dump(), key=str(text))
