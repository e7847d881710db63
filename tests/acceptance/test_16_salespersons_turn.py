"""Story 16: a hot lead is a task with its history in the CRM; undone in time, it goes to the supervisor.

The result comes back as an outcome. Then the report, a leaver, and what is taken away as a file.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import yaml
from standardwebhooks import Webhook
from typer.testing import CliRunner

from decision import people_commands
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service
from tests.receiving import Receiver, receiving

OUT, BACK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_dGhlIHJlc3VsdCBjb21lcyBiYWNrIGFnYWlu"
PEOPLE = """
owners: {account_trait: owner}
exports: {rows_per_day: 5}
teams: [{id: sales, name: Sales, supervisor: sam}]
people:
  - {id: ann, name: Ann Arbor, team: sales, also: ["0055A"]}
  - {id: bob, name: Bob Hope, team: sales, also: ["0055B"]}
  - {id: sam, name: Sam Spade}
"""
SCORES = """
scores:
  - id: lead
    name: Lead
    points:
      - {id: pricing, event: pricing_viewed, points: 20}
      - {id: paper, event: paper_read, points: 40}
"""
# Every hot lead gets the same, so that there is always a task.
POLICY = """
id: hot
placements: [outbound]
reward: {low: 0, high: 1}
exploration: {kind: single, variant: hot_lead/bacon}
"""
TRIGGERS = "triggers: [{id: trial, name: Asked for a trial, when: {event: trial_requested}}]\n"


@pytest.fixture(scope="module")
def crm() -> Iterator[Receiver]:
    """The company's CRM."""
    with receiving(OUT) as crm:
        yield crm


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, crm: Receiver) -> Iterator[Running]:
    data: Path = tmp_path_factory.mktemp("sales")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    plan = {
        "id": "hot_lead",
        "name": "Call the hot lead",
        "trigger": "trial",
        "placement": "outbound",
        "goal": {"event": "task_done", "where": "event.result = 'won'", "window": "P1D", "value": 1},
        "variants": [{"offers": ["bacon"], "channel": "mailbox", "content": "offer_notice"}],
        "flow": {
            "start": "call",
            "states": {
                "call": {
                    "kind": "task",
                    "title": "Call the lead <today>",
                    "assignee": "sales",
                    "assign": "owner",
                    "due_in": "PT4H",
                    "grace": "PT4H",
                    "tell": crm.url,
                    "escalate": [{"share": 1, "tell": crm.url}],
                    "results": {"won": "won", "lost": "lost"},
                    "on_overdue": "lost",
                },
                "won": {"kind": "end", "result": "won"},
                "lost": {"kind": "end", "result": "lost"},
            },
        },
    }
    for path in (library / "playbooks").glob("*.yaml"):
        path.unlink()
    (library / "playbooks" / "hot_lead.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    for name, text in (("people", PEOPLE), ("scores", SCORES), ("triggers", TRIGGERS)):
        (library / f"{name}.yaml").write_text(text)
    (library / "policy.yaml").write_text(POLICY)
    (data / "settings.env").write_text(
        f'NEXTPLAY_SIGNING_SECRET={OUT}\nNEXTPLAY_WEBHOOK_SECRETS={{"tasks": ["{BACK}"]}}\n'
        'NEXTPLAY_WEBHOOK_NETWORKS=["127.0.0.0/8"]\n'
    )
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def tell(service: Running, user: str, event: str) -> None:
    message = {
        "userId": user,
        "event": event,
        "messageId": str(uuid4()),
        "timestamp": service.now.isoformat(),
    }
    assert service.http.post("/v1/track", json=message).json()["accepted"] == 1


def hot(service: Running, user: str, owner: str = "") -> dict[str, Any]:
    """Let a user become a hot lead and return the task of it."""
    if owner:
        group = {"userId": user, "groupId": f"acme-{user}", "traits": {"owner": owner}}
        assert service.http.post("/v1/group", json=group).json()["accepted"] == 1
    for event in ("pricing_viewed", "paper_read", "trial_requested"):
        tell(service, user, event)
    service.run("scores", "triggers", "deliver")
    (task,) = service.http.get("/v1/tasks", params={"user_id": user}).json()["tasks"]
    return dict(task)


def call_back(service: Running, secret: str = BACK, id_: str | None = None, **answer: str) -> httpx2.Response:
    body, now, id_ = json.dumps(answer), datetime.now(UTC), id_ or str(uuid4())
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, now, body),
    }
    with httpx2.Client(base_url=service.http.base_url) as anybody:
        return anybody.post("/v1/tasks/callback", content=body, headers=headers)


