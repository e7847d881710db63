"""HTTP routes of the front door: decide, decisions, jobs, clock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from pydantic import AwareDatetime, BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from decision import decide_schema
from decision.answers import DecideRequest
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.errors import BadRequest
from decision.gathering import Gathering
from decision.jobs import JobRunner
from decision.misread import misread
from decision.observe import metrics
from decision.report import ledger_summary
from decision.straight import Straight
from playbooks.models import DO_NOTHING
from storage.clock import Clock, ClockError, SimulatedClock
from storage.engine import Database

MAX_DECIDE_BYTES = 64 * 1024

_JSON = "application/json"
_JSON_HEADER = (b"content-type", _JSON.encode())
_DECIDE = "/v1/decide"

_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(DecideRequest).decode


class ClockSetting(BaseModel):
    """The moment the service lives in."""

    now: AwareDatetime


def add_decide_route(app: FastAPI, decider: Decider, at_once: int) -> None:
    """Add `POST /v1/decide`; it goes past pydantic, which would cost more than deciding.

    Args:
        at_once: how many blocks are committed at a time.
    """
    gathering = Gathering(decider, at_once)

    async def decide(request: Request) -> Response:
        body = await _body(request.receive)
        try:
            asked = _decode_request(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(misread(body, error, request.headers.get("content-encoding"))) from error
        if bool(asked.user_id) == (asked.identity is not None):
            raise BadRequest(
                'the user is named by either `user_id` or `identity`: send {"user_id": "…", '
                '"placement": "…"} or {"identity": {"kind": "email", "value": "…"}, "placement": "…"}'
            )
        key = _key(request.scope)
        answer = await gathering.answer(asked, key)
        metrics.decided(asked.placement, answer.fallback or ("offer" if answer.offer else DO_NOTHING))
        return _Encoded(_encode(answer))

    app.add_route(_DECIDE, decide, methods=["POST"], include_in_schema=False)
    decide_schema.declare(app, _DECIDE)
    app.add_middleware(Straight, method="POST", path=_DECIDE, endpoint=decide)


class _Encoded(Response):
    """JSON that is encoded; Starlette's own way to head it costs as much as encoding an answer."""

    def __init__(self, body: bytes) -> None:
        self.status_code, self.background = 200, None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON_HEADER]


def _key(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            text: str = value.decode("latin-1")
            return text
    return None


async def _body(receive: Receive) -> bytes:
    """Return a request's body; Starlette's own way to read it costs as much as decoding it."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def router(
    database: Database,
    clock: Clock,
    log: DecisionLog,
    jobs: JobRunner,
    insiders: Callable[[], Collection[str]] = tuple,
) -> APIRouter:
    """Return the other routes of the front door; `insiders` are users that reports leave out."""
    routes = APIRouter(tags=["decision"])

    @routes.get("/v1/decisions/{decision_id}")
    def show_decision(decision_id: str) -> Response:
        """The whole record of a decision."""
        return Response(_encode(log.recorded(decision_id)), media_type=_JSON)

    @routes.post("/v1/decisions/{decision_id}/replay")
    def replay_decision(decision_id: str) -> Response:
        """Recompute a decision from its record and say whether the answer is identical."""
        return Response(_encode(log.replay(decision_id)), media_type=_JSON)

    @routes.post("/v1/decisions/{decision_id}/rescore")
    def rescore_decision(decision_id: str) -> Response:
        """Run the model of a decision's policy version again and say whether the scores agree to 1e-6."""
        return Response(_encode(log.rescore(decision_id)), media_type=_JSON)

    @routes.get("/v1/decisions/{decision_id}/explain")
    @routes.post("/v1/decisions/{decision_id}/explain", include_in_schema=False)
    def explain_decision(decision_id: str) -> Response:
        """Every candidate with the parts of its score, and what stopped the others, by rule."""
        return Response(_encode(log.explain(decision_id)), media_type=_JSON)

    @routes.get("/v1/summary")
    def summary() -> dict[str, Any]:
        """What the ledger holds, counted."""
        return ledger_summary(database, insiders())

    @routes.post("/v1/jobs/{name}")
    def run_job(name: str) -> dict[str, Any]:
        """Run one job of the loop now and return what it did."""
        return jobs.run(name)

    @routes.get("/v1/clock")
    def show_clock() -> dict[str, datetime]:
        """The moment the service lives in."""
        return {"now": clock.now()}

    @routes.put("/v1/clock")
    def move_clock(setting: ClockSetting) -> dict[str, datetime]:
        """Move a simulated clock forward."""
        if not isinstance(clock, SimulatedClock):
            raise ClockError("this service lives on the machine's clock; start it with --clock to move it")
        clock.move_to(setting.now)
        return {"now": clock.now()}

    return routes
