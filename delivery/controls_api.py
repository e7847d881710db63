"""HTTP routes of controls: what is stopped and how much waits, stop, resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from delivery import parking_repository
from playbooks.controls import Control, Mode, Scope, rule_of
from playbooks.controls.service import ControlService
from storage.clock import Clock
from storage.engine import Database

Target = Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")]
Why = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class Stop(BaseModel):
    """What to stop, how, and why. `target`: the playbook, channel or user; of `everything` there is none."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope
    target: Target = ""
    mode: Literal["pause", "drain"] = "pause"
    why: Why

    @model_validator(mode="after")
    def _of_something(self) -> Stop:
        if (self.scope is Scope.EVERYTHING) == bool(self.target):
            raise ValueError("playbook, channel and user need a `target`; everything has none")
        return self


def router(
    database: Database,
    clock: Clock,
    controls: ControlService,
    who: Callable[[Request], str],
    changed: Callable[[], None],
) -> APIRouter:
    """Return the routes of controls.

    Args:
        who: does what a request asks for.
        changed: called after something was stopped or resumed, so that this process knows at once.
    """
    routes = APIRouter(prefix="/v1", tags=["controls"])

    @routes.get("/controls")
    def list_controls() -> dict[str, Any]:
        """What is stopped, by whom and why, and how many messages and runs wait because of it.

        What was resumed is listed as `resuming` until all that waited is back in its place.
        """
        return {"controls": listing(database, clock, controls)}

    @routes.post("/controls", status_code=201)
    def stop(request: Request, body: Annotated[Stop, Body()]) -> dict[str, Any]:
        """Pause or drain a playbook, a channel, a user or everything; it holds everywhere within a second."""
        done = controls.stop(body.scope, body.target, Mode(body.mode), by=who(request), why=body.why)
        changed()
        return view(done)

    @routes.delete("/controls")
    def resume(
        request: Request,
        scope: Scope,
        target: Annotated[str, Query(max_length=512)] = "",
        why: Annotated[str, Query(max_length=2000)] = "",
    ) -> dict[str, Any]:
        """Resume what was stopped: all that waited goes on where it was."""
        done = controls.resume(scope, target, by=who(request), why=why)
        changed()
        return view(done)

    return routes


def listing(database: Database, clock: Clock, controls: ControlService) -> list[dict[str, Any]]:
    """Return what is stopped, with what waits because of it; of everything, what could go on now."""
    found = controls.list()
    with database.read() as connection:
        waiting = parking_repository.waiting(connection)
        if any(one.scope is Scope.EVERYTHING and one.mode is Mode.PAUSE for one in found):
            waiting[f"{Scope.EVERYTHING.value}:"] = parking_repository.due(connection, clock.now())
    return [{**view(one), "waiting": _counted(waiting.get(one.key, {}))} for one in found]


def view(one: Control) -> dict[str, Any]:
    """Return a control as people see it."""
    told: dict[str, Any] = msgspec.to_builtins(one)
    return {**told, "rule": rule_of(one)}


def _counted(waiting: dict[str, int]) -> dict[str, int]:
    return {
        "messages": waiting.get(parking_repository.MESSAGE, 0),
        "runs": waiting.get(parking_repository.RUN, 0),
    }