def opened(service: Running, headers: dict[str, str], title: str) -> None:
    """Open the inbox as a browser would: without a key there is nothing, with it one's tasks."""
    with httpx2.Client(base_url=service.http.base_url) as browser:
        assert escape(title) not in browser.get("/inbox").text
        key = headers["Authorization"].removeprefix("Bearer ")
        entered = browser.post("/inbox/key", data={"key": key})
        assert (entered.status_code, "httponly" in entered.headers["set-cookie"].lower()) == (303, True)
        page = browser.get("/inbox")
        assert (page.status_code, escape(title) in page.text, title in page.text) == (200, True, False)
        assert browser.post("/inbox/key", data={"key": key[:-1]}).status_code == 401


@pytest.fixture(scope="module")
def keys(service: Running) -> dict[str, dict[str, str]]:
    """The headers of each person's own key."""
    made = {}
    for person in ("ann", "bob", "sam"):
        wish = {"name": person, "scopes": ["work", "export"], "person": person}
        made[person] = {"Authorization": f"Bearer {service.http.post('/v1/keys', json=wish).json()['key']}"}
    nobody = service.http.post("/v1/keys", json={"name": "x", "scopes": ["work"]})
    assert (nobody.status_code, "name the person" in nobody.json()["detail"]) == (409, True)
    return made


def test_a_hot_lead_is_called_late_by_the_supervisor_and_earns_its_reward(
    service: Running, crm: Receiver, keys: dict[str, dict[str, str]], user: str
) -> None:
    task = hot(service, user, "0055B")
    assert (task["person"], task["team"], task["standing"]) == ("bob", "sales", "open")
    assert task["due_at"] == (START + timedelta(hours=4)).isoformat().replace("+00:00", "Z")
    # The CRM was busy at first.
    service.move(timedelta(minutes=1))
    service.run("deliver")
    ((_, told),) = crm.taken
    data = told["data"]
    assert (told["type"], data["id"], data["person"], data["results"]) == (
        "task.opened",
        task["id"],
        "bob",
        ["won", "lost"],
    )
    (score,) = data["history"]["scores"]
    assert (score["value"], score["lines"]) == (60, {"pricing": 20, "paper": 40})
    assert data["history"]["events"][0]["name"] == "trial_requested"
    assert data["history"]["decision"]["arm"] == "hot_lead/bacon"
    sent = [one for one in service.history(user) if one["kind"] == "message"]
    assert {one["label"] for one in sent} == {"queued", "sent", "delivered"}

    bobs, anns, sams = (
        service.http.get(f"/v1/tasks/{task['id']}", headers=keys[who]) for who in ("bob", "ann", "sam")
    )
    assert (bobs.status_code, anns.status_code, sams.status_code) == (200, 200, 200)
    assert bobs.json()["history"]["scores"] == data["history"]["scores"]
    url, stale = f"/v1/tasks/{task['id']}", {"If-Match": '"7"'}
    refused = service.http.post(f"{url}/claim", headers=keys["bob"] | stale)
    assert (refused.status_code, refused.json()["type"].endswith("task-changed")) == (412, True)
    claimed = service.http.post(f"{url}/claim", headers=keys["bob"] | {"If-Match": bobs.headers["etag"]})
    assert (claimed.json()["standing"], claimed.headers["etag"]) == ("claimed", '"2"')
    assert service.http.post(f"{url}/claim", headers=keys["ann"]).status_code == 409
    assert (
        service.http.post(f"{url}/comment", json={"note": "no answer"}, headers=keys["bob"]).status_code
        == 200
    )

    opened(service, keys["bob"], task["title"])

    service.move(timedelta(hours=4))
    service.run("deliver")
    service.run("deliver")
    late = service.http.get(url, headers=keys["sam"]).json()
    assert (late["person"], late["standing"], late["overdue"]) == ("sam", "escalated", True)
    assert [one["what"] for one in late["steps"]] == ["opened", "claimed", "commented", "escalated"]
    assert [one["type"] for _, one in crm.taken] == ["task.opened", "task.escalated"]
    assert "task_escalated" in [one["label"] for one in service.history(user)]

    forged = call_back(service, OUT, task_id=task["id"], result="won")
    assert forged.status_code == 401
    wrong = call_back(service, task_id=task["id"], result="wn")
    assert (wrong.status_code, "did you mean 'won'" in wrong.json()["detail"]) == (422, True)
    assert call_back(service, task_id="none", result="won").status_code == 404
    answer = {"task_id": task["id"], "result": "won", "by": "sam", "note": "a trial of two weeks"}
    assert call_back(service, id_="back-1", **answer).json()["outcome"] == "recorded"
    assert call_back(service, id_="back-1", **answer).json()["outcome"] == "duplicate"
    assert call_back(service, id_="back-2", **answer).status_code == 409
    done = service.http.get(url).json()
    assert (done["standing"], done["done_by"], done["note"]) == ("done", "sam", "a trial of two weeks")

    service.move(timedelta(days=1))
    service.run("reward")
    (reward,) = [one for one in service.history(user) if one["kind"] == "reward"]
    assert (reward["body"]["decision_id"], reward["body"]["value"]) == (task["decision_id"], 1)


