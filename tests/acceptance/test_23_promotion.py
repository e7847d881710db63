"""Stories 23 and 25: a challenger is promoted on proof, rolled back on proof, and every step is logged."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

SHOWN = """
id: show
name: Show
placement: home
goal: {event: order_completed, where: "list_contains(event.categories, arm.category)", window: P7D}
variants: [{offers: [apples, chicken], channel: mailbox, content: offer_notice}]
flow: {start: over, states: {over: {kind: end, result: shown}}}
"""
POLICY = """
id: %s
placements: [home]
exploration: {kind: fixed_split, shares: {show/apples: %s, show/chicken: %s}}
"""
PROMOTION = """
promotion: by_hand
live_window: P3D
least_effective: 40
guards: {complaints: 0.4, opt_outs: 0.4}
"""
USERS = [f"user-{number:03}" for number in range(100)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that shows apples or chicken: more often apples, and a challenger more often chicken."""
    data = tmp_path_factory.mktemp("challengers")
    library = shutil.copytree(LIBRARY, data / "library")
    shutil.rmtree(library / "playbooks")
    for name, text in {
        "playbooks/show.yaml": SHOWN,
        "policy.yaml": POLICY % ("cautious", 0.7, 0.3),
        "policies/challengers/bold.yaml": POLICY % ("bold", 0.3, 0.7),
        "promotion.yaml": PROMOTION,
    }.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def bought(user: str, category: str, at: datetime) -> dict[str, Any]:
    """Return the message that tells of an order."""
    lines = [{"category": category, "quantity": 1, "value": 2.5, "discount": 0.5}]
    return {
        "type": "track",
        "messageId": str(uuid4()),
        "userId": user,
        "event": "order_completed",
        "timestamp": at.isoformat(),
        "properties": {"value": 2.5, "categories": [category], "lines": lines},
    }


def send(service: Running, messages: list[dict[str, Any]]) -> None:
    answer = service.http.post("/v1/batch", json={"batch": messages})
    assert answer.json()["accepted"] == len(messages), answer.text


def live(service: Running, likes: str) -> None:
    """Let everybody come once, of whom most like one thing; then let all windows close."""
    service.move(timedelta(hours=1))
    rng = random.Random(len(likes))
    orders = []
    for user in USERS:
        # Once in a while nothing is shown; nobody buys then.
        offer = service.decide(user, "home").json()["offer"]
        if offer and rng.random() < (0.9 if offer["id"] == likes.lower() else 0.1):
            orders.append(bought(user, offer["id"].upper(), service.now + timedelta(minutes=1)))
    service.move(timedelta(days=9))
    send(service, orders)
    service.run("reward")


def policies(service: Running) -> dict[str, Any]:
    found = service.http.get("/v1/policies").json()["policies"]
    return {one["id"]: one for one in found}


def newest(service: Running) -> Any:
    (change,) = service.http.get("/v1/changes?what=policy_in_charge&limit=1").json()["changes"]
    return change


