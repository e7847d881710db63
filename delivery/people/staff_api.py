"""HTTP routes of the staff: who is on it, what became of tasks, who leaves, what is taken away as a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from delivery.errors import ReportRefused
from delivery.people.api import Text, Who
from delivery.people.exporting import What
from delivery.people.models import TaskState
from delivery.people.report import report
from delivery.service import Delivery
from storage.times import MICROSECOND

_MONTH = timedelta(days=30)
_LONGEST = timedelta(days=366)
Name = Annotated[str, Field(min_length=1, max_length=64)]


class Leave(BaseModel):
    """To which person or team everything goes, and why."""

    model_config = ConfigDict(extra="forbid")

    to: Name
    why: Text = ""


class Export(BaseModel):
    """What is taken away as a file, and of whom."""

    model_config = ConfigDict(extra="forbid")

    what: What
    person: Name | None = None
    team: Name | None = None
    standing: list[TaskState] = Field(default=[], max_length=10)


def router(delivery: Delivery, who: Who) -> APIRouter:
    """Return the routes; `who` asks."""
    routes = APIRouter(prefix="/v1/people", tags=["people"])
    desk = delivery.desk

    @routes.get("")
    def list_people(request: Request) -> dict[str, Any]:
        """Who is on the staff, who is away or left, how many undone tasks each has; the teams."""
        desk.admit(who(request))
        return desk.roll()

    @routes.get("/report")
    def show_report(
        from_: Annotated[
            AwareDatetime | None, Query(alias="from", description="30 days before `to`.")
        ] = None,
        to: Annotated[AwareDatetime | None, Query(description="Now.")] = None,
    ) -> dict[str, Any]:
        """What became of the tasks opened in a time, by person and by team, and in all."""
        now = desk.now()
        # What happens at this very moment counts.
        end = to or now + MICROSECOND
        start = from_ or end - _MONTH
        if not start < end or end - start > _LONGEST:
            raise ReportRefused(
                f"a report is of a time of {_LONGEST.days} days at most, and `from` lies before `to`: not "
                f"from {start.isoformat()} to {end.isoformat()}"
            )
        with desk.database.read() as connection:
            found = report(connection, start, end, now)
        plain: dict[str, Any] = msgspec.to_builtins(found)
        return {"from": start, "to": end, "as_of": now, **plain}

    @routes.post("/{person}/leave")
    def leave(request: Request, person: Name, body: Leave) -> dict[str, Any]:
        """Let all undone tasks and owned users of a person go to somebody else, in one step."""
        left = delivery.leaving.leave(person, body.to, who(request), body.why)
        return msgspec.to_builtins(left)  # type: ignore[no-any-return]

    @routes.post("/export")
    def export(request: Request, body: Export) -> Response:
        """Tasks, or users with their owners, as CSV; bounded a day, and recorded."""
        caller = desk.admit(who(request))
        of_tasks = {"standing": body.standing} if body.what == "tasks" else {}
        wanted = desk.wanted(caller, person=body.person, team=body.team, **of_tasks)
        taken = delivery.exporting.take(body.what, wanted, caller, body.model_dump(exclude_defaults=True))
        headers = {
            "Content-Disposition": f'attachment; filename="{body.what}.csv"',
            "Cache-Control": "no-store",
            "X-Rows": str(taken.rows),
            "X-Rows-Left": str(taken.left),
        }
        return Response(taken.text, media_type="text/csv; charset=utf-8", headers=headers)

    return routes


def add_callback_route(app: FastAPI, delivery: Delivery, verify: Callable[[Request, bytes], str]) -> None:
    """Add `POST /v1/tasks/callback`; `verify` returns the id of a request that is signed, or refuses it."""

    async def callback(request: Request) -> Response:
        body = await request.body()
        callback_id = verify(request, body)
        answered = await asyncio.to_thread(delivery.answers.take, callback_id, body)
        return Response(msgspec.json.encode(answered), media_type="application/json")

    app.add_route("/v1/tasks/callback", callback, methods=["POST"], include_in_schema=False)
