"""HTTP routes of tasks: lists, one with what led to it, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from delivery.paging import cursor, next_after
from delivery.people.desk import Desk
from delivery.people.models import Caller, Task, TaskState
from delivery.people.telling import Histories

MOST = 200
Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
Match = Annotated[
    str | None, Header(alias="If-Match", description="The ETag of the task that was read; without it, any.")
]
Who = Callable[[Request], Caller]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Claim(_Body):
    """Who takes a task on; nobody named: whoever the key is of."""

    person: Annotated[str, Field(max_length=64)] | None = None


class Reassign(_Body):
    """To which person or team a task goes, and why."""

    to: Annotated[str, Field(min_length=1, max_length=64)]
    why: Text = ""


class Snooze(_Body):
    """Until when a task is put off."""

    until: AwareDatetime


class Comment(_Body):
    """What is written to a task."""

    note: Annotated[Text, Field(min_length=1)]


class TaskResult(_Body):
    """What a task came to, one of its results, and what there is to say of it."""

    result: str = Field(min_length=1, max_length=64)
    note: Text = ""


def router(desk: Desk, histories: Histories, who: Who) -> APIRouter:
    """Return the routes; `who` asks."""
    routes = APIRouter(prefix="/v1", tags=["tasks"])

    @routes.get("/tasks")
    def list_tasks(
        request: Request,
        standing: Annotated[list[TaskState] | None, Query(description="Several may be named.")] = None,
        assignee: Annotated[str | None, Query(max_length=200)] = None,
        person: Annotated[str | None, Query(max_length=64, description="Who has it; `me`.")] = None,
        team: Annotated[str | None, Query(max_length=64)] = None,
        user_id: Annotated[str | None, Query(max_length=255)] = None,
        overdue: bool | None = None,
        snoozed: bool | None = None,
        after: Annotated[str, Query(max_length=400, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> dict[str, Any]:
        """Tasks for people, the first due first; `next` gives the next page."""
        caller = desk.admit(who(request))
        wanted = desk.wanted(
            caller,
            standing=standing or (),
            assignee=assignee,
            person=caller.person if person == "me" else person,
            team=team,
            user_id=user_id,
            overdue=overdue,
            snoozed=snoozed,
        )
        found = desk.listed(wanted, cursor(after), limit)
        last = found[-1] if len(found) == limit else None
        return {
            "tasks": [one.shown(wanted.now) for one in found],
            "next": next_after(last.due_at, last.id) if last else None,
        }

    @routes.get("/tasks/{task_id}")
    def show_task(request: Request, response: Response, task_id: str) -> dict[str, Any]:
        """A task, what became of it, and what led to it: scores with reasons, events, the decision."""
        found = desk.task(task_id, desk.admit(who(request)))
        response.headers["ETag"] = found.etag
        with desk.database.read() as connection:
            steps, history = histories.steps(connection, found), histories.of(connection, found)
        plain: dict[str, Any] = msgspec.to_builtins({"steps": steps, "history": history})
        return {**found.shown(desk.now()), **plain}

    _add_changes(routes, desk, who)

    return routes


def _add_changes(routes: APIRouter, desk: Desk, who: Who) -> None:

    def told(response: Response, task: Task) -> dict[str, Any]:
        response.headers["ETag"] = task.etag
        return task.shown(desk.now())

    @routes.post("/tasks/{task_id}/claim")
    def claim_task(
        request: Request, response: Response, task_id: str, body: Claim | None = None, if_match: Match = None
    ) -> dict[str, Any]:
        """Take a task on; of two who do at the same time one gets it, the other 409."""
        caller = desk.admit(who(request))
        person = None if body is None else body.person
        return told(response, desk.claim(task_id, caller, person, if_match))

    @routes.post("/tasks/{task_id}/reassign")
    def reassign_task(
        request: Request, response: Response, task_id: str, body: Reassign, if_match: Match = None
    ) -> dict[str, Any]:
        """Give a task to another person, or back to a team."""
        caller = desk.admit(who(request))
        return told(response, desk.reassign(task_id, body.to, caller, body.why, if_match))

    @routes.post("/tasks/{task_id}/snooze")
    def snooze_task(
        request: Request, response: Response, task_id: str, body: Snooze, if_match: Match = None
    ) -> dict[str, Any]:
        """Put a task off; it is due and escalated as before."""
        caller = desk.admit(who(request))
        return told(response, desk.snooze(task_id, body.until, caller, if_match))

    @routes.post("/tasks/{task_id}/comment")
    def comment_task(request: Request, response: Response, task_id: str, body: Comment) -> dict[str, Any]:
        """Write something to a task."""
        return told(response, desk.comment(task_id, body.note, desk.admit(who(request))))

    @routes.post("/tasks/{task_id}/done")
    def finish_task(
        request: Request, response: Response, task_id: str, body: TaskResult, if_match: Match = None
    ) -> dict[str, Any]:
        """Record what a task came to; its run goes on at once."""
        caller = desk.admit(who(request))
        return told(response, desk.finish(task_id, body.result, caller, body.note, if_match))
