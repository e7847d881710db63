"""The inbox: a page of one's own tasks, opened with a key, that works without a script and on a phone."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import parse_qs, quote
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from delivery.errors import InboxRefused
from delivery.paging import cursor, next_after
from delivery.people.desk import Desk
from delivery.people.models import UNDONE, Caller, Task
from delivery.people.pages import HEADERS, inbox_page, key_page, plain_page, task_page
from delivery.people.telling import Histories
from playbooks.flow.times import told
from storage.errors import NextplayError

COOKIE = "nextplay_inbox"
# A day's work; then the key is asked for again.
_SECONDS = 12 * 3600
_LISTED = 50
_MOST_NOTE = 2_000
_EVENTS = 10
# Browsers say so of requests that another site made.
_FOREIGN = frozenset({"cross-site", "same-site"})


class Door(Protocol):
    """Says whose a key is that may be in the inbox."""

    def __call__(self, key: str, /) -> Awaitable[Caller]:
        """Return whose it is. Raises NextplayError: it is none, or may not."""
        ...


class Inbox:
    """The pages of the inbox. Without a key they show nothing of anybody."""

    def __init__(self, desk: Desk, histories: Histories, door: Door) -> None:
        self._desk, self._histories, self._door = desk, histories, door

    async def show(self, request: Request) -> Response:
        """Show the tasks of whoever the key in the cookie is of, or ask for the key."""
        key = request.cookies.get(COOKIE, "")
        if not key:
            return _html(key_page())
        return await self._answer(request, key, self._list)

    async def task(self, request: Request) -> Response:
        """Show a task."""
        return await self._answer(request, request.cookies.get(COOKIE, ""), self._task)

    async def enter(self, request: Request) -> Response:
        """Take the key of a form, and keep it in a cookie that no script reads and no other site sends."""
        key = (await _form(request)).get("key", "").strip()
        try:
            _from_here(request)
            await self._door(key)
        except NextplayError as error:
            return _html(key_page(f"This key does not open the inbox: {error}"), error.status)
        response = RedirectResponse("/inbox", status_code=303, headers=dict(HEADERS))
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, key, _SECONDS, path="/inbox", httponly=True, samesite="strict", secure=secure
        )
        return response

    async def leave(self, request: Request) -> Response:
        """Forget the key."""
        form, key = await _form(request), request.cookies.get(COOKIE, "")
        if key:
            try:
                _is_meant(request, key, form)
            except NextplayError as error:
                return _refused(error)
        response = RedirectResponse("/inbox", status_code=303, headers=dict(HEADERS))
        response.delete_cookie(COOKIE, path="/inbox", httponly=True, samesite="strict")
        return response

    async def act(self, request: Request) -> Response:
        """Do what a form of a task's page says, and show the task."""
        form = await _form(request)

        def act(request: Request, caller: Caller, key: str) -> Response:
            _is_meant(request, key, form)
            task_id = request.path_params["task_id"]
            try:
                self._act(task_id, request.path_params["what"], form, caller)
            except NextplayError as error:
                return self._task(request, caller, key, str(error), error.status)
            return RedirectResponse(_href(task_id), status_code=303, headers=dict(HEADERS))

        return await self._answer(request, request.cookies.get(COOKIE, ""), act)

    async def _answer(
        self, request: Request, key: str, show: Callable[[Request, Caller, str], Response]
    ) -> Response:
        if not key:
            return RedirectResponse("/inbox", status_code=303, headers=dict(HEADERS))
        try:
            caller = await self._door(key)
            return await asyncio.to_thread(show, request, self._desk.admit(caller), key)
        except NextplayError as error:
            if error.status == 401:
                response = _html(key_page(f"Enter your key again: {error}"), error.status)
                response.delete_cookie(COOKIE, path="/inbox", httponly=True, samesite="strict")
                return response
            return _refused(error)

    def _list(self, request: Request, caller: Caller, key: str) -> Response:
        desk, zone, now = self._desk, self._desk.staff.zone_of(caller.person), self._desk.now()
        after = cursor(request.query_params.get("after", ""))
        own = {"person": caller.person} if caller.person else {}
        mine = desk.listed(desk.wanted(caller, standing=UNDONE, snoozed=False, **own), after, _LISTED)
        asleep = desk.listed(desk.wanted(caller, standing=UNDONE, snoozed=True, **own), None, _LISTED)
        free: Sequence[Task] = ()
        if caller.person is not None:
            free = desk.listed(desk.wanted(caller, standing=UNDONE, nobodys=True), None, _LISTED)
        last = mine[-1] if len(mine) == _LISTED else None
        overdue = sum(one.is_overdue(now) for one in mine)
        page = inbox_page(
            title=f"My tasks ({overdue} overdue)" if overdue else "My tasks",
            who=self._called(caller),
            token=_token(key),
            mine=[_line(one, now, zone) for one in mine],
            free=[_line(one, now, zone) for one in free],
            asleep=[_line(one, now, zone) for one in asleep],
            more=quote(next_after(last.due_at, last.id), safe="") if last else "",
        )
        return _html(page)

    def _task(
        self, request: Request, caller: Caller, key: str, alert: str = "", status: int = 200
    ) -> Response:
        task = self._desk.task(request.path_params["task_id"], caller)
        now, zone = self._desk.now(), self._desk.staff.zone_of(caller.person)
        with self._desk.database.read() as connection:
            history = self._histories.of(connection, task)
            steps = self._histories.steps(connection, task)
        can_do = task.standing in UNDONE and now < task.closes_at
        page = task_page(
            title=task.title,
            who=self._called(caller),
            token=_token(key),
            alert=alert,
            task={
                **_line(task, now, zone),
                "has": self._name(task.person) or f"anybody of {task.team or task.assignee or 'the staff'}",
                "standing": task.standing.value,
                "result": task.result,
                "playbook": task.playbook,
                "results": task.results,
                "version": task.version,
            },
            can_do=can_do,
            can_claim=can_do and caller.person is not None and task.claimed_at is None,
            **_told(history, zone),
            steps=[_step(one, zone) for one in steps],
        )
        return _html(page, status)

    def _act(self, task_id: str, what: str, form: Mapping[str, str], caller: Caller) -> None:
        note, match = form.get("note", "").strip().replace("\x00", "")[:_MOST_NOTE], _match(form)
        match what:
            case "done":
                self._desk.finish(task_id, form.get("result", ""), caller, note, match)
            case "claim":
                self._desk.claim(task_id, caller, None, match)
            case "snooze":
                hours = form.get("hours", "")
                if hours not in ("1", "4", "24"):
                    raise InboxRefused("a task is put off for 1, 4 or 24 hours")
                self._desk.snooze(task_id, self._desk.now() + timedelta(hours=int(hours)), caller, match)
            case "comment" if note:
                self._desk.comment(task_id, note, caller)
            case "comment":
                raise InboxRefused("write something first")
            case _:
                raise InboxRefused("a task can be done, claimed, put off or commented")

    def _called(self, caller: Caller) -> str:
        return self._name(caller.person) or caller.name

    def _name(self, person: str | None) -> str:
        known = self._desk.staff.people.get(person or "")
        return known.name if known else person or ""


