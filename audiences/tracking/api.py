"""HTTP routes of the tracking spec: `/v1/batch` and one for each type of message.

They go past pydantic, which would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import get_args

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from audiences.errors import AudiencesError, MessageConflict
from audiences.events import Event, MessageType
from audiences.intake.intake import Intake, Outcome, Taken
from audiences.tracking import body as bodies
from audiences.tracking.answers import Answer, answer
from audiences.tracking.limits import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from audiences.tracking.messages import Refusal, parse_batch, parse_message
from storage.clock import Clock

Count = Callable[[Answer], None]

_JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def add_routes(
    app: FastAPI,
    intake: Intake,
    clock: Clock,
    source: Callable[[Request], str],
    count: Count,
    refuse: Callable[[str, int], None],
) -> None:
    """Add the tracking routes.

    Args:
        source: names who sends a request.
        count: told of each answer.
        refuse: told by source of how many messages were refused before they reached the intake.
    """

    async def batch(request: Request) -> Response:
        body = await bodies.read(request, MAX_BATCH_BYTES)
        parsed = parse_batch(body, clock.now(), source(request))
        if parsed.refused:
            refuse(source(request), len(parsed.refused))
        taken = await _taken(intake, parsed.events)
        return _respond(answer(taken, parsed.indices, parsed.refused), count)

    def single(type_: MessageType) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            body = await bodies.read(request, MAX_MESSAGE_BYTES)
            try:
                event = parse_message(body, clock.now(), source(request), type_=type_)
            except AudiencesError as error:
                count(Answer(0, 0, refused=[Refusal(0, None, str(error))]))
                refuse(source(request), 1)
                raise
            taken = await _taken(intake, [event])
            response = _respond(answer(taken, [0], []), count)
            if taken[0].outcome is Outcome.CONFLICT:
                raise MessageConflict(taken[0].reason)
            return response

        return route

    app.add_route("/v1/batch", batch, methods=["POST"], include_in_schema=False)
    for type_ in get_args(MessageType):
        app.add_route(f"/v1/{type_}", single(type_), methods=["POST"], include_in_schema=False)


async def _taken(intake: Intake, events: Sequence[Event]) -> list[Taken]:
    """Record events and wait until they are durable."""
    shares = [await asyncio.wrap_future(future) for future in intake.submit(events)]
    return shares[0] if len(shares) == 1 else [taken for share in shares for taken in share]


def _respond(told: Answer, count: Count) -> Response:
    count(told)
    return Response(_encode(told), media_type=_JSON)
