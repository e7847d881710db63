"""HTTP routes of the inbox: what an app shows its user."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query

from delivery.inbox.repository import Notice
from delivery.inbox.service import Inbox
from delivery.paging import cursor, next_after

_MOST = 200

UserId = Annotated[str, Path(max_length=255)]
Key = Annotated[str, Path(max_length=500)]


def router(inbox: Inbox) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["inbox"])

    @routes.get("/users/{user_id}/inbox")
    def show_inbox(
        user_id: UserId,
        unread: Annotated[bool, Query(description="Only what was not read.")] = False,
        after: Annotated[str, Query(max_length=700, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    ) -> dict[str, Any]:
        """What the app is to show the user, newest first; `unread` counts what was not read, on all pages."""
        page, count = inbox.of(user_id, unread=unread, after=cursor(after), limit=limit)
        last = page[-1] if len(page) == limit else None
        return {
            "messages": [_shown(one) for one in page],
            "unread": count,
            "next": next_after(last.arrived_at, last.key) if last else None,
        }

    @routes.post("/users/{user_id}/inbox/{key}/read")
    def read_message(user_id: UserId, key: Key) -> dict[str, Any]:
        """Note that the user read a message."""
        return _shown(inbox.read(user_id, key))

    @routes.post("/users/{user_id}/inbox/{key}/dismiss")
    def dismiss_message(user_id: UserId, key: Key) -> dict[str, Any]:
        """Take a message off the user's inbox."""
        return _shown(inbox.dismiss(user_id, key))

    return routes


def _shown(notice: Notice) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(notice)
    # The id of one of the person's profiles, which is the inbox's own business.
    del shown["user_id"]
    return shown