def add_inbox_routes(app: FastAPI, inbox: Inbox) -> None:
    """Add `/inbox`, which takes its key from a cookie and not from a header."""
    for method, path, handler in (
        ("GET", "/inbox", inbox.show),
        ("POST", "/inbox/key", inbox.enter),
        ("POST", "/inbox/leave", inbox.leave),
        ("GET", "/inbox/{task_id}", inbox.task),
        ("POST", "/inbox/{task_id}/{what}", inbox.act),
    ):
        app.add_route(path, handler, methods=[method], include_in_schema=False)


def _line(task: Task, now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    overdue = task.is_overdue(now)
    by = f"by {_about(now - task.due_at)}" if overdue else f"in {_about(task.due_at - now)}"
    undone = task.standing in UNDONE
    about = [task.playbook, task.standing.value]
    if task.snoozed_until is not None and task.snoozed_until > now:
        about.append(f"put off until {_clock(task.snoozed_until, zone)}")
    return {
        "title": task.title,
        "user_id": task.user_id,
        "href": _href(task.id),
        "overdue": overdue,
        "when": f"{_clock(task.due_at, zone)}{f' ({by})' if undone else ''}",
        "about": " · ".join(about),
    }


def _told(history: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    decision = history.get("decision")
    return {
        "decision": decision
        and {"at": _moment(decision["decided_at"], zone), "arm": decision["arm"].replace("/", " / ")},
        "scores": [
            {
                "name": one["score"],
                "value": f"{one['value']:g}",
                "grade": one["grade"],
                "reasons": ", ".join(
                    f"{line} {points:+g}" for line, points in one["lines"].items() if points
                ),
            }
            for one in history.get("scores", ())
        ],
        "events": [
            {
                "at": _moment(one["at"], zone),
                "name": one["name"].replace("_", " "),
                "details": _details(one["properties"]),
            }
            for one in history.get("events", ())[:_EVENTS]
        ],
    }


def _step(step: Mapping[str, Any], zone: ZoneInfo) -> dict[str, str]:
    said = {name: value for name, value in step.items() if name not in ("at", "what")}
    return {"at": _moment(step["at"], zone), "what": str(step["what"]), "details": _details(said)}


def _details(properties: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in properties.items())[:500]


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%a %-d %b, %H:%M %Z}"


def _moment(text: str, zone: ZoneInfo) -> str:
    return _clock(datetime.fromisoformat(text), zone)


def _about(span: timedelta) -> str:
    """Return a span as one says it: minutes below an hour, hours below two days."""
    minutes = max(1, round(span / timedelta(minutes=1)))
    if minutes < 60:
        return told(timedelta(minutes=minutes))
    hours = round(minutes / 60)
    return told(timedelta(hours=hours)) if hours < 48 else told(timedelta(days=round(hours / 24)))


def _href(task_id: str) -> str:
    return f"/inbox/{quote(task_id, safe='')}"


def _match(form: Mapping[str, str]) -> str | None:
    version = form.get("version", "")
    return f'"{version}"' if version else None


def _token(key: str) -> str:
    """Return what a form of this key has and nobody else knows."""
    return hmac.new(key.encode(), b"nextplay inbox", sha256).hexdigest()


def _is_meant(request: Request, key: str, form: Mapping[str, str]) -> None:
    _from_here(request)
    if not hmac.compare_digest(form.get("token", "").encode(), _token(key).encode()):
        raise InboxRefused("this form was not made for you, or for another key: open the page again")


def _from_here(request: Request) -> None:
    if request.headers.get("sec-fetch-site", "") in _FOREIGN:
        raise InboxRefused("another site sent this form: open the inbox and do it there")


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode(errors="replace")
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _refused(error: NextplayError) -> HTMLResponse:
    return _html(plain_page(title="That did not work", alert=str(error), who="", token=""), error.status)


def _html(page: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(page, status_code=status, headers=dict(HEADERS))