def refused(response: httpx2.Response, status: int, said: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert said in response.json()["detail"]


def test_a_challenger_takes_charge_on_proof_and_not_before(service: Running) -> None:
    send(service, [bought(user, "MILK", START - timedelta(days=3)) for user in USERS])
    service.run("push", "features", "audiences")
    assert {name: one["role"] for name, one in policies(service).items()} == {
        "cautious": "champion",
        "bold": "challenger",
    }
    promote = "/v1/policies/bold/promote"
    refused(service.http.post(promote), 409, "no decision of cautious has matured")
    refused(service.http.post("/v1/policies/cautious/promote"), 409, "in charge already")
    refused(service.http.post("/v1/policies/bald/promote"), 404, "did you mean 'bold'")
    live(service, "CHICKEN")
    report = service.run("shadow")
    # By hand: there is proof, and nobody asked.
    assert (report["vectors"], report["promoted"]) == (len(USERS), None)
    asked = service.http.post("/v1/evaluations", json={"policy": "bold@1", "estimators": ["snips"]})
    assert asked.json()["record"] == "no claim has been made yet"
    evidence = policies(service)["bold"]["evidence"]
    assert evidence["promote"], evidence
    assert 0 < evidence["low"] < 0.32 < evidence["high"]
    assert {one["name"]: one["kept"] for one in evidence["guards"]} == {"complaints": True, "opt_outs": True}
    proof = service.http.post(promote, json={"why": "chicken sells"})
    assert proof.status_code == 200, proof.text
    assert {name: one["role"] for name, one in policies(service).items()} == {
        "bold": "champion",
        "cautious": "fallback",
    }
    change = newest(service)
    assert (change["thing"], change["before"], change["after"]) == ("cautious", "cautious@1", "bold@1")
    assert (change["cause"], change["undo"], change["actor"]) == ("chicken sells", "restore", "person")
    assert change["evidence"]["low"] == proof.json()["low"]
    decision = service.decide("user-000", "home").json()["decision_id"]
    record = service.http.get(f"/v1/decisions/{decision}").json()
    assert record["policy"] == "bold@1"
    assert service.http.post(f"/v1/decisions/{decision}/replay").json()["identical"] is True


def test_a_promotion_is_taken_back_and_proven_anew(service: Running) -> None:
    promoted = newest(service)
    undone = service.http.post(f"/v1/changes/{promoted['id']}/undo", json={"why": "too soon"})
    assert undone.status_code == 200, undone.text
    assert (undone.json()["after"], undone.json()["undo"]) == ("cautious@1", "")
    assert policies(service)["cautious"]["role"] == "champion"
    refused(service.http.post(f"/v1/changes/{promoted['id']}/undo"), 409, "take the later change back first")
    refused(service.http.post(f"/v1/changes/{undone.json()['id']}/undo"), 409, "needs proof")
    live(service, "CHICKEN")
    service.run("shadow")
    evidence = policies(service)["bold"]["evidence"]
    # It returns, so that it needs twice the proof, of decisions since.
    assert evidence["confidence"] == pytest.approx(0.975)
    assert evidence["rounds"] == len(USERS)
    assert service.http.post("/v1/policies/bold/promote").status_code == 200


def test_one_that_turns_out_worse_is_rolled_back_by_itself(service: Running) -> None:
    live(service, "APPLES")
    report = service.run("shadow")
    assert report["rolled_back"] == "bold"
    found = policies(service)
    assert (found["cautious"]["role"], found["bold"]["role"]) == ("champion", "fallback")
    change = newest(service)
    assert (change["by"], change["actor"], change["after"]) == ("promotion", "machine", "cautious@1")
    assert "earns less than cautious" in change["cause"]
    assert change["evidence"]["low"] > 0
    # Its promise did not hold, and whoever reads the next one sees that.
    service.run("shadow")
    told = service.http.get("/v1/policies/bold").json()
    assert told["record"]["scored"] >= 1
    assert told["claims"][-1]["live"]["held"] is False
    assert "held; promised" in told["record"]["says"]
    # What was said of it before it went live is scored by what it drew, also where that is no promotion.
    (said,) = service.http.get("/v1/claims?policy=bold").json()["evaluations"]
    assert (said["against"], said["verdict"], said["came"]["held"]) == ("cautious", "better", False)
    # Who is shown what is drawn anew in each run, so that intervals of a hundred people may touch.
    assert said["value"]["value"] > said["came"]["value"]["high"]
    assert said["lift"]["value"] > 0 > said["came"]["lift"]["value"]
    record = service.http.get("/v1/claims").json()["record"]
    assert "of 1 evaluations with 95% intervals the value of 0 held" in record["says"]
    refused(service.http.get("/v1/claims?limit=0"), 422, "limit")


def test_the_command_line_tells_the_same(service: Running) -> None:
    asked = ["--url", str(service.http.base_url), "--key", service.http.headers["Authorization"].split()[1]]
    run = CliRunner().invoke(app, ["policies", "list", *asked])
    assert run.exit_code == 0, run.output
    assert run.output.startswith("cautious                champion    cautious@1\n")
    run = CliRunner().invoke(app, ["policies", "show", "bold", *asked])
    assert "not yet: " in run.output
    assert "claims with 95% intervals" in run.output
    run = CliRunner().invoke(app, ["policies", "claims", *asked])
    assert run.output.count(" promoted bold, instead of cautious\n") == 2
    assert " evaluated bold@1 against logged: better\n    said " in run.output
    assert "    NOT held, live " in run.output
    run = CliRunner().invoke(app, ["policies", "promote", "bold", *asked])
    assert run.exit_code != 0
    assert "does not take charge" in str(run.exception)
