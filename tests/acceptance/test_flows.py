"""Flows in a running service: rules over users, tasks, webhooks, scores, deciding again, exits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service
from tests.receiving import Receiver, receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SCORES = """
scores:
  - id: lead
    name: Lead
    points: [{id: order, event: order_completed, points: 1}]
"""


@pytest.fixture(scope="module")
def crm() -> Iterator[Receiver]:
    """The company's CRM."""
    with receiving(SECRET) as crm:
        yield crm


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("flows")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "scores.yaml").write_text(SCORES)
    (data / "settings.env").write_text(
        f'NEXTPLAY_SIGNING_SECRET={SECRET}\nNEXTPLAY_WEBHOOK_NETWORKS=["127.0.0.0/8"]\n'
    )
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def publish(service: Running, playbook: str, flow: dict[str, Any], **fields: Any) -> None:
    document = {
        "name": playbook,
        "placement": "outbound",
        "priority": 90,
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [
            {"offers": ["bacon", "milk_by_products"], "channel": "mailbox", "content": "offer_notice"}
        ],
        "flow": flow,
        **fields,
    }
    saved = service.http.put(f"/v1/playbooks/{playbook}/draft", json=document)
    assert (saved.status_code, saved.json()["problems"]) == (200, []), saved.text
    for move in ("submit", "publish"):
        assert service.http.post(f"/v1/playbooks/{playbook}/{move}").status_code == 200


def enrol(service: Running, user: str) -> str:
    """Decide for a user, run the flow as far as it goes, and return the run's id."""
    decided: str = service.acting_decision(user)["decision_id"]
    service.run("deliver")
    return decided


def state(service: Running, run: str) -> str:
    shown = service.http.get(f"/v1/enrolments/{run}").json()
    return str(shown["result"] or shown["state"])


def end(result: str) -> dict[str, str]:
    return {"kind": "end", "result": result}


def test_a_hot_lead_becomes_a_task_whose_result_leads_on(service: Running, crm: Receiver) -> None:
    flow = {
        "start": "ask",
        "states": {
            "ask": {"kind": "branch", "rule": "orders_12w >= 2", "then": "give", "otherwise": "cold"},
            "give": {"kind": "score", "score": "lead", "points": 10, "next": "tell"},
            "tell": {"kind": "webhook", "url": crm.url, "data": {"stage": "hot"}, "next": "call"},
            "call": {
                "kind": "task",
                "title": "Call the lead",
                "assignee": "sales",
                "due_in": "PT4H",
                "results": {"won": "goal", "lost": "over"},
                "on_overdue": "late",
            },
            "goal": {"kind": "goal", "next": "sold"},
            "sold": end("sold"),
            "over": end("lost"),
            "late": end("overdue"),
            "cold": end("cold"),
        },
    }
    publish(service, "hot_lead", flow)
    for user, orders in (("hot", 3), ("late", 3), ("cold", 1)):
        for days in range(orders):
            service.order(user, "COFFEE", days_ago=days + 1)
    service.run("push", "features", "audiences")
    runs = {user: enrol(service, user) for user in ("hot", "late", "cold")}
    assert state(service, runs["cold"]) == "cold"

    # The receiver was busy at first; it is told again under the same id.
    service.move(timedelta(minutes=1))
    service.run("deliver")
    assert {told["data"]["user_id"]: id_ for id_, told in crm.taken} == {
        user: f"{runs[user]}:1:1" for user in ("hot", "late")
    }
    assert len(crm.taken) == 2
    told = crm.taken[0][1]
    assert (told["type"], told["data"]["stage"]) == ("hot_lead.tell", "hot")
    points = service.http.get("/v1/users/hot/scores/lead").json()
    assert points["lines"]["by_flow"] == 10

    listed = service.http.get("/v1/tasks", params={"standing": "open", "assignee": "sales"}).json()["tasks"]
    tasks = {one["user_id"]: one for one in listed}
    assert set(tasks) == {"hot", "late"}
    task = tasks["hot"]
    assert (task["title"], task["results"]) == ("Call the lead", ["won", "lost"])
    wrong = service.http.post(f"/v1/tasks/{task['id']}/done", json={"result": "wo"})
    assert (wrong.status_code, "did you mean 'won'" in wrong.json()["detail"]) == (422, True)
    done = service.http.post(f"/v1/tasks/{task['id']}/done", json={"result": "won"})
    assert (done.status_code, done.json()["standing"], done.json()["done_by"]) == (200, "done", "settings")
    assert state(service, runs["hot"]) == "sold"
    again = service.http.post(f"/v1/tasks/{task['id']}/done", json={"result": "lost"})
    assert (again.status_code, "was done by settings" in again.json()["detail"]) == (409, True)
    assert ("task", "done") in [(one["kind"], one["label"]) for one in service.history("hot")]

    service.move(timedelta(hours=5))
    too_late = service.http.post(f"/v1/tasks/{tasks['late']['id']}/done", json={"result": "won"})
    assert (too_late.status_code, "went on without it" in too_late.json()["detail"]) == (409, True)
    service.run("deliver")
    assert state(service, runs["late"]) == "overdue"
    left = service.http.get("/v1/tasks", params={"standing": "left"}).json()["tasks"]
    assert [one["user_id"] for one in left] == ["late"]
    assert service.http.post("/v1/playbooks/hot_lead/retire").status_code == 200