def test_the_report_a_leaver_and_files(
    service: Running,
    keys: dict[str, dict[str, str]],
    user: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    begun = service.now
    mine = [hot(service, f"{user}-{number}", "0055A") for number in range(3)]
    assert {one["person"] for one in mine} == {"ann"}
    done = service.http.post(f"/v1/tasks/{mine[0]['id']}/done", json={"result": "lost"}, headers=keys["ann"])
    assert (done.status_code, done.json()["done_by"]) == (200, "ann")
    left = service.http.post("/v1/people/ann/leave", json={"to": "bob", "why": "moved on"})
    assert (left.json()["tasks"], left.json()["to"]) == (2, "bob")
    assert service.http.post("/v1/people/ann/leave", json={"to": "bob"}).json()["tasks"] == 0
    assert service.http.get("/v1/tasks", headers=keys["ann"]).status_code == 403
    assert hot(service, f"{user}-3", "0055A")["person"] == "bob"
    (change,) = service.http.get("/v1/changes?what=person_left").json()["changes"]
    assert (change["thing"], change["cause"]) == ("ann", "moved on")

    found = service.http.get("/v1/people/report", params={"from": begun.isoformat()}).json()
    assert found["total"]["opened"] == 4
    assert sum(one["opened"] for one in found["people"].values()) == 4
    assert (found["people"]["ann"]["done_in_time"], found["people"]["bob"]["open"]) == (1, 3)
    backwards = {"from": (begun + timedelta(days=9)).isoformat()}
    assert service.http.get("/v1/people/report", params=backwards).status_code == 422
    assert service.http.get("/v1/people/report", headers=keys["bob"]).status_code == 403

    taken = service.http.post(
        "/v1/people/export", json={"what": "tasks", "standing": ["open"]}, headers=keys["bob"]
    )
    assert {row["person"] for row in csv.DictReader(io.StringIO(taken.text))} == {"bob"}
    assert (taken.headers["x-rows"], taken.headers["x-rows-left"]) == ("3", "2")
    more = service.http.post("/v1/people/export", json={"what": "users"}, headers=keys["bob"])
    assert (more.status_code, "ask for fewer" in more.json()["detail"]) == (429, True)
    (fact,) = service.http.get("/v1/changes?what=exported").json()["changes"]
    assert (fact["thing"], fact["by"], fact["after"]["rows"]) == ("tasks", "bob", 3)

    monkeypatch.setenv("NEXTPLAY_KEY", service.http.headers["authorization"].removeprefix("Bearer "))
    url = f"--url={service.http.base_url}"
    shown = CliRunner().invoke(people_commands.app, ["report", f"--from={begun.isoformat()}", url])
    assert [line.split("\t")[:2] for line in shown.output.splitlines()][1:] == [
        ["ann", "1"],
        ["bob", "3"],
        ["team sales", "4"],
        ["total", "4"],
    ]
    listed = CliRunner().invoke(people_commands.app, ["list", url])
    assert "ann\tAnn Arbor\tsales\t0\tleft, went to bob" in listed.output
    gone = CliRunner().invoke(people_commands.app, ["leave", "bob", "--to=sam", url])
    assert "3 tasks and what is owned" in gone.output
    files = CliRunner().invoke(
        people_commands.app, ["export", "tasks", f"--out={tmp_path / 't.csv'}", "--person=sam", url]
    )
    assert files.output.startswith("4 rows in "), files.output
