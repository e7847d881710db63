"""HTTP routes of delivery: single runs, and those inside a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from delivery.hands import Hands
from delivery.inside import Inside

_MOST = 200


class Reason(BaseModel):
    """Why a run is ended."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


class Move(BaseModel):
    """From which version to which, and where the states go that have another name there."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: Annotated[int, Field(alias="from", ge=1, le=999_999_999)]
    to: Annotated[int, Field(ge=1, le=999_999_999)]
    states: dict[str, str] = Field(default={}, max_length=500)
    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


class LetOut(BaseModel):
    """Out of which version, and why."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, le=999_999_999)]
    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


def router(hands: Hands, inside: Inside, who: Callable[[Request], str]) -> APIRouter:
    """Return the routes; `who` does what a request asks for."""
    routes = APIRouter(prefix="/v1", tags=["delivery"])
    _add_inside(routes, inside, who)

    @routes.get("/enrolments/late")
    def late_enrolments(limit: Annotated[int, Query(ge=1, le=_MOST)] = 100) -> dict[str, Any]:
        """Runs that do not go on: past their due time, paused or set aside, each with the reason."""
        return {"late": msgspec.to_builtins(hands.late(limit))}

    @routes.get("/enrolments/{enrolment_id}")
    def show_enrolment(enrolment_id: str) -> dict[str, Any]:
        """A user's run through a flow: where it is, since when, until when."""
        return msgspec.to_builtins(hands.enrolment(enrolment_id))  # type: ignore[no-any-return]

    @routes.post("/enrolments/{enrolment_id}/end")
    def end_enrolment(request: Request, enrolment_id: str, body: Reason) -> dict[str, Any]:
        """End a run wherever it is, with the result `by_hand`."""
        ended = hands.take_out(enrolment_id, body.why, who(request))
        return msgspec.to_builtins(ended)  # type: ignore[no-any-return]

    return routes


def _add_inside(routes: APIRouter, inside: Inside, who: Callable[[Request], str]) -> None:

    @routes.get("/playbooks/{playbook}/runs")
    def show_runs(playbook: str) -> dict[str, Any]:
        """How many runs are under way in each state of each version of a playbook."""
        versions = inside.standing(playbook)
        return {"versions": [{"version": version, "states": states} for version, states in versions.items()]}

    @routes.post("/playbooks/{playbook}/runs/move")
    def move_runs(request: Request, playbook: str, body: Move) -> dict[str, int]:
        """Move the runs of a version into another one; if one had no place there, nobody is moved."""
        moved = inside.move(playbook, body.from_, body.to, body.states, who(request), body.why)
        return {"moved": moved}

    @routes.post("/playbooks/{playbook}/runs/end")
    def end_runs(request: Request, playbook: str, body: LetOut) -> dict[str, int]:
        """End the runs of a version wherever they are, with the result `version_ended`."""
        return {"ended": inside.let_out(playbook, body.version, who(request), body.why)}