def test_opting_out_and_reaching_the_goal_end_a_run_and_the_policy_is_asked_again(service: Running) -> None:
    flow = {
        "start": "wait",
        "states": {
            "wait": {"kind": "wait", "until_time": "20:00", "next": "again"},
            "again": {"kind": "decide", "next": "send", "on_nothing": "none"},
            "send": {"kind": "send", "next": "rest"},
            "rest": {"kind": "wait", "duration": "P3D", "next": "over"},
            "over": end("over"),
            "none": end("nothing"),
            "won": end("won"),
            "gone": end("gone"),
        },
        "exits": {"goal": {"next": "won"}, "opt_out": {"next": "gone"}},
    }
    publish(service, "evening", flow)
    users = ("buyer", "leaver", "reader")
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
    service.run("push", "features", "audiences")
    runs = {user: enrol(service, user) for user in users}
    assert {state(service, run) for run in runs.values()} == {"wait"}
    due = service.http.get(f"/v1/enrolments/{runs['reader']}").json()["due_at"]
    assert due == service.now.replace(hour=20, minute=0).isoformat().replace("+00:00", "Z")

    denial = {"purpose": "newsletter", "channel": "email", "state": "denied"}
    said = service.http.put("/v1/users/leaver/consents", json={"source": "page", "consents": [denial]})
    assert said.status_code == 200, said.text
    service.order("buyer", "COFFEE")
    service.run("deliver")
    assert (state(service, runs["leaver"]), state(service, runs["buyer"])) == ("gone", "won")

    service.move(timedelta(hours=12))
    service.run("deliver")
    run = service.http.get(f"/v1/enrolments/{runs['reader']}").json()
    assert run["state"] in ("rest", "none")
    decisions = [one for one in service.history("reader") if one["kind"] == "decision"]
    assert len(decisions) >= 2
    if run["state"] == "rest":
        assert run["decision_id"] != runs["reader"]
        again = service.http.post(f"/v1/decisions/{run['decision_id']}/replay").json()
        assert again["identical"]
        assert len(service.mails_to("reader")) == 1
    inside = service.http.get("/v1/playbooks/evening/runs").json()["versions"]
    if run["state"] == "rest":
        assert inside == [{"version": 1, "states": {"rest": 1}}]
        lost = {"from": 1, "to": 1, "states": {"rest": "reest"}}
        refused = service.http.post("/v1/playbooks/evening/runs/move", json=lost)
        assert (refused.status_code, "did you mean 'rest'" in refused.json()["detail"]) == (422, True)
    assert service.http.get("/v1/enrolments/late").json() == {"late": []}
    ended = service.http.post(f"/v1/enrolments/{runs['reader']}/end", json={"why": "asked us to"})
    assert ended.json()["status"] == "ended"
    assert not service.mails_to("leaver")
    assert service.http.post("/v1/playbooks/evening/retire").status_code == 200


def test_what_a_flow_names_must_be_there_and_a_flow_is_drawn(service: Running) -> None:
    flow = {
        "start": "ask",
        "states": {
            "ask": {"kind": "branch", "rule": "orders_12 >= 2", "then": "give", "otherwise": "give"},
            "give": {"kind": "score", "score": "leed", "points": 10, "next": "send"},
            "send": {"kind": "send", "channel": "mailbx", "content": "offer_notce", "next": "over"},
            "over": end("over"),
        },
    }
    document = {
        "name": "wrong",
        "placement": "outbound",
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{"offer": "bacon", "channel": "mailbox", "content": "offer_notice"}],
        "flow": flow,
    }
    saved = service.http.put("/v1/playbooks/wrong/draft", json=document).json()
    told = {one["field"]: one["message"] for one in saved["problems"]}
    assert set(told) == {
        "flow.states.ask.rule",
        "flow.states.give.score",
        "flow.states.send.channel",
        "flow.states.send.content",
    }
    assert all("did you mean" in message for message in told.values())
    drawn = service.http.get("/v1/playbooks/welcome/flow").json()
    assert drawn["mermaid"].startswith("flowchart TD")
    assert {"from": "give", "to": "tell", "label": ""} in drawn["edges"]
    service.order("reader-to-be", "COFFEE")
    asked = {"user_id": "reader-to-be", "at": "2026-03-02T09:00:00Z"}
    shown = service.http.post("/v1/playbooks/welcome/simulate", json=asked).json()
    assert [line["kind"] for line in shown["lines"]] == ["effect", "effect", "waits", "ends"]
    given = [{"at": "2026-03-03T09:00:00Z", "event": "x", "task": "y"}]
    both = service.http.post("/v1/playbooks/welcome/simulate", json={**asked, "given": given})
    assert (both.status_code, "just one of event, task, opt_out" in both.json()["detail"]) == (422, True)
    nobody = service.http.post("/v1/playbooks/welcome/simulate", json={"user_id": "nobody-known"})
    assert nobody.status_code == 404
    unknown = service.http.get("/v1/tasks/none")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "there is no task 'none'; check the id")
