"""The inbox: one's own tasks by due time, opened with a key; nothing for other sites, nothing unescaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from audiences.identity.people import EveryoneAlone
from audiences.scores.service import Scores
from decision.auth.errors import KeyUnknown
from delivery.people.history import UserHistories
from delivery.people.inbox import COOKIE, Inbox, add_inbox_routes
from delivery.people.models import Caller, Task, TaskState
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.office import HOUR, OPS, Office

EVIL = '<script>alert("x")</script>'
KEYS = {"key-of-bob": Caller("k", "bob"), "key-of-eva": Caller("k", "eva"), "key-of-ops": OPS}


async def door(key: str) -> Caller:
    if key not in KEYS:
        raise KeyUnknown("the key is not one of this service")
    return KEYS[key]


@pytest.fixture
def office(database: Database, clock: SimulatedClock, tmp_path: Path) -> Office:
    said = {"properties": {"path": EVIL}}
    events = [NewFact(Kind.EVENT, user, "page_viewed", user, clock.now(), said) for user in ("u0", "u1")]
    database.write(lambda connection: ledger.append(connection, events, clock.now()))
    return Office(database, clock, tmp_path, title=f"Call {EVIL}", assign="round_robin", grace="P1D")


@pytest.fixture
def browser(office: Office) -> Iterator[TestClient]:
    histories = UserHistories(EveryoneAlone(), Scores(office.database, office.clock, []))
    app = FastAPI()
    add_inbox_routes(app, Inbox(office.desk, histories, door))
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        yield client


def enter(browser: TestClient, key: str) -> Any:
    return browser.post("/inbox/key", data={"key": key}, headers={"sec-fetch-site": "same-origin"})


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return unescape(found[1])


def bobs(tasks: list[Task]) -> Task:
    return next(one for one in tasks if one.person == "bob")


def links(page: str) -> list[str]:
    return re.findall(r'<a href="(/inbox/[^"]+)"', page)


def test_nothing_is_shown_without_a_key(office: Office, browser: TestClient) -> None:
    (task,) = office.open("u1")
    page = browser.get("/inbox")
    assert "alert" not in page.text.partition("<main>")[2]
    assert (page.status_code, "u1" in page.text, 'name="key"' in page.text) == (200, False, True)
    there = browser.get(f"/inbox/{task.id}")
    assert (there.status_code, there.headers["location"]) == (303, "/inbox")
    assert browser.post(f"/inbox/{task.id}/done", data={"result": "won"}).status_code == 303
    wrong = enter(browser, "key-of-nobody")
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    browser.cookies.set(COOKIE, "key-of-nobody", path="/inbox")
    assert (stale := browser.get("/inbox")).status_code == 401
    assert f'{COOKIE}=""' in stale.headers["set-cookie"]
    assert office.desk.task(task.id, OPS).standing is TaskState.OPEN


def test_a_person_does_their_tasks_by_due_time(office: Office, browser: TestClient) -> None:
    first = bobs(office.open("u0", "u1"))
    office.clock.move_to(office.clock.now() + HOUR)
    second = bobs(office.open("u2", "u3"))
    free = office.desk.reassign(office.open("u4")[0].id, "sales", OPS)
    office.clock.move_to(office.clock.now() + 3.5 * HOUR)
    entered = enter(browser, "key-of-bob")
    cookie = entered.headers["set-cookie"]
    assert (entered.status_code, "HttpOnly" in cookie, "Secure" in cookie) == (303, True, True)
    assert "samesite=strict" in cookie.lower()
    page = browser.get("/inbox")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    ids = [unescape(one).rpartition("/")[2].replace("%3A", ":") for one in links(page.text)]
    assert ids == [first.id, second.id, free.id]
    assert page.text.count("Overdue") == 1
    # The clock that a time is read from is named.
    due = first.due_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{due:%H:%M} {due.tzname()} (by " in page.text
    assert ("Inbox</a> of Bob" in page.text, EVIL in page.text) == (True, False)

    shown = browser.get(links(page.text)[0])
    assert (EVIL in shown.text, "&lt;script&gt;" in shown.text) == (False, True)
    token, version = field(shown.text, "token"), field(shown.text, "version")
    url = links(page.text)[0]
    snoozed = browser.post(f"{url}/snooze", data={"token": token, "version": version, "hours": "4"})
    assert snoozed.status_code == 303
    assert "Put off" in browser.get("/inbox").text
    old = browser.post(f"{url}/done", data={"token": token, "version": version, "result": "won"})
    assert (old.status_code, "changed meanwhile" in old.text) == (412, True)
    form = {"token": token, "version": field(old.text, "version"), "result": "won", "note": EVIL}
    assert browser.post(f"{url}/done", data=form).status_code == 303
    done = office.desk.task(first.id, OPS)
    assert (done.standing, done.done_by, done.note) == (TaskState.DONE, "bob", EVIL)
    after = browser.get(url)
    assert (EVIL in after.text, "What did it come to?" in after.text) == (False, False)
    claim = {"token": token, "version": "1"}
    assert browser.post(f"{links(page.text)[1]}/claim", data=claim).status_code == 303
    said = browser.post(f"{links(page.text)[1]}/comment", data={"token": token, "note": "later"})
    assert (said.status_code, "later" in browser.get(links(page.text)[1]).text) == (303, True)
    for what, form in (("snooze", {"hours": "9"}), ("comment", {"note": " "}), ("dance", {})):
        assert browser.post(f"{links(page.text)[1]}/{what}", data={"token": token, **form}).status_code == 403


def test_no_other_site_and_no_other_person_does_anything(office: Office, browser: TestClient) -> None:
    task = bobs(office.open("u0", "u1"))
    enter(browser, "key-of-bob")
    url = links(browser.get("/inbox").text)[0]
    token = field(browser.get(url).text, "token")
    for form, site in (
        ({"result": "won"}, "same-origin"),
        ({"result": "won", "token": "0" * 64}, "same-origin"),
        ({"result": "won", "token": "é"}, "same-origin"),
        ({"result": "won", "token": token}, "cross-site"),
    ):
        refused = browser.post(f"{url}/done", data=form, headers={"sec-fetch-site": site})
        assert refused.status_code == 403
    assert browser.post("/inbox/leave", data={"token": "x"}).status_code == 403
    assert (
        browser.post(
            "/inbox/key", data={"key": "key-of-eva"}, headers={"sec-fetch-site": "cross-site"}
        ).status_code
        == 403
    )
    out = browser.post("/inbox/leave", data={"token": token})
    assert (out.status_code, f'{COOKIE}=""' in out.headers["set-cookie"]) == (303, True)
    enter(browser, "key-of-eva")
    assert links(browser.get("/inbox").text) == []
    foreign = browser.get(url)
    assert (foreign.status_code, "alert" in foreign.text, "Call" in foreign.text) == (403, True, False)
    assert office.desk.task(task.id, OPS).standing is TaskState.OPEN
    enter(browser, "key-of-ops")
    assert len(links(browser.get("/inbox").text)) == 2
    assert browser.get("/inbox/none").status_code == 404
    assert browser.get("/inbox?after=nowhere").status_code == 422


def test_a_long_inbox_has_pages(office: Office, browser: TestClient) -> None:
    for number in range(3):
        office.open(*(f"p{number}-{one}" for one in range(40)))
        office.clock.move_to(office.clock.now() + timedelta(minutes=1))
    enter(browser, "key-of-bob")
    page = browser.get("/inbox").text
    more = re.search(r'href="(/inbox\?after=[^"]+)"', page)
    assert more is not None
    rest = browser.get(unescape(more[1])).text
    assert ">More<" not in rest
    assert (len(links(page)), len(links(rest)), set(links(page)) & set(links(rest))) == (50, 10, set())
