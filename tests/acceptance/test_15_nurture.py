"""Story 15: thirty days of nurturing; goal and opt-out end it, quiet hours are kept, an edit moves nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import pytest

from decision.demo.run import LIBRARY
from playbooks.library.templates import files_with
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

LEADS = ("silent", "keen", "booker", "leaver")
WINDOWS = """
windows:
  - {id: night, quiet: ["21:00-08:00"]}
rules:
  - {window: night, purposes: [promotional]}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A company that took the template as it is shipped, and keeps quiet at night."""
    data = tmp_path_factory.mktemp("nurture")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    texts, _ = files_with(library, "nurture", "nurture")
    for path, text in texts.items():
        path.write_text(text)
    (library / "windows.yaml").write_text(WINDOWS)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        running = Running(client.http, data, START)
        for user in LEADS:
            running.order(user, "COFFEE", days_ago=200)
        running.run("push", "features", "audiences", "triggers")
        yield running


def did(service: Running, user: str, event: str) -> None:
    message = {"messageId": str(uuid4()), "userId": user, "event": event}
    message["timestamp"] = service.now.isoformat()
    assert service.http.post("/v1/track", json=message).json()["accepted"] == 1


def subjects(service: Running) -> dict[str, list[str]]:
    sent: dict[str, list[str]] = {}
    for user in LEADS:
        mails = service.mails_to(user)
        mails.sort(key=lambda mail: parsedate_to_datetime(str(mail["Date"])))
        sent[user] = [str(mail["Subject"]) for mail in mails]
    return sent


def inside(service: Running) -> list[dict[str, Any]]:
    return list(service.http.get("/v1/playbooks/nurture/runs").json()["versions"])


def test_thirty_days(service: Running) -> None:
    # At ten in the evening: whatever falls due at that hour waits for the morning.
    service.move(timedelta(hours=13))
    for user in LEADS:
        did(service, user, "lead_created")
    report = service.run("triggers")
    assert (report["fired"], report["decided"]) == (4, 4)
    service.run("deliver")
    # A draw may come to nothing, and the next occasion is drawn for anew.
    for _ in range(10):
        if inside(service) == [{"version": 1, "states": {"first_day": 4}}]:
            break
        for user in LEADS:
            did(service, user, "lead_created")
        service.run("triggers", "deliver")
    assert inside(service) == [{"version": 1, "states": {"first_day": 4}}]

    service.move(timedelta(days=1))
    service.run("deliver")
    assert not any(subjects(service).values())
    service.move(timedelta(hours=10))
    service.run("deliver")
    assert subjects(service) == {user: ["Welcome"] for user in LEADS}

    denial = {"source": "page", "consents": [{"purpose": "news", "channel": "email", "state": "denied"}]}
    assert service.http.put("/v1/users/leaver/consents", json=denial).status_code == 200
    service.move(timedelta(days=2))
    service.run("deliver")
    case = "What others have learnt: a case study"
    assert subjects(service)["leaver"] == ["Welcome"]
    assert subjects(service)["keen"] == ["Welcome", case]
    did(service, "keen", "content_clicked")
    did(service, "booker", "demo_booked")
    service.run("deliver")
    assert inside(service) == [{"version": 1, "states": {"reaction": 1, "week": 1}}]

    # An edit in mid-flight: those inside stay on their version until somebody moves them.
    shown = service.http.get("/v1/playbooks/nurture").json()["document"]
    flow = shown["flow"]
    flow["states"]["await_answer"] = {**flow["states"].pop("reaction"), "timeout": "P3D"}
    flow["states"]["case_study"]["next"] = "await_answer"
    draft = {name: value for name, value in shown.items() if name != "id"}
    saved = service.http.put("/v1/playbooks/nurture/draft", json=draft)
    assert (saved.status_code, saved.json()["problems"]) == (200, []), saved.text
    for move in ("submit", "publish"):
        assert service.http.post(f"/v1/playbooks/nurture/{move}").status_code == 200
    assert inside(service) == [{"version": 1, "states": {"reaction": 1, "week": 1}}]
    lost = service.http.post("/v1/playbooks/nurture/runs/move", json={"from": 1, "to": 2})
    assert lost.status_code == 422
    assert "'reaction', which version 2 does not have" in lost.json()["detail"]
    moved = service.http.post(
        "/v1/playbooks/nurture/runs/move", json={"from": 1, "to": 2, "states": {"reaction": "await_answer"}}
    )
    assert moved.json() == {"moved": 2}
    assert inside(service) == [{"version": 2, "states": {"await_answer": 1, "week": 1}}]

    service.move(timedelta(days=3))
    service.run("deliver")
    assert subjects(service)["silent"] == ["Welcome", case, "What are you looking for?"]
    service.move(timedelta(days=9))
    service.run("deliver")
    assert subjects(service)["keen"] == ["Welcome", case, "You are invited"]
    assert subjects(service)["silent"][-1] == "You are invited"
    service.move(timedelta(days=20))
    service.run("deliver")
    assert inside(service) == []
    assert subjects(service)["booker"] == ["Welcome", case]
    assert subjects(service)["leaver"] == ["Welcome"]
