"""The inbox on both databases: what an app shows, marks and pages through; expiry; erasure."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from audiences.identity.people import EveryoneAlone
from delivery.channels.kinds import Opening
from delivery.erasure import places
from delivery.errors import NoticeUnknown
from delivery.inbox import api
from delivery.inbox.channel import KIND, InboxSettings
from delivery.inbox.service import Inbox, let_go_of_expired
from delivery.models import Message
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import erase


class Ann(EveryoneAlone):
    """Ann has two profiles."""

    def members(self, user_id: str) -> tuple[str, ...]:
        return ("ann", "ann_at_work") if user_id.startswith("ann") else (user_id,)


@pytest.fixture
def app(database: Database, clock: SimulatedClock) -> TestClient:
    app = FastAPI()
    app.include_router(api.router(Inbox(database, clock, Ann())))
    return TestClient(app)


class Sending:
    """Hands messages to the channel, an hour apart."""

    def __init__(self, database: Database, clock: SimulatedClock, folder: Path) -> None:
        self.clock = clock
        self.channel = KIND.open(
            InboxSettings(expires_after=timedelta(days=2)), "app", Opening(folder, database, clock)
        )

    def __call__(self, key: str, user: str = "ann", text: str = "Hello") -> None:
        self.channel.send(Message(key, user, f"About {key}", text, self.clock.now()))
        self.clock.move_to(self.clock.now() + timedelta(hours=1))


@pytest.fixture
def sends(database: Database, clock: SimulatedClock, tmp_path: Path) -> Sending:
    return Sending(database, clock, tmp_path)


def test_an_app_shows_its_user_what_arrived(app: TestClient, sends: Sending) -> None:
    for number in range(4):
        sends(f"run:{number}:1", "ann" if number % 2 else "ann_at_work")
    sends("other:1:1", "bob")
    sends("run:0:1", text="the same again")
    first = app.get("/v1/users/ann/inbox?limit=3").json()
    assert [one["key"] for one in first["messages"]] == ["run:3:1", "run:2:1", "run:1:1"]
    assert first["unread"] == 4
    rest = app.get("/v1/users/ann/inbox", params={"limit": 3, "after": first["next"]}).json()
    (last,) = rest["messages"]
    assert rest["next"] is None
    assert (last["subject"], last["body"], last["channel"]) == ("About run:0:1", "Hello", "app")
    assert "user_id" not in last

    assert app.post("/v1/users/ann/inbox/run:1:1/read").json()["read_at"] is not None
    gone = app.post("/v1/users/ann_at_work/inbox/run:2:1/dismiss").json()
    assert gone["dismissed_at"] == gone["read_at"]
    shown = app.get("/v1/users/ann/inbox?unread=true").json()
    assert ([one["key"] for one in shown["messages"]], shown["unread"]) == (["run:3:1", "run:0:1"], 2)
    assert len(app.get("/v1/users/ann/inbox").json()["messages"]) == 3
    assert app.get("/v1/users/nobody/inbox").json() == {"messages": [], "unread": 0, "next": None}


def test_what_was_read_first_stays(database: Database, clock: SimulatedClock, sends: Sending) -> None:
    sends("run:1:1")
    inbox = Inbox(database, clock, Ann())
    first = inbox.read("ann", "run:1:1")
    clock.move_to(clock.now() + timedelta(hours=1))
    assert inbox.read("ann", "run:1:1") == first
    assert inbox.dismiss("ann", "run:1:1").read_at == first.read_at


def test_what_expired_is_not_shown_and_goes(
    database: Database, clock: SimulatedClock, sends: Sending
) -> None:
    inbox = Inbox(database, clock, Ann())
    sends("run:1:1")
    sends("run:2:1")
    clock.move_to(clock.now() + timedelta(hours=46))
    page, unread = inbox.of("ann", unread=False, after=None, limit=9)
    assert ([one.key for one in page], unread) == (["run:2:1"], 1)
    with pytest.raises(NoticeUnknown, match="no message 'run:1:1' in the inbox"):
        inbox.read("ann", "run:1:1")
    assert let_go_of_expired(database, clock.now()) == 1
    assert let_go_of_expired(database, clock.now()) == 0


def test_nobody_marks_the_messages_of_others(
    database: Database, clock: SimulatedClock, sends: Sending
) -> None:
    sends("run:1:1")
    with pytest.raises(NoticeUnknown):
        Inbox(database, clock, Ann()).dismiss("bob", "run:1:1")


def test_it_is_erased_with_the_user(database: Database, clock: SimulatedClock, sends: Sending) -> None:
    sends("run:1:1")
    sends("run:2:1", "bob")
    assert erase(database, places({}), ["ann"], clock.now()).places["inbox"] == 1
    inbox = Inbox(database, clock, EveryoneAlone())
    assert inbox.of("ann", unread=False, after=None, limit=9) == ([], 0)
    assert inbox.of("bob", unread=False, after=None, limit=9)[1] == 1


def test_text_that_no_database_takes_arrives_without_it(app: TestClient, sends: Sending) -> None:
    sends("run:1:1", text="a\x00b\ud800c")
    (one,) = app.get("/v1/users/ann/inbox").json()["messages"]
    assert one["body"] == "a\N{REPLACEMENT CHARACTER}b?c"
