"""HTTP routes of the audiences room: events in, users and audiences out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from audiences import repository
from audiences.errors import EventRefused, UnknownUser
from audiences.events import MAX_BATCH_BYTES, Refusal, parse_batch, parse_one
from audiences.intake.intake import Intake, Outcome, Taken
from audiences.service import Audiences
from storage import ledger
from storage.clock import Clock
from storage.engine import Database

_encode = msgspec.json.Encoder().encode


class Accepted(msgspec.Struct, frozen=True):
    """Answer to events: how many are recorded now, were recorded before, or were refused and why."""

    accepted: int
    duplicates: int
    refused: list[Refusal] = []


def add_event_routes(
    app: FastAPI, intake: Intake, clock: Clock, count: Callable[[int, int, int], None]
) -> None:
    """Add the tracking routes; they go past pydantic, which would cost more than all the rest.

    Args:
        count: told of each request how many events were accepted, duplicates and refused.
    """

    async def batch(request: Request) -> Response:
        body = await _body(request)
        now = clock.now()
        events, refused = parse_batch(body, now)
        shares = await asyncio.gather(*map(asyncio.wrap_future, intake.submit(events)))
        answer = _answer([taken for share in shares for taken in share], refused)
        count(answer.accepted, answer.duplicates, len(answer.refused))
        return _json(answer)

    def single(type_: str) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            body = await _body(request)
            try:
                event = parse_one(body, type_, clock.now())
            except EventRefused:
                count(0, 0, 1)
                raise
            (future,) = intake.submit([event])
            taken = await asyncio.wrap_future(future)
            answer = _answer(taken, [])
            count(answer.accepted, answer.duplicates, len(answer.refused))
            return _json(answer)

        return route

    app.add_route("/v1/batch", batch, methods=["POST"], include_in_schema=False)
    for type_ in ("track", "identify"):
        app.add_route(f"/v1/{type_}", single(type_), methods=["POST"], include_in_schema=False)


def router(database: Database, clock: Clock, audiences: Audiences) -> APIRouter:
    """Return the routes that operators and the demo read from."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/audiences")
    def list_audiences() -> list[dict[str, Any]]:
        """Every audience with its rule, size, and the moment it was last evaluated."""
        return audiences.describe()

    @routes.get("/users/{user_id}")
    def show_user(user_id: str, limit: int = 50) -> dict[str, Any]:
        """A user's audiences, tags and latest facts, newest first."""
        now: datetime = clock.now()
        with database.read() as connection:
            if not repository.is_known(connection, user_id):
                raise UnknownUser(f"no event of a user {user_id!r} was ever recorded; check the id")
            tags = repository.tags_of(connection, user_id, now)
            facts = ledger.of_user(connection, user_id, limit=min(max(limit, 1), 1000))
        return {
            "user_id": user_id,
            "audiences": sorted(audiences.memberships.of(user_id)),
            "tags": tags,
            "history": [
                {
                    "kind": fact.kind,
                    "label": fact.label,
                    "id": fact.id,
                    "occurred_at": fact.occurred_at,
                    "body": msgspec.json.decode(fact.body),
                }
                for fact in facts
            ],
        }

    return routes


def _answer(taken: Sequence[Taken], refused: Sequence[Refusal]) -> Accepted:
    conflicts = [one for one in taken if one.outcome is Outcome.CONFLICT]
    duplicates = sum(one.outcome is Outcome.DUPLICATE for one in taken)
    return Accepted(
        len(taken) - duplicates - len(conflicts),
        duplicates,
        [*refused, *(Refusal(-1, one.event_id, one.reason) for one in conflicts)],
    )


async def _body(request: Request) -> bytes:
    """Return the body, giving up as soon as it is larger than any route takes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 2 * MAX_BATCH_BYTES:
            break
    return bytes(body)


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type="application/json")
